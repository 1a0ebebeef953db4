"""Image of performer and swaps at the peak expressions of a performance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from real_judges import Reading
from real_scores import peak_frames

from swapper.errors import MediaError
from swapper.faces.crop import crop_face
from swapper.media.image_strip import draw_strip
from swapper.media.images import write_image
from swapper.media.video_reader import VideoReader

TILE: Final = 192

Picture = NDArray[np.uint8]


def draw(performer: Path, reading: Reading, swaps: Mapping[str, Path], output: Path) -> None:
    """Draw performer and swaps, a row each, at the performer's peak frames.

    Args:
        performer: The clip.
        reading: Its reading; all rows are cropped by its landmarks, so that seams are visible.
        swaps: By the row's label, clips of the same frames.
        output: A .png.

    Raises:
        MediaError: A clip cannot be read, or the image cannot be written.
    """
    chosen = peak_frames(reading)
    rows = [
        (label, _faces(video, reading, chosen))
        for label, video in {"performer": performer, **swaps}.items()
    ]
    captions = [f"{reading.seconds[frame]:.2f} s" for frame in chosen]
    write_image(output, draw_strip(rows, captions, TILE))


def _faces(video: Path, reading: Reading, chosen: list[int]) -> list[Picture]:
    """Return the face, brows to chin, (TILE, TILE, 3), in each of the chosen frames."""
    crops = []
    with VideoReader(video) as reader:
        for frame in reader:
            if frame.index in chosen:
                points = reading.landmarks[frame.index].astype(np.float32)
                crops.append(crop_face(frame.image, points, TILE)[0])
    if len(crops) < len(chosen):
        raise MediaError(f"{video}: has too few frames; remove it and run again")
    return crops
