"""Faces of a faceset: rows of its database, and the validation of their values."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.facesets.database import CURE, DATABASE_NAME, checked, reading
from swapper.facesets.faceset_errors import damaged
from swapper.facesets.faceset_metadata import SHA256
from swapper.types import MESH_POINTS, NUM_LANDMARKS, FaceRecord

ROW_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_IMAGE_SUFFIX: Final = re.compile(r"\.(png|webp|jpg)")
_MAX_COORDINATE: Final = 1e7

_TEXTS: Final = ("id", "image", "source", "sha256")
_COUNTS: Final = ("frame_index", "pts")
_NUMBERS: Final = ("yaw", "pitch", "roll", "sharpness", "confidence")
_ARRAYS: Final[dict[str, tuple[str, int]]] = {
    "landmarks": ("<f4", NUM_LANDMARKS * 2),
    "aligned_from_frame": ("<f8", 6),
    "mesh": ("<f4", MESH_POINTS * 3),
}
_COLUMNS: Final = (*_TEXTS, *_COUNTS, *_NUMBERS, *_ARRAYS)
_SELECT: Final = "SELECT * FROM faces WHERE removed IS NULL ORDER BY id"
_INSERT: Final = "INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"


def make_record(row: dict[str, Any]) -> FaceRecord:
    """Build a validated record from plain values; arrays may have any shape of the right length.

    Raises:
        ValueError: A value is missing, of the wrong type or out of its range.
    """
    try:
        values: dict[str, Any] = {name: row[name] for name in (*_TEXTS, *_COUNTS, *_NUMBERS)}
        landmarks = np.asarray(row["landmarks"], np.float32).reshape(NUM_LANDMARKS, 2)
        matrix = np.asarray(row["aligned_from_frame"], np.float64).reshape(2, 3)
        mesh = row.get("mesh")
        if mesh is not None:
            mesh = np.asarray(mesh, np.float32).reshape(MESH_POINTS, 3)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error
    except (TypeError, OverflowError) as error:
        raise ValueError(f"an array is malformed ({error})") from error
    _check_scalars(values)
    for subject, array in (
        ("mesh is", mesh),
        ("landmarks are", landmarks),
        ("aligned_from_frame is", matrix),
    ):
        if array is not None and not (np.abs(array) <= _MAX_COORDINATE).all():
            raise ValueError(f"{subject} not finite or far out")
    if abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]) < 1e-12:
        raise ValueError("aligned_from_frame flattens the picture")
    values |= {name: float(values[name]) for name in _NUMBERS}
    return FaceRecord(**values, landmarks=landmarks, aligned_from_frame=matrix, mesh=mesh)


def _check_scalars(values: dict[str, Any]) -> None:
    for name in _TEXTS:
        if not isinstance(values[name], str):
            raise ValueError(f"{name} is no text")
    check_image_name(values["id"], values["image"])
    for name in ("source", "sha256"):
        if not SHA256.fullmatch(values[name]):
            raise ValueError(f"{name} {values[name][:80]!r} is not 64 hex digits")
    for name in _COUNTS:
        if type(values[name]) is not int or not -(2**63) <= values[name] < 2**63:
            raise ValueError(f"{name} {str(values[name])[:80]} is no whole number of 64 bits")
    if values["frame_index"] < 0:
        raise ValueError(f"frame_index {values['frame_index']} is negative")
    for name in _NUMBERS:
        if type(values[name]) not in (int, float) or not math.isfinite(values[name]):
            raise ValueError(f"{name} is no finite number")


def check_image_name(face: Any, image: Any) -> None:
    """Refuse names that are no id, or not the picture of that id.

    Raises:
        ValueError: They are not.
    """
    if not isinstance(face, str) or not ROW_ID.fullmatch(face):
        raise ValueError(f"id {face!r:.80} has other characters than letters, digits, _ . -")
    suffix = image.removeprefix(face) if isinstance(image, str) else ""
    if suffix == image or not _IMAGE_SUFFIX.fullmatch(suffix):
        raise ValueError(f"image {image!r:.80} is not its id with .png, .webp or .jpg")


def plain_row(record: FaceRecord) -> dict[str, Any]:
    """Return the values of `record` by column, numbers as Python types."""
    return {
        **{name: getattr(record, name) for name in (*_TEXTS, *_ARRAYS)},
        **{name: int(getattr(record, name)) for name in _COUNTS},
        **{name: float(getattr(record, name)) for name in _NUMBERS},
    }


def read_faces(folder: Path) -> list[FaceRecord]:
    """Read and validate the faces of the faceset in `folder`, sorted by id.

    Raises:
        FacesetError: The database is foreign or damaged, or a row is.
    """
    with reading(folder) as database:
        return [] if database is None else faces_in(database, folder)


def faces_in(database: sqlite3.Connection, folder: Path) -> list[FaceRecord]:
    """Like `read_faces`, from an open database."""
    path = folder / DATABASE_NAME
    with checked(path):
        # All at once: a writer's commit waits for those who read.
        rows = database.execute(_SELECT).fetchall()
        try:
            return [_record(row[:-1]) for row in rows]
        except (ValueError, TypeError) as error:
            raise damaged(path, error, CURE) from error


def all_ids(database: sqlite3.Connection, folder: Path) -> set[str]:
    """Return the ids of the faces of the faceset in `folder`, and of those that were removed."""
    with checked(folder / DATABASE_NAME):
        return {face for (face,) in database.execute("SELECT id FROM faces")}


def _record(row: Sequence[Any]) -> FaceRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name, (kind, length) in _ARRAYS.items():
        if name == "mesh" and values[name] is None:
            continue
        values[name] = _array_of(values[name], kind, length, name)
    return make_record(values)


def _array_of(data: Any, kind: str, length: int, name: str) -> NDArray[Any]:
    """Return the numbers of a blob.

    Raises:
        ValueError: It is no blob of that length.
    """
    if not isinstance(data, bytes) or len(data) != length * np.dtype(kind).itemsize:
        raise ValueError(f"{name} is not {length} numbers")
    return np.frombuffer(data, kind)


def insert_face(database: sqlite3.Connection, record: FaceRecord) -> None:
    """Insert a record, whose picture has been written."""
    row = plain_row(record)
    for name, (kind, _) in _ARRAYS.items():
        if row[name] is not None:
            row[name] = np.ascontiguousarray(row[name], kind).tobytes()
    database.execute(_INSERT, [row[name] for name in _COLUMNS])
