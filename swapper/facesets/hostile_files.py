"""Read untrusted files, and replace files atomically."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from swapper.errors import FacesetError

PARTIAL = ".partial"
_MAX_MESSAGE = 500


def damaged(path: Path, problem: object, cure: str) -> FacesetError:
    """Return the error for `path`: one printable line, even if it quotes the file."""
    text = " ".join(f"{path}: {problem}; {cure}".split())
    if len(text) > _MAX_MESSAGE:
        text = f"{text[: _MAX_MESSAGE // 2]} ... {text[-_MAX_MESSAGE // 2 :]}"
    return FacesetError("".join(each if each.isprintable() else "?" for each in text))


@contextmanager
def open_regular(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file for reading; refuse links, pipes and devices.

    Args:
        path: Only its last component is checked for being a link.
        limit: Largest size in bytes.

    Raises:
        FileNotFoundError: Missing.
        FacesetError: Not a regular file, too large or unreadable.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise damaged(path, "is a link", "put the file itself there") from error
        raise damaged(path, error.strerror, "check that it can be read") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, "is not a plain file", "remove it")
        if status.st_size > limit:
            raise damaged(
                path,
                f"has {status.st_size} bytes, more than {limit}",
                "this is no such file of ours",
            )
        yield stream


def read_regular(path: Path, limit: int) -> bytes:
    """Return all bytes of a regular file; raises as `open_regular`."""
    with open_regular(path, limit) as stream:
        return stream.read(limit + 1)[:limit]


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Write a file atomically, by a hidden temporary file in the same folder.

    Args:
        path: To be replaced or created.
        sync: Whether to fsync it before the move.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if sync:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Fsync a file or folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert `OSError` on writing to `FacesetError`."""
    try:
        yield
    except OSError as error:
        raise damaged(
            path,
            f"cannot be written ({error.strerror or error})",
            "make room or fix the permissions, then run the same command again",
        ) from error
