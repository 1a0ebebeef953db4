"""Index of a faceset: ``faces.parquet``, and the journal of rows not yet in it.

Required columns are those of `SCHEMA`; ``mesh`` may be missing or empty. Reading
ignores unknown columns, rewriting keeps them. Estimators' readings have files of their own
(`swapper.facesets.affect_store`). Parquet is written uncompressed and without dictionaries, and
nothing else is read: memory is then bounded by the file's size.

A line of the journal is the CRC-32 of a JSON object, a blank, and that object. Only the end of a
journal may be damaged, by a kill in the middle of a line.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swapper.errors import FacesetError
from swapper.facesets.faceset_errors import damaged, writing
from swapper.facesets.faceset_metadata import FACESET_SCHEMA, SHA256
from swapper.facesets.parquet_footer import column_type, open_parquet, write_parquet
from swapper.files import open_regular, read_regular
from swapper.types import MESH_POINTS, NUM_LANDMARKS, FaceRecord

INDEX_NAME = "faces.parquet"
JOURNAL_NAME = "faces.journal"

MAX_ROWS = 5_000_000
_MAX_INDEX_BYTES = 8 << 30
_MAX_JOURNAL_BYTES = 64 << 20
_ROWS_PER_GROUP = 65_536
_SCHEMA_KEY = b"swapper.faceset.schema"
_CURE = "restore it from a copy, or extract into a new folder"

ROW_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_IMAGE_SUFFIX = re.compile(r"\.(png|webp|jpg)")
_MAX_COORDINATE = 1e7

_TEXTS = ("id", "image", "source", "sha256")
_COUNTS = ("frame_index", "pts")
_NUMBERS = ("yaw", "pitch", "roll", "sharpness", "confidence")
_ARRAYS: dict[str, tuple[np.dtype[Any], int]] = {
    "landmarks": (np.dtype(np.float32), NUM_LANDMARKS * 2),
    "aligned_from_frame": (np.dtype(np.float64), 6),
}
_BINARY = {**_ARRAYS, "mesh": (np.dtype(np.float32), MESH_POINTS * 3)}

SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        *(
            pa.field(name, pa.list_(pa.from_numpy_dtype(kind), length), nullable=False)
            for name, (kind, length) in _ARRAYS.items()
        ),
    ],
    metadata={_SCHEMA_KEY: str(FACESET_SCHEMA).encode()},
)
_MESH = pa.field("mesh", pa.list_(pa.float32(), MESH_POINTS * 3))
"""Optional column: not every aligner has it, and older indices lack it."""


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
    face, image = values["id"], values["image"]
    if not ROW_ID.fullmatch(face):
        raise ValueError(f"id {face[:80]!r} has other characters than letters, digits, _ . -")
    if not image.startswith(face) or not _IMAGE_SUFFIX.fullmatch(image[len(face) :]):
        raise ValueError(f"image {image[:80]!r} is not its id with .png, .webp or .jpg")
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


def plain_row(record: FaceRecord) -> dict[str, Any]:
    """Return the values of `record` by column, numbers as Python types."""
    return {
        **{name: getattr(record, name) for name in (*_TEXTS, *_BINARY)},
        **{name: int(getattr(record, name)) for name in _COUNTS},
        **{name: float(getattr(record, name)) for name in _NUMBERS},
    }


def records_to_table(records: Sequence[FaceRecord]) -> pa.Table:
    """Convert `records` to a table with `SCHEMA`."""
    columns: list[Any] = [
        pa.array([getattr(record, each.name) for record in records], each.type)
        for each in SCHEMA
        if each.name not in _ARRAYS
    ]
    for name, (kind, length) in _ARRAYS.items():
        values = np.array([getattr(record, name) for record in records], kind).reshape(-1)
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), length))
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    if any(record.mesh is not None for record in records):
        meshes = [None if each.mesh is None else each.mesh.reshape(-1) for each in records]
        table = table.append_column(_MESH, pa.array(meshes, _MESH.type))
    return table


def table_to_records(table: pa.Table, path: Path) -> list[FaceRecord]:
    """Convert `table`, read from `path`, to validated records.

    Raises:
        FacesetError: A row is damaged.
    """
    try:
        lists = {name: table.column(name).to_pylist() for name in (*_TEXTS, *_COUNTS, *_NUMBERS)}
        arrays: dict[str, NDArray[Any]] = {}
        for name, (_, length) in _ARRAYS.items():
            chunk = table.column(name).combine_chunks()
            values = chunk.flatten()
            if values.null_count:
                raise ValueError(f"{name} has gaps")
            arrays[name] = values.to_numpy(zero_copy_only=False).reshape(-1, length)
            if len(arrays[name]) != table.num_rows:
                raise ValueError(f"{name} has another number of rows")
        columns = {**lists, **arrays, "mesh": _meshes(table)}
        return [
            make_record({name: column[i] for name, column in columns.items()})
            for i in range(table.num_rows)
        ]
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise damaged(path, error, _CURE) from error


def _meshes(table: pa.Table) -> list[NDArray[np.float32] | None]:
    """The mesh of each row, flat, or None."""
    if _MESH.name not in table.column_names:
        return [None] * table.num_rows
    column = table.column(_MESH.name).combine_chunks()
    there = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten()
    if values.null_count:
        raise ValueError("mesh has gaps")
    rows = iter(values.to_numpy(zero_copy_only=False).reshape(-1, _MESH.type.list_size))
    return [next(rows) if each else None for each in there]


def read_index(folder: Path, *, everything: bool = False) -> pa.Table:
    """Read the index of the faceset in `folder`; an empty table if there is none yet.

    Columns that are not in `SCHEMA` are read only if `everything` is.

    Raises:
        FacesetError: Foreign, damaged or too large; checked before much is read.
    """
    path = folder / INDEX_NAME
    try:
        with open_regular(path, _MAX_INDEX_BYTES, FacesetError) as stream:
            return _read_table(path, stream, everything)
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except FacesetError:
        raise
    except (pa.ArrowException, ValueError, OSError, TypeError, KeyError, MemoryError) as error:
        raise damaged(path, f"is damaged or no Parquet ({error})", _CURE) from error


def _read_table(path: Path, stream: BinaryIO, everything: bool) -> pa.Table:
    try:
        file, _ = open_parquet(stream, MAX_ROWS)
    except ValueError as error:
        raise damaged(path, f"is no index of ours ({error})", _CURE) from error
    _check_schema(path, file.schema_arrow)
    names = [*SCHEMA.names, *({_MESH.name} & set(file.schema_arrow.names))]
    table = file.read(columns=None if everything else names, use_threads=False)
    table.validate(full=True)
    for field in SCHEMA:
        if table.column(field.name).null_count:
            raise damaged(path, f"column {field.name} has gaps", _CURE)
    return table


def _check_schema(path: Path, schema: pa.Schema) -> None:
    stamp = (schema.metadata or {}).get(_SCHEMA_KEY)
    if stamp is None:
        raise damaged(path, "is a foreign Parquet file", _CURE)
    if stamp != str(FACESET_SCHEMA).encode():
        raise damaged(path, f"has schema {stamp!r}", "upgrade swapper, or extract again")
    for field in SCHEMA:
        if not _types_match(column_type(schema, field.name), field.type):
            raise damaged(path, f"column {field.name} is missing or not {field.type}", _CURE)
    kind = column_type(schema, _MESH.name)
    if kind is not None and not _types_match(kind, _MESH.type):
        raise damaged(path, f"column {_MESH.name} is not {_MESH.type}", _CURE)


def _types_match(actual: pa.DataType | None, expected: pa.DataType) -> bool:
    """Equal except for the names of list items, which differ between writers."""
    if actual is not None and pa.types.is_fixed_size_list(expected):
        return bool(
            pa.types.is_fixed_size_list(actual)
            and actual.list_size == expected.list_size
            and actual.value_type == expected.value_type
        )
    return bool(actual == expected)


def write_index(folder: Path, table: pa.Table) -> None:
    """Replace the index of the faceset in `folder` atomically.

    Raises:
        FacesetError: The disk is full or the folder not writable; the old index is untouched.
    """
    path = folder / INDEX_NAME
    with writing(path):
        write_parquet(path, table, _ROWS_PER_GROUP)


def extend_index(table: pa.Table, records: Sequence[FaceRecord]) -> pa.Table:
    """Append `records` to `table`; unknown columns are null for them."""
    return pa.concat_tables([table, records_to_table(records)], promote_options="default")


def journal_line(record: FaceRecord) -> bytes:
    """Return the journal line of `record`, whose picture has been written."""
    row = plain_row(record)
    if row["mesh"] is None:
        del row["mesh"]
    for name, (kind, _) in _BINARY.items():
        if name in row:
            data = np.ascontiguousarray(row[name], kind.newbyteorder("<")).tobytes()
            row[name] = base64.b64encode(data).decode()
    text = json.dumps(row, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line without its newline; None if it is truncated."""
    if len(line) < 10 or line[8:9] != b" " or b"%08x" % zlib.crc32(line[9:]) != line[:8]:
        return None
    row = json.loads(line[9:].decode())
    if not isinstance(row, dict):
        raise ValueError("a line is no row")
    for name, (kind, length) in _BINARY.items():
        if name == "mesh" and name not in row:
            continue
        data = base64.b64decode(row.get(name, ""), validate=True)
        if len(data) != length * kind.itemsize:
            raise ValueError(f"{name} has {len(data)} bytes")
        row[name] = np.frombuffer(data, kind.newbyteorder("<")).astype(kind)
    return row


def read_journal(folder: Path) -> list[FaceRecord]:
    """Read and validate the journal of the faceset in `folder`; empty if there is none.

    Lines truncated at the end by a kill are skipped: their faces were not yet committed.

    Raises:
        FacesetError: Damaged elsewhere, or too large.
    """
    path = folder / JOURNAL_NAME
    try:
        data = read_regular(path, _MAX_JOURNAL_BYTES, FacesetError)
    except FileNotFoundError:
        return []
    records: list[FaceRecord] = []
    broken = 0
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            row = _parse_line(line)
            if row is None:
                broken = broken or number
                continue
            if broken:
                raise ValueError(f"line {broken} is damaged")
            records.append(make_record(row))
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(
                path, error, "delete it to go on without its faces, then extract again"
            ) from error
    return records
