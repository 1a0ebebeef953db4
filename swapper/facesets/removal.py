"""Take faces out of a faceset, and bring them back.

A batch of removed faces keeps its rows, marked with the batch's number, so that the faces are not
extracted again; its pictures move to ``removed/<number>/``. Rows are marked before pictures move: a
kill in between leaves pictures that are not used, and `undo` copes with both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from swapper.facesets.database import CURE, DATABASE_NAME, checked, open_for_writing
from swapper.facesets.faceset import IMAGES_NAME, Faceset
from swapper.facesets.faceset_errors import damaged, refuse_link, writing
from swapper.facesets.index import check_image_name
from swapper.types import FaceRecord

REMOVED_NAME: Final = "removed"
_MAX_BATCH: Final = 1 << 31
_LAST: Final = "SELECT max(removed) FROM faces WHERE typeof(removed) = 'integer'"


def remove_faces(faceset: Faceset, records: Iterable[FaceRecord]) -> Path:
    """Remove some faces of a faceset, as one batch.

    Returns:
        The folder of the batch.

    Raises:
        FacesetError: It cannot be written, or another process is adding faces.
    """
    path, ids = faceset.path / DATABASE_NAME, [(each.id,) for each in records]
    with closing(open_for_writing(faceset.path)) as database, checked(path):
        batch = _last_batch(database, path) + 1
        folder = _folder(faceset.path, batch)
        mark = f"UPDATE faces SET removed = {batch} WHERE id = ? AND removed IS NULL"  # noqa: S608
        database.executemany(mark, ids)
        database.execute("COMMIT")
        # Again under the lock: an undo in between must find all pictures on one side.
        database.execute("BEGIN IMMEDIATE")
        _move(faceset.path / IMAGES_NAME, folder, _images(database, path, batch))
        database.execute("COMMIT")
    return folder


def undo_removal(faceset: Faceset) -> int:
    """Bring the last batch of removed faces back; return how many, 0 if there is none.

    Raises:
        FacesetError: As `remove_faces`.
    """
    path = faceset.path / DATABASE_NAME
    with closing(open_for_writing(faceset.path)) as database, checked(path):
        batch = _last_batch(database, path)
        images = _images(database, path, batch)
        _move(_folder(faceset.path, batch), faceset.path / IMAGES_NAME, images)
        database.execute("UPDATE faces SET removed = NULL WHERE removed = ?", [batch])
        database.execute("COMMIT")
    return sum((faceset.path / IMAGES_NAME / image).is_file() for image in images)


def _last_batch(database: sqlite3.Connection, path: Path) -> int:
    ((last,),) = database.execute(_LAST)
    if last is not None and not 0 < last < _MAX_BATCH:
        raise damaged(path, f"has a batch {last} of removed faces", CURE)
    return last or 0


def _folder(faceset: Path, batch: int) -> Path:
    """Return the folder of a batch; no part of the way there may be a link."""
    folder = faceset / REMOVED_NAME / str(batch)
    for each in (faceset / IMAGES_NAME, faceset / REMOVED_NAME, folder):
        refuse_link(each)
    return folder


def _images(database: sqlite3.Connection, path: Path, batch: int) -> list[str]:
    """Names of a batch's pictures; validated, since rows of removed faces are not read."""
    rows: list[tuple[Any, Any]] = database.execute(
        "SELECT id, image FROM faces WHERE removed = ?", [batch]
    ).fetchall()
    try:
        for face, image in rows:
            check_image_name(face, image)
    except ValueError as error:
        raise damaged(path, error, CURE) from error
    return [image for _, image in rows]


def _move(source: Path, destination: Path, names: Iterable[str]) -> None:
    with writing(destination):
        destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (source / name).is_file():
                (source / name).replace(destination / name)
