"""Store of estimators' readings of a faceset: ``affect/<estimator>.parquet``, one row per face.

One file per estimator, separate from the index: new readings change neither the index nor those of
another estimator, and opening a faceset does not load embeddings that only training needs. A row
has its face's id and the sha256 of the picture that was read, so that outdated rows are detected.
Written like the index: uncompressed, atomically.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swapper.errors import FacesetError
from swapper.facesets.affect_table import (
    StoredReadings,
    affect_to_table,
    check_stored,
    read_affect_table,
)
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_errors import damaged, refuse_link, writing
from swapper.facesets.parquet_footer import write_parquet
from swapper.files import PARTIAL, open_regular
from swapper.types import Readings

FOLDER_NAME: Final = "affect"
_MAX_BYTES: Final = 8 << 30
_ROWS_PER_GROUP: Final = 8192
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")


def readings_path(folder: Path, name: str) -> Path:
    """Return the path of the readings by the estimator `name` in the faceset `folder`.

    Raises:
        ValueError: `name` is not a legal name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"an estimator's name has a-z, 0-9, _ and - only, not {name[:80]!r}")
    return folder / FOLDER_NAME / f"{name}.parquet"


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
    path, cure = readings_path(faceset.path, name), _cure(faceset.path, name)
    stored = read_stored(faceset.path, name)
    if stored is None:
        raise damaged(path, f"not there: {name} has not read these faces", cure)
    if lineage is not None and stored.readings.lineage != lineage:
        raise damaged(path, f"was read by other weights ({stored.readings.lineage[:80]})", cure)
    if preprocessing_hash is not None and stored.preprocessing_hash != preprocessing_hash:
        raise damaged(path, "was read through another window or normalisation", cure)
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
    """Lock the readings of the faceset `folder` against other processes; remove leftovers.

    Raises:
        FacesetError: Another process holds the lock, or the folder cannot be created.
    """
    place = folder / FOLDER_NAME
    refuse_link(place)
    with writing(place):
        place.mkdir(exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise damaged(
                place, "another process is reading affect there", "wait for that to end"
            ) from error
        for leftover in place.glob(f".*.parquet.*{PARTIAL}"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def write_stored(folder: Path, name: str, parts: Sequence[StoredReadings]) -> None:
    """Replace the readings by the estimator `name` atomically.

    `parts` has at least one, all of the same weights, preprocessing, labels and outputs.

    Raises:
        ValueError: The parts do not belong together, or are not valid.
        FacesetError: It cannot be written; the old file is untouched.
    """
    for part in parts:
        check_stored(part, name)
    tables = [affect_to_table(part) for part in parts]
    if any(not table.schema.equals(tables[0].schema, check_metadata=True) for table in tables):
        raise ValueError("parts of different readings")
    table = pa.concat_tables(tables)
    if len(set(table.column("id").to_pylist())) < table.num_rows:
        raise ValueError("a face is listed twice")
    path = readings_path(folder, name)
    refuse_link(path.parent)
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        write_parquet(path, table, _ROWS_PER_GROUP)


def read_stored(folder: Path, name: str) -> StoredReadings | None:
    """Read and validate the readings by the estimator `name`; None if there are none.

    Raises:
        FacesetError: Foreign, damaged or too large; checked before much is read.
        ValueError: `name` is not a legal name.
    """
    path = readings_path(folder, name)
    cure = f"delete it, then {_cure(folder, name)}"
    refuse_link(path.parent)
    try:
        with open_regular(path, _MAX_BYTES, FacesetError) as stream:
            return read_affect_table(stream, name)
    except FileNotFoundError:
        return None
    except FacesetError:
        raise
    except (pa.ArrowException, ValueError, OSError, TypeError, KeyError, MemoryError,
            RecursionError) as error:  # fmt: skip
        raise damaged(path, f"is damaged or no readings of ours ({error})", cure) from error


def _cure(folder: Path, name: str) -> str:
    return f"run swapper annotate facesets=[{folder}] affect={name}"
