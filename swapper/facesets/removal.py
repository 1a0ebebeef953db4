"""Take faces out of a faceset, and bring them back.

A batch of removed faces keeps its rows, marked with the batch's number, so that the faces are not
extracted again; its pictures move to ``removed/<number>/``. Rows are marked before pictures move: a
kill in between leaves pictures that are not used, and `undo` copes with both.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from swapper.facesets.database import DATABASE_NAME, checked, open_for_writing
from swapper.facesets.faceset import IMAGES_NAME, Faceset
from swapper.facesets.faceset_errors import refuse_link, writing
from swapper.types import FaceRecord

REMOVED_NAME: Final = "removed"


def remove_faces(faceset: Faceset, records: Iterable[FaceRecord]) -> Path:
    """Remove some faces of a faceset, as one batch.

    Returns:
        The folder of the batch.

    Raises:
        FacesetError: It cannot be written, or another process is adding faces.
    """
    path, images = faceset.path / DATABASE_NAME, [(each.id, each.image) for each in records]
    refuse_link(faceset.path / REMOVED_NAME)
    with closing(open_for_writing(faceset.path)) as database, checked(path):
        batch = _last_batch(database.execute(_LAST).fetchone()) + 1
        database.executemany(
            "UPDATE faces SET removed = ? WHERE id = ?", [(batch, face) for face, _ in images]
        )
        database.execute("COMMIT")
    folder = faceset.path / REMOVED_NAME / str(batch)
    _move(faceset.path / IMAGES_NAME, folder, [image for _, image in images])
    return folder


def undo_removal(faceset: Faceset) -> int:
    """Bring the last batch of removed faces back; return how many, 0 if there is none.

    Raises:
        FacesetError: As `remove_faces`.
    """
    path = faceset.path / DATABASE_NAME
    refuse_link(faceset.path / REMOVED_NAME)
    with closing(open_for_writing(faceset.path)) as database, checked(path):
        batch = _last_batch(database.execute(_LAST).fetchone())
        rows = database.execute("SELECT image FROM faces WHERE removed = ?", [batch]).fetchall()
        folder = faceset.path / REMOVED_NAME / str(batch)
        _move(folder, faceset.path / IMAGES_NAME, [image for (image,) in rows])
        database.execute("UPDATE faces SET removed = NULL WHERE removed = ?", [batch])
        database.execute("COMMIT")
    return len(rows)


_LAST: Final = "SELECT max(removed) FROM faces"


def _last_batch(row: tuple[int | None]) -> int:
    return row[0] if isinstance(row[0], int) else 0


def _move(source: Path, destination: Path, names: Iterable[str]) -> None:
    with writing(destination):
        destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (source / name).is_file():
                (source / name).replace(destination / name)
