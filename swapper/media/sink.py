"""Sinks of converted frames: a video for a video, images for images."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.images import write_image
from swapper.media.source import Footage
from swapper.media.video_reader import Frame, VideoReader
from swapper.media.video_writer import VideoWriter

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class Sink(AbstractContextManager["Sink"], Protocol):
    """Writes frames in order; a context manager that leaves complete files or none.

    Attributes:
        outputs: Files written so far.
    """

    outputs: list[Path]

    def write(
        self,
        frame: Frame,
        image: NDArray[np.uint8] | NDArray[np.float32] | None = None,
        changed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append `frame`, replaced by `image` where `changed`; unmodified if None."""
        ...


class PictureSink(AbstractContextManager["PictureSink"]):
    """Writes one image per frame, named after its source; PNG in a folder.

    Args:
        output: A folder, or the file's name if there is only one image.
        sources: Input images, in order.
    """

    def __init__(self, output: Path, sources: list[Path]) -> None:
        self.output = output
        self.sources = sources
        self.outputs: list[Path] = []
        self._created_folder = False

    def write(
        self,
        frame: Frame,
        image: NDArray[np.uint8] | NDArray[np.float32] | None = None,
        changed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Write one image, of the depth of its source and with its alpha channel."""
        if self.output.suffix.lower() in PICTURE_SUFFIXES:
            path = self.output
        else:
            self._created_folder |= not self.output.exists()
            self.output.mkdir(parents=True, exist_ok=True)
            path = self.output / f"{self.sources[frame.index].stem}.png"
        write_image(path, _with_depth(frame, image))
        self.outputs.append(path)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Remove the output if the conversion failed."""
        if error is None:
            return
        for path in self.outputs:
            path.unlink(missing_ok=True)
        if self._created_folder and not any(self.output.iterdir()):
            self.output.rmdir()


def _with_depth(
    frame: Frame, image: NDArray[np.uint8] | NDArray[np.float32] | None
) -> NDArray[np.unsignedinteger[Any]]:
    """Return the image to write, (H, W, 3 or 4): `image`, or the frame's own."""
    if image is None:
        deep = frame.deep
        image = frame.image if deep is None else deep
    whole: NDArray[Any] = image
    if image.dtype == np.float32:
        whole = np.rint(image * np.float32(257)).astype(np.uint16)
    return whole if frame.alpha is None else np.dstack([whole, frame.alpha])


def open_sink(
    output: Path,
    footage: Footage,
    *,
    codec: str = "auto",
    crf: int = 16,
    preset: str = "medium",
    target: Path | None = None,
) -> Sink:
    """Open the sink for footage and output; a video appears as `target`, if there is one.

    Raises:
        MediaError: A video's output is not a video file, or several pictures go into one file.
    """
    if isinstance(footage, VideoReader):
        return VideoWriter(output, footage, codec=codec, crf=crf, preset=preset, target=target)
    one_file = output.suffix.lower() in PICTURE_SUFFIXES
    if one_file and len(footage.paths) > 1:
        raise MediaError(f"{output}: is one file for {len(footage.paths)} pictures; name a folder")
    if output.suffix and not one_file and not output.is_dir():
        raise MediaError(
            f"{output}: pictures become a folder of pictures, or one of "
            f"{', '.join(PICTURE_SUFFIXES)}"
        )
    sources = {path.resolve() for path in footage.paths}
    targets = [output] if one_file else [output / f"{path.stem}.png" for path in footage.paths]
    if own := next((path for path in targets if path.resolve() in sources), None):
        raise MediaError(f"{own}: is one of the pictures themselves; choose another output")
    names: dict[str, Path] = {}
    for path in () if one_file else footage.paths:
        if (other := names.setdefault(path.stem, path)) != path:
            raise MediaError(
                f"{output}: {other} and {path} would become the same {path.stem}.png; rename one"
            )
    return PictureSink(output, footage.paths)
