"""Footage as a sequence of frames: a video, an image, a folder or glob of images."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

from swapper.errors import MediaError
from swapper.media.images import IMAGE_SUFFIXES, is_video, list_images, natural_key, read_image
from swapper.media.video_reader import Frame, VideoInfo, VideoReader

PICTURE_RATE = Fraction(25)
"""Frame rate of images: 1/25 s each."""


class Footage(AbstractContextManager["Footage"], Protocol):
    """A re-iterable sequence of frames; a context manager.

    Attributes:
        info: Properties of the footage.
        paths: The files that the frames come from.
        stopped: After a pass, the second up to which damaged footage could be decoded, or None.
    """

    info: VideoInfo
    paths: list[Path]
    stopped: float | None

    def __iter__(self) -> Iterator[Frame]: ...


class PictureReader(AbstractContextManager["PictureReader"]):
    """Images as frames, read lazily.

    Args:
        paths: At least one, in order; sizes may differ.
        name: The requested folder or image.

    Raises:
        MediaError: The first image cannot be read.
    """

    def __init__(self, paths: list[Path], name: Path) -> None:
        if not paths:
            raise ValueError("paths must not be empty")
        self.paths = paths
        self.stopped: float | None = None
        height, width = read_image(paths[0]).shape[:2]
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
        for index, path in enumerate(self.paths):
            yield Frame(index, float(index / PICTURE_RATE), partial(read_image, path))


def list_footage(spec: str | Path) -> list[Path]:
    """Return the videos of a folder that holds videos and no picture, in natural order; else the
    input itself, for `open_footage`.
    """
    path = Path(spec)
    if not path.is_dir():
        return [path]
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
