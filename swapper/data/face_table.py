"""Columns of a faceset's faces, and the selection of faces by a plain expression over them.

Expressions are those of SQL, such as ``yaw > 20 and sharpness < .2`` or ``emotion = 'happy'``. They
are evaluated by SQLite on a table in memory that holds nothing else, with everything but
reading denied.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.data.picture_measures import duplicate_ranks, measure_pictures
from swapper.errors import UsageError, choices_text
from swapper.facesets.faceset import Faceset
from swapper.files import one_line
from swapper.types import Readings

Column = NDArray[np.float64] | Sequence[str]

COLUMNS: Final = (
    *("frame", "file", "yaw", "pitch", "roll", "sharpness", "confidence", "size"),
    *("exposure", "clipped", "duplicate", "emotion", "valence", "arousal"),
)
"""Columns, with their units in docs/facesets.md; besides, ``au4``, ``au12`` ...: intensities of
action units, 0 to 1."""
_UNIT: Final = re.compile(r"au\d+")
_PICTURED: Final = ("exposure", "clipped", "duplicate")
_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
_FUNCTIONS: Final = {"abs", "min", "max", "round", "like", "glob", "length", "lower", "upper"}
_PLAIN: Final = re.compile(r"[\w\s.,'()<>=!+*/%|&~-]*")
_GRAMMAR: Final = "write it like \"yaw > 20 and (size < 60 or emotion = 'sad')\""
_MAX_STEPS: Final = 50_000_000


def face_columns(
    faceset: Faceset, readings: Readings | None = None, names: Sequence[str] | None = None
) -> dict[str, Column]:
    """Compute columns of `COLUMNS`, each of N values in the order of the faceset's records.

    Args:
        faceset: Opened.
        readings: Of its faces; without, what they would give is left out.
        names: Which, None for all; pictures are only read if a column needs them.

    Raises:
        FacesetError: A picture cannot be used.
    """
    records = faceset.records
    files = {source.sha256: source.name for source in faceset.card.sources}
    columns: dict[str, Column] = {
        "frame": np.array([float(each.frame_index) for each in records]),
        "file": [files.get(each.source, "") for each in records],
        "size": np.array(
            [np.linalg.norm(each.landmarks[45] - each.landmarks[36]) for each in records]
        ),
    }
    sharpness = np.array([each.sharpness for each in records])
    columns["sharpness"] = sharpness
    for name in ("yaw", "pitch", "roll", "confidence"):
        columns[name] = np.array([float(getattr(each, name)) for each in records])
    if names is None or not set(names).isdisjoint(_PICTURED):
        measured = measure_pictures(faceset)
        columns["exposure"], columns["clipped"] = measured.exposure, measured.clipped
        columns["duplicate"] = duplicate_ranks(measured.hashes, sharpness).astype(float)
    if readings is not None:
        if readings.probabilities is not None:
            labels = readings.probabilities.argmax(axis=1)
            columns["emotion"] = [readings.labels[label] for label in labels]
        for name in ("valence", "arousal"):
            values = getattr(readings, name)
            if values is not None:
                columns[name] = values.astype(np.float64)
        for place, unit in enumerate(readings.units):
            assert readings.intensities is not None
            columns[f"au{unit}"] = readings.intensities[:, place].astype(np.float64)
    order = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    return {
        name: columns[name]
        for name in order
        if name in columns and (names is None or name in names)
    }


def names_in(expression: str) -> list[str]:
    """Return the columns that an expression names."""
    outside = re.sub(r"'[^']*'", "", expression)
    words = [word.lower() for word in re.findall(r"\w+", outside)]
    return list(dict.fromkeys(word for word in words if word in COLUMNS or _UNIT.fullmatch(word)))


def select_faces(columns: Mapping[str, Column], expression: str) -> NDArray[np.int64]:
    """Return the rows for which an expression is true.

    Raises:
        UsageError: It is no expression over the columns.
    """
    _check_expression(expression)
    names = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join("?" * len(columns))
    values = [each.tolist() if isinstance(each, np.ndarray) else each for each in columns.values()]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE faces ({names})")
        database.executemany(
            f"INSERT INTO faces VALUES ({places})",  # noqa: S608 (names of our own)
            zip(*values, strict=True),
        )
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 20)
        database.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100)
        database.set_progress_handler(lambda: 1, _MAX_STEPS)
        database.set_authorizer(_authorize)
        try:
            rows = database.execute(
                f"SELECT rowid - 1, CASE WHEN ({expression}) THEN 1 ELSE 0 END FROM faces"  # noqa: S608
            ).fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise UsageError(_explain(expression, error, columns)) from error
    return np.array([row for row, true in rows if true], np.int64)


def _check_expression(expression: str) -> None:
    """Refuse what could leave the parentheses, and names in quotes, which SQL takes for text."""
    outside = re.sub(r"'[^']*'", "''", expression)
    depth = np.cumsum([(each == "(") - (each == ")") for each in outside] or [0])
    if not _PLAIN.fullmatch(outside) or "--" in outside or "/*" in outside:
        raise UsageError(f"where={one_line(expression)}: {_GRAMMAR}")
    if depth.min() < 0 or depth[-1]:
        raise UsageError(f"where={one_line(expression)}: parentheses do not match; {_GRAMMAR}")


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Let an expression read the table and call harmless functions; nothing else."""
    if action == sqlite3.SQLITE_READ and first != "faces":
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second not in _FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _explain(expression: str, error: Exception, columns: Mapping[str, Column]) -> str:
    problem = one_line(error)
    unknown = re.match(r"no such column: (\w+)", problem)
    if unknown is None:
        return f"where={one_line(expression)}: {problem}; {_GRAMMAR}"
    name = unknown[1].lower()
    if (name in COLUMNS or _UNIT.fullmatch(name)) and name not in columns:
        return f"where: no estimator has read {name}; run swapper annotate with one that does"
    return f"where: no column {unknown[1]}; columns: {choices_text(name, COLUMNS)}"
