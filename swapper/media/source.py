"""Footage as a sequence of frames: a video, an image, a folder or glob of images."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.images import (
    IMAGE_SUFFIXES,
    is_video,
    list_images,
    natural_key,
    read_image,
    read_plate,
)
from swapper.media.video_reader import Frame, VideoInfo, VideoReader

PICTURE_RATE = Fraction(25)
"""Frame rate of images: 1/25 s each."""
_MOST_NAMED = 10


class Footage(AbstractContextManager["Footage"], Protocol):
    """A re-iterable sequence of frames; a context manager.

    Attributes:
        info: Properties of the footage.
        paths: The files that the frames come from.
        stopped: After a pass, the second up to which damaged footage could be decoded, or None.
        faults: What the pass had to leave out, one line each.
        notes: What is wrong with the footage and was mended or passed over, likewise.
    """

    info: VideoInfo
    paths: list[Path]
    stopped: float | None
    faults: list[str]
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]: ...


class PictureReader(AbstractContextManager["PictureReader"]):
    """Images as frames. Those that cannot be read are left out, and named in `faults`.

    Args:
        paths: At least one, in order; sizes may differ.
        name: The requested folder or image.

    Raises:
        MediaError: No image can be read.
    """

    def __init__(self, paths: list[Path], name: Path) -> None:
        if not paths:
            raise ValueError("paths must not be empty")
        self.paths = paths
        self.stopped: float | None = None
        self.faults: list[str] = []
        self.notes: list[str] = []
        height, width = self._first().shape[:2]
        self.info = VideoInfo(
            path=name,
            width=width,
            height=height,
            rate=PICTURE_RATE,
            num_frames=len(paths),
            pix_fmt="rgb24",
            bit_depth=8,
        )

    def __exit__(self, *error: object) -> None:
        """Nothing stays open."""

    def __iter__(self) -> Iterator[Frame]:
        self.faults = []
        for index, path in enumerate(self.paths):
            try:
                plate = read_plate(path)
            except MediaError as error:
                self.faults.append(str(error))
                continue
            yield Frame.of_plate(plate, index, float(index / PICTURE_RATE))

    def _first(self) -> NDArray[np.uint8]:
        """Return the first image that can be read."""
        faults = []
        for path in self.paths:
            try:
                return read_image(path)
            except MediaError as error:
                faults.append(error)
        raise faults[0]


def faults_text(faults: Sequence[str], rest: str) -> str:
    """Return the faults of some footage as one line; `rest` is where the others are."""
    if len(faults) == 1:
        return f"{faults[0]}; the rest is in {rest}"
    named = "; ".join(faults[:_MOST_NAMED])
    more = len(faults) - _MOST_NAMED
    named += f"; and {more} more" if more > 0 else ""
    return f"{len(faults)} files are damaged, the rest is in {rest}: {named}"


def list_footage(spec: str | Path) -> list[Path]:
    """Return the videos of a folder that holds videos and no picture, or of a glob, in natural
    order; else the input itself, for `open_footage`.
    """
    path = Path(spec)
    if not path.is_dir():
        matched = [] if path.exists() else glob.glob(str(spec), recursive=True)  # noqa: PTH207
        return sorted(map(Path, filter(is_video, matched)), key=natural_key) or [path]
    files = [each for each in path.iterdir() if each.is_file() and each.name[0] != "."]
    if any(each.suffix.lower() in IMAGE_SUFFIXES for each in files):
        return [path]
    return sorted(filter(is_video, files), key=natural_key) or [path]


def open_footage(spec: str | Path) -> Footage:
    """Open a video, an image, a folder of images, or a glob.

    Raises:
        MediaError: No match, several videos, or an unreadable file.
    """
    path = Path(spec)
    if path.is_dir():
        if (found := list_footage(path)) != [path]:
            raise MediaError(f"{spec}: a folder of {len(found)} videos; pass them one by one")
        return PictureReader(list_images(path), path)
    if path.exists():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return PictureReader([path], path)
        return VideoReader(path)
    matched = sorted(glob.glob(str(spec), recursive=True))  # noqa: PTH207
    if not matched:
        raise MediaError(f"{spec}: no such file, and no file matches it; check the path")
    videos = [name for name in matched if is_video(name)]
    if len(videos) > 1:
        raise MediaError(f"{spec}: matches {len(videos)} videos; pass them one by one or as a list")
    if videos:
        return VideoReader(videos[0])
    return PictureReader(list_images(spec), path)
