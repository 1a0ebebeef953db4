"""Files: replaced in one move, hashed, read although they may be hostile; and one-line messages."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from swapper.errors import MediaError, SwapperError, UsageError

PARTIAL = ".partial"
# Libraries that write by themselves may leave a file that only its owner can read.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
"""Suffix of a file that is being written."""


def one_line(value: object, limit: int = 200) -> str:
    """Text as one printable line of at most `limit` characters, its middle left out.

    Args:
        value: Anything; an exception without a message is named by its type.
        limit: Largest length.
    """
    text = " ".join(str(value).split()) or (
        type(value).__name__ if isinstance(value, BaseException) else ""
    )
    text = "".join(each if each.isprintable() else "?" for each in text)
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def sha256_of(path: str | Path) -> str:
    """Hex sha256 of a file's bytes.

    Raises:
        MediaError: It cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as reason:
        raise MediaError(
            f"{path}: cannot be read ({reason.strerror or reason}); check the path"
        ) from reason


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, where the system can tell."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def partial_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A hidden sibling to write to, for libraries that take a path; moved to `path` at the end.

    Args:
        path: To be replaced or made; its folder must exist.
        durable: Whether the bytes must be on the disk before the move, and the move after it.

    Yields:
        The sibling, which does not exist yet; it is removed if the block raises.
    """
    name = f".{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}"
    partial = path.with_name(name)
    try:
        yield partial
        partial.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_UMASK)
        if durable:
            sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """As `partial_path`, as a stream of bytes."""
    with partial_path(path, durable=durable) as partial, partial.open("wb") as stream:
        yield stream


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """An empty hidden sibling to fill, moved to `path` at the end; what was there goes as a whole.

    Yields:
        The sibling; it is removed if the block raises, and `path` stays as it was.
    """
    partial, old = (path.with_name(f".{path.name}.{state}") for state in ("partial", "old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.replace(old)
        try:
            partial.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output_folder(
    output: Path, is_ours: Callable[[str], object], verb: str, *, overwrite: bool
) -> None:
    """Check before any work that `verb` may make a folder, or replace it as a whole.

    `is_ours` tells of an entry's name whether `verb` wrote it.

    Raises:
        UsageError: It may not; names the reason and the cure.
    """
    occupied = output.is_symlink() or (output.exists() and not output.is_dir())
    if occupied or output.name in ("", ".."):
        raise UsageError(f"output={output}: is not a valid folder; pass another output=")
    present = sorted(each.name for each in output.iterdir()) if output.exists() else []
    if present and not overwrite:
        raise UsageError(f"{output}: is not empty; pass overwrite=true or another output=")
    if foreign := [name for name in present if not is_ours(name)]:
        raise UsageError(
            f"{output}: holds {foreign[0]}, which no {verb} wrote, so it is not replaced; pass "
            "another output="
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content: at any moment it is the old or the new one. Makes its folder.

    Raises:
        MediaError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(data)
    except OSError as reason:
        raise MediaError(
            f"{path}: cannot be written ({reason.strerror or reason}); free space, check its "
            "permissions, or choose another place"
        ) from reason


@contextmanager
def open_regular(
    path: Path, limit: int, error: type[SwapperError], *, links: bool = False
) -> Iterator[BinaryIO]:
    """Open a plain file for reading, never a pipe or device.

    Args:
        path: Only its last part is guarded against being a link.
        limit: Largest size in bytes.
        error: Class of the error to raise.
        links: Whether it may be a link to one.

    Raises:
        FileNotFoundError: There is none.
        SwapperError: Of the class `error`: it is something else, too large or unreadable.
    """
    name = one_line(path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as reason:
        if reason.errno == errno.ELOOP:
            raise error(f"{name}: is a link; put the file itself there") from reason
        raise error(f"{name}: {reason.strerror}; check that it can be read") from reason
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise error(f"{name}: is not a plain file; remove it")
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_size > limit:
            raise error(
                f"{name}: has {status.st_size} bytes, more than {limit}; no such file of ours has"
            )
        yield stream


def read_regular(
    path: Path, limit: int, error: type[SwapperError], *, links: bool = False
) -> bytes:
    """All bytes of a plain file; raises as `open_regular`."""
    with open_regular(path, limit, error, links=links) as stream:
        return stream.read(limit + 1)[:limit]


def read_json(
    path: Path,
    limit: int,
    error: type[SwapperError],
    cure: str = "restore it",
    *,
    links: bool = False,
) -> dict[str, Any]:
    """The JSON object in a plain file that may be hostile.

    Args:
        path: As in `open_regular`.
        limit: Largest size in bytes.
        error: Class of the error to raise.
        cure: What to do about a file that is no JSON object, for the message.
        links: As in `open_regular`.

    Raises:
        FileNotFoundError: There is none.
        SwapperError: Of the class `error`: as `open_regular`; or it is no JSON object in UTF-8, or
            holds NaN or infinities.
    """
    data = read_regular(path, limit, error, links=links)
    try:
        content = json.loads(data.decode(), parse_constant=_refuse)  # bytes: json would guess
    except (ValueError, RecursionError) as reason:
        raise error(f"{one_line(path)}: is not JSON ({one_line(reason, 80)}); {cure}") from reason
    if not isinstance(content, dict):
        raise error(f"{one_line(path)}: is not a JSON object; {cure}")
    return content


def without_nan(value: Any) -> Any:
    """A JSON value with null for NaN and infinities, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
