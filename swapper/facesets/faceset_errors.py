"""Errors of facesets: one printable line, whatever a file had us quote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swapper.errors import FacesetError
from swapper.files import one_line

_MAX_MESSAGE = 500


def damaged(path: Path, problem: object, cure: str) -> FacesetError:
    """Return the error for `path`."""
    return FacesetError(one_line(f"{path}: {problem}; {cure}", _MAX_MESSAGE))


def refuse_link(folder: Path) -> None:
    """Raise a `FacesetError` if `folder` is a symbolic link."""
    if folder.is_symlink():
        raise damaged(folder, "is a link", "put the folder itself there")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn refusals to write into a `FacesetError`."""
    try:
        yield
    except OSError as error:
        raise damaged(
            path,
            f"cannot be written ({error.strerror or error})",
            "make room or mend the permissions, then run the same command again",
        ) from error
