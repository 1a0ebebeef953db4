"""Video files that are complete or missing, whatever happens while they are written."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from swapper.errors import MediaError
from swapper.files import sync
from swapper.media.codecs import CODECS

_MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


class ContainerWriter(ABC):
    """A video file being written, as ``.<stem>.partial<suffix>`` beside `path`; a context manager.

    Args:
        path: Output; an existing file is replaced at the end. Its folder is created.
        target: Where the finished file is moved instead, if it is not to appear as `path` yet.

    Attributes:
        path: As given.
        codec, options: A key of `CODECS` and its encoder's options; set by subclasses before they
            are entered.
    """

    codec: str
    options: dict[str, str]
    _empty_cure = "check the input"

    def __init__(self, path: str | Path, target: Path | None = None) -> None:
        self.path = Path(path)
        self._target = target or self.path
        self._count = 0  # of frames written
        self._partial = self.path.with_name(f".{self.path.stem}.partial{self.path.suffix}")
        self._stack = ExitStack()
        self._output: OutputContainer | None = None

    @abstractmethod
    def _add_streams(self, output: OutputContainer, stack: ExitStack) -> None:
        """Add streams to the new file, and to `stack` what must be closed with it."""

    @abstractmethod
    def _flush(self, output: OutputContainer) -> None:
        """Write what encoders still hold."""

    def finish(self) -> None:
        """Complete the file and move it into place; a second call does nothing.

        Raises:
            MediaError: Writing fails, or no frame was written.
        """
        output, self._output = self._output, None
        if output is None:
            return
        if not self._count:
            raise MediaError(f"{self.path}: no frame was written; {self._empty_cure}")
        with self._guard():
            self._flush(output)
            output.close()
            sync(self._partial)
            self._partial.replace(self._target)
            sync(self.path.parent)
            self._stack.close()

    def _add_video(
        self,
        output: OutputContainer,
        size: tuple[int, int],
        pix_fmt: str,
        rate: Fraction,
        time_base: Fraction,
        tags: tuple[int, int, int, int],
    ) -> VideoStream:
        """Add the video stream; `tags` are as in `CodedVideo`."""
        encoder = CODECS[self.codec].encoder
        stream = output.add_stream(encoder, rate=rate, options=dict(self.options))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = pix_fmt
        stream.time_base = context.time_base = time_base
        context.colorspace, context.color_range = tags[:2]
        context.color_primaries, context.color_trc = tags[2:]
        return stream

    def __enter__(self) -> Self:
        os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other option
        with self._guard(), ExitStack() as stack:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_quietly, self._partial)
            muxer = _MUXERS[self.path.suffix.lower()]
            fast = {"movflags": "+faststart"} if muxer in ("mp4", "mov") else {}
            output = av.open(f"file:{self._partial}", "w", format=muxer, options=fast)
            stack.callback(_close_quietly, output)
            self._add_streams(output, stack)
            self._output, self._stack = output, stack.pop_all()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._stack:
            if error is None:
                self.finish()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Convert errors to a MediaError of one line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise MediaError(
                f"{self.path}: cannot be written ({reason}); free space or choose another output"
            ) from error
        except av.FFmpegError as error:
            raise MediaError(
                f"{self.path}: {self.codec} cannot encode this clip "
                f"({error.strerror or error}); choose another codec"
            ) from error


def _remove_quietly(path: Path) -> None:
    """Remove what is left of an abandoned file; a disk that is read-only has none."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _close_quietly(output: OutputContainer) -> None:
    """Close the container of an abandoned file, ignoring errors."""
    with suppress(av.FFmpegError, OSError, ValueError):
        output.close()
