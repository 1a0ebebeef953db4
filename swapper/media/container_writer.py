"""Video files that are complete or missing, whatever happens while they are written."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import av
from av.container import OutputContainer

from swapper.errors import MediaError
from swapper.files import sync

_MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


class ContainerWriter(ABC):
    """A video file being written, as ``.<stem>.partial<suffix>`` beside `path`; a context manager.

    Attributes:
        path: Output; an existing file is replaced at the end. Its folder is created.
        codec: Set by subclasses before they are entered.
    """

    codec: str

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.stem}.partial{self.path.suffix}")
        self._stack = ExitStack()
        self._output: OutputContainer | None = None

    @abstractmethod
    def _add_streams(self, output: OutputContainer, stack: ExitStack) -> None:
        """Add streams to the new file, and to `stack` what must be closed with it."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file and move it into place."""

    def __enter__(self) -> Self:
        os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other option
        with self._guard(), ExitStack() as stack:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(self._partial.unlink, missing_ok=True)
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

    def _publish(self, output: OutputContainer) -> None:
        """Move the complete file into place, once it is on the disk."""
        output.close()
        with self._partial.open("r+b") as stream:
            os.fsync(stream.fileno())
        self._partial.replace(self.path)
        sync(self.path.parent)
        self._stack.close()

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


def _close_quietly(output: OutputContainer) -> None:
    """Close the container of an abandoned file, ignoring errors."""
    with suppress(av.FFmpegError, OSError, ValueError):
        output.close()
