"""Store of estimators' readings of a faceset: a row per estimator and face, in its database.

A row has its face's id and the sha256 of the picture that was read, so that outdated rows are
detected. Opening a faceset does not load embeddings, which only training needs.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.facesets.affect_table import (
    LISTS,
    NUMBERS,
    StoredReadings,
    about_text,
    check_stored,
    parse_about,
)
from swapper.facesets.database import CURE, DATABASE_NAME, checked, open_for_writing, reading
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_errors import damaged, refuse_link, writing
from swapper.types import Readings

_MAX_WIDTH: Final = 4096
_WAIT_SECONDS: Final = 60.0
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_COLUMNS: Final = ("face", "picture", *LISTS, *NUMBERS)
_SELECT: Final = (
    "SELECT face, picture, embedding, probabilities, intensities, valence, arousal FROM readings"
    " WHERE estimator = ? ORDER BY face"
)
_INSERT: Final = "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def read_readings(
    faceset: Faceset,
    name: str,
    *,
    lineage: str | None = None,
    preprocessing_hash: str | None = None,
) -> Readings:
    """Read the readings of each face of `faceset` by the estimator `name`.

    Args:
        faceset: Opened.
        name: Of the estimator.
        lineage: Required lineage; None accepts any.
        preprocessing_hash: Required `StoredReadings.preprocessing_hash`; None accepts any.

    Returns:
        One row per face, in the order of ``faceset.records``.

    Raises:
        FacesetError: Missing, incomplete, made with other weights or preprocessing, or damaged.
        ValueError: `name` is not a legal name.
    """
    path, cure = faceset.path, _cure(faceset.path, name)
    stored = read_stored(path, name)
    if stored is None:
        raise damaged(path, f"{name} has not read these faces", cure)
    if lineage is not None and stored.readings.lineage != lineage:
        lineage = stored.readings.lineage[:80]
        raise damaged(path, f"was read by other weights of {name} ({lineage})", cure)
    if preprocessing_hash is not None and stored.preprocessing_hash != preprocessing_hash:
        raise damaged(path, f"{name} read it through another window or normalisation", cure)
    rows = rows_of(faceset, stored)
    if lacking := int((rows < 0).sum()):
        stored_ids = set(stored.ids)
        new = sum(record.id not in stored_ids for record in faceset.records)
        raise damaged(
            path,
            f"of {len(rows)} faces {new} were never read and {lacking - new} changed since",
            cure,
        )
    return stored.readings.take(rows)


def annotated_by(folder: Path) -> list[str]:
    """Return the names of the estimators that have read the faceset `folder`, sorted.

    Raises:
        FacesetError: The database is foreign or damaged.
    """
    with reading(folder) as database:
        if database is None:
            return []
        names = [name for (name,) in database.execute("SELECT name FROM estimators ORDER BY name")]
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise damaged(folder / DATABASE_NAME, f"names an estimator {name!r:.80}", CURE)
    return names


def rows_of(faceset: Faceset, stored: StoredReadings) -> NDArray[np.int64]:
    """Return the row (N,) of `stored` of each face of `faceset`; -1 where there is no valid one."""
    places = {name: row for row, name in enumerate(stored.ids)}
    candidates = (places.get(record.id, -1) for record in faceset.records)
    return np.array(
        [
            row if row >= 0 and stored.pictures[row] == record.sha256 else -1
            for record, row in zip(faceset.records, candidates, strict=True)
        ],
        np.int64,
    )


@contextmanager
def reserving(folder: Path) -> Iterator[None]:
    """Lock the readings of the faceset `folder` against other processes.

    Raises:
        FacesetError: Another process holds the lock, or the folder cannot be opened.
    """
    refuse_link(folder)
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise damaged(
                folder, "another process is reading affect there", "wait for that to end"
            ) from error
        open_for_writing(folder).close()  # now, rather than after everything has been read
        yield
    finally:
        os.close(descriptor)


def write_stored(
    folder: Path, name: str, parts: Sequence[StoredReadings], *, add: bool = False
) -> None:
    """Replace the readings by the estimator `name`, or add to them, in one transaction.

    `parts` has at least one, all of the same weights, preprocessing, labels and outputs.

    Raises:
        ValueError: The parts do not belong together, or are not valid.
        FacesetError: It cannot be written; the old readings are untouched.
    """
    _check_name(name)
    for part in parts:
        check_stored(part, name)
    about = about_text(parts[0])
    if any(about_text(part) != about for part in parts):
        raise ValueError("parts of different readings")
    ids = [face for part in parts for face in part.ids]
    if len(set(ids)) < len(ids):
        raise ValueError("a face is listed twice")
    path = folder / DATABASE_NAME
    with closing(open_for_writing(folder, _WAIT_SECONDS)) as database, checked(path):
        if not add:
            database.execute("DELETE FROM readings WHERE estimator = ?", [name])
        database.execute("INSERT OR REPLACE INTO estimators VALUES (?, ?)", [name, about])
        for part in parts:
            rows = ([name, *row] for row in _rows(part))
            database.executemany(_INSERT, rows)
        database.execute("COMMIT")


def _rows(part: StoredReadings) -> Iterator[list[Any]]:
    """Values of `_COLUMNS`, a row per face."""
    lists = [getattr(part.readings, name) for name in LISTS]
    numbers = [getattr(part.readings, name) for name in NUMBERS]
    for row, (face, picture) in enumerate(zip(part.ids, part.pictures, strict=True)):
        yield [
            face,
            picture,
            *(None if each is None else each[row].astype("<f4").tobytes() for each in lists),
            *(None if each is None else float(each[row]) for each in numbers),
        ]


def read_stored(folder: Path, name: str) -> StoredReadings | None:
    """Read and validate the readings by the estimator `name`; None if there are none.

    Raises:
        FacesetError: The database is foreign or damaged, or a row is.
        ValueError: `name` is not a legal name.
    """
    _check_name(name)
    path = folder / DATABASE_NAME
    with reading(folder) as database:
        if database is None:
            return None
        try:
            return _read(database, name)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            cure = f"{_cure(folder, name)} refresh=true"
            raise damaged(path, f"holds no readings of ours ({error})", cure) from error


def _read(database: sqlite3.Connection, name: str) -> StoredReadings | None:
    found = database.execute("SELECT about FROM estimators WHERE name = ?", [name]).fetchone()
    if found is None:
        return None
    about = parse_about(found[0])
    rows = database.execute(_SELECT, [name]).fetchall()
    columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    if not columns:
        return None
    embedding, probabilities, intensities = (_matrix(each, columns[each]) for each in LISTS)
    valence, arousal = (_vector(each, columns[each]) for each in NUMBERS)
    if embedding is None:
        raise ValueError("embedding has gaps")
    readings = Readings(
        about["lineage"], about["labels"], about["units"],
        embedding, probabilities, valence, arousal, intensities,
    )  # fmt: skip
    stored = StoredReadings(
        columns["face"], columns["picture"], about["preprocessing_hash"], readings
    )
    check_stored(stored, name)
    return stored


def _matrix(name: str, values: Sequence[Any]) -> NDArray[np.float32] | None:
    """(N, width) of blobs; None where none has any."""
    if all(each is None for each in values):
        return None
    if not all(isinstance(each, bytes) and len(each) == len(values[0]) for each in values):
        raise ValueError(f"{name} has gaps")
    width = len(values[0]) / 4
    if not 0 < width <= _MAX_WIDTH or width % 1:
        raise ValueError(f"{name} has {width:g} numbers")
    return np.frombuffer(b"".join(values), "<f4").astype(np.float32).reshape(len(values), -1)


def _vector(name: str, values: Sequence[Any]) -> NDArray[np.float32] | None:
    """(N,) of numbers; None where none has any."""
    if all(each is None for each in values):
        return None
    if not all(isinstance(each, float) for each in values):
        raise ValueError(f"{name} has gaps")
    return np.array(values, np.float32)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"an estimator's name has a-z, 0-9, _ and - only, not {name[:80]!r}")


def _cure(folder: Path, name: str) -> str:
    return f"run swapper annotate facesets=[{folder}] affect={name}"
