"""Writer of clips from images, without template footage and audio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.codecs import encoder_options
from swapper.media.colorspace import FULL, LIMITED, TAG_OF_MATRIX, Colour, layout_of, write_planes
from swapper.media.container_writer import ContainerWriter
from swapper.media.video_reader import VideoReader

_SMALL = 96
_BT709 = Colour("bt709", full_range=False)
_TAG = TAG_OF_MATRIX["bt709"]


class ClipWriter(ContainerWriter):
    """Encode images at a constant rate: H.264 in BT.709, or masks losslessly.

    Args:
        path: Output. ``.mp4`` takes pictures as H.264 (yuv420p, limited range); ``.mkv`` takes
            masks as FFV1, losslessly.
        size: Width and height in pixels, both even for pictures.
        fps: Frames per second.
        crf: Quality of H.264, 0 to 51, lower is better.

    Raises:
        MediaError: Another suffix, or a crf out of its range.
        ValueError: The size cannot be encoded.
    """

    _empty_cure = "pass at least one"

    def __init__(
        self, path: str | Path, size: tuple[int, int], fps: float, *, crf: int = 16
    ) -> None:
        super().__init__(path)
        suffix = self.path.suffix.lower()
        if suffix not in (".mp4", ".mkv"):
            raise MediaError(f"{path}: unknown suffix; use .mp4 for pictures or .mkv for masks")
        self.codec, self._pix_fmt = ("h264", "yuv420p") if suffix == ".mp4" else ("ffv1", "gray")
        if min(size) < 1 or (self.codec == "h264" and (size[0] % 2 or size[1] % 2)):
            raise ValueError(f"size {size} cannot be encoded as H.264: sides must be even")
        self.size = size
        self.fps = Fraction(fps).limit_denominator(100_000)
        layout = layout_of(self._pix_fmt)
        self.options = encoder_options(self.path, self.codec, crf, "medium", layout)
        if self.codec == "h264" and min(size) < _SMALL:
            # x264's mb-tree reads uninitialised memory of so few macroblocks: equal pictures came
            # out as different files (x264 core of PyAV 18, 64 px; never at 96 px and above).
            self.options["x264-params"] = "mbtree=0"

    def _add_streams(self, output: OutputContainer, stack: ExitStack) -> None:
        # AVColorSpace and its like call 2 unspecified.
        tags = (2, FULL, 2, 2) if self._pix_fmt == "gray" else (_TAG, LIMITED, _TAG, _TAG)
        self._stream = self._add_video(
            output, self.size, self._pix_fmt, self.fps, 1 / self.fps, tags
        )

    def _flush(self, output: OutputContainer) -> None:
        output.mux(self._stream.encode(None))

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append an image (H, W, 3) RGB to an ``.mp4``, or a mask (H, W) to an ``.mkv``.

        Raises:
            MediaError: Encoding or writing fails, e.g. on a full disk.
            ValueError: The shape is not the clip's, or the writer is not open.
        """
        if self._output is None:
            raise ValueError("the writer is not open: use it in a with statement")
        grey = self._pix_fmt == "gray"
        shape = self.size[::-1] if grey else (*self.size[::-1], 3)
        if image.shape != shape or image.dtype != np.uint8:
            raise ValueError(f"image must be {shape} uint8, got {image.shape} {image.dtype}")
        with self._guard():
            if grey:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")
                frame.color_range = FULL
            else:
                frame = av.VideoFrame(*self.size, "yuv420p")
                write_planes(frame, image, None, _BT709)
                frame.colorspace, frame.color_range = _TAG, LIMITED
            frame.pts, frame.time_base = self._count, 1 / self.fps
            self._output.mux(self._stream.encode(frame))
        self._count += 1


def read_masks(path: str | Path) -> Iterator[NDArray[np.float32]]:
    """Read the masks of a clip that `ClipWriter` wrote, (H, W) float32 in [0, 1], in order.

    Raises:
        MediaError: Missing, or not a video that can be read.
    """
    for frame in VideoReader(path):
        yield frame.image[..., 0].astype(np.float32) / np.float32(255)
