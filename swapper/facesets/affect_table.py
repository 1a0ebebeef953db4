"""Readings as a Parquet table: columns, and validation of untrusted files.

One row per face: ``id``, ``picture`` (sha256 of the picture that was read), ``embedding`` and those
of ``probabilities``, ``intensities`` (lists), ``valence`` and ``arousal`` that the estimator has.
One key of the schema's metadata holds, as JSON, the lineage, the preprocessing's hash,
labels and units.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swapper.facesets.faceset_metadata import SHA256
from swapper.facesets.index import MAX_ROWS, ROW_ID
from swapper.facesets.parquet_footer import column_type, open_parquet
from swapper.types import Readings

_SCHEMA: Final = 1
_KEY: Final = b"swapper.readings"
_MAX_WIDTH: Final = 4096
_MAX_LABELS: Final = 256
_MAX_NAME: Final = 64
_MAX_ABOUT: Final = 64 << 10

_MAX_FEATURE: Final = 1e6
"""Upper bound of plausible features."""

_LISTS: Final = ("embedding", "probabilities", "intensities")
_NUMBERS: Final = ("valence", "arousal")
_RANGES: Final = {
    "embedding": (-_MAX_FEATURE, _MAX_FEATURE),
    "probabilities": (0.0, 1.0),
    "intensities": (0.0, 1.0),
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
}
_SLACK: Final = 1e-3
"""Tolerance of ranges for rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredReadings:
    """Rows of a file of readings.

    Attributes:
        ids: Names of the N faces, each once.
        pictures: sha256 (hex) of the picture file that each was read from.
        preprocessing_hash: sha256 (hex) of the estimator's preprocessing.
        readings: Of the N faces.
    """

    ids: tuple[str, ...]
    pictures: tuple[str, ...]
    preprocessing_hash: str
    readings: Readings

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> StoredReadings:
        """Return some rows, in the order of `rows`."""
        return StoredReadings(
            tuple(self.ids[row] for row in rows),
            tuple(self.pictures[row] for row in rows),
            self.preprocessing_hash,
            self.readings.take(rows),
        )


def affect_to_table(part: StoredReadings) -> pa.Table:
    """Convert `part` to a table."""
    readings = part.readings
    columns: dict[str, Any] = {
        "id": pa.array(part.ids, pa.string()),
        "picture": pa.array(part.pictures, pa.string()),
    }
    for name in (*_LISTS, *_NUMBERS):
        values = getattr(readings, name)
        if values is None:
            continue
        flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        width = 0 if values.ndim == 1 else values.shape[1]
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, width) if width else flat
    about = {
        "schema": _SCHEMA,
        "lineage": readings.lineage,
        "preprocessing_hash": part.preprocessing_hash,
        "labels": list(readings.labels),
        "units": list(readings.units),
    }
    kinds = [pa.field(name, each.type, nullable=False) for name, each in columns.items()]
    schema = pa.schema(kinds, metadata={_KEY: json.dumps(about).encode()})
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def read_affect_table(stream: BinaryIO, name: str) -> StoredReadings:
    """Read and validate the rows of a file, at its start, of the estimator `name`.

    Raises:
        ValueError, TypeError, KeyError, OSError, MemoryError, pyarrow.ArrowException: It is
            damaged, foreign, or claims more than it holds.
    """
    file, claims = open_parquet(stream, MAX_ROWS)
    about = _about(file.schema_arrow)
    widths = _widths(file.schema_arrow)
    # Memory is allocated for all rows at once, so the file must really hold them.
    if 4 * claims.num_rows * sum(width or 1 for width in widths.values()) > claims.unpacked:
        raise ValueError("claims more numbers than it holds")
    texts: dict[str, list[str]] = {"id": [], "picture": []}
    arrays = {
        column_name: np.empty((claims.num_rows, width) if width else claims.num_rows, np.float32)
        for column_name, width in widths.items()
    }
    done = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=[*texts, *arrays], use_threads=False)
        table.validate(full=True)
        for column_name, column in texts.items():
            column += table.column(column_name).to_pylist()
        for column_name, array in arrays.items():
            array[done : done + table.num_rows] = _numbers(
                table.column(column_name), widths[column_name]
            )
        done += table.num_rows
    if done != claims.num_rows:
        raise ValueError("has another number of rows than it claims")
    stored = StoredReadings(
        tuple(texts["id"]),
        tuple(texts["picture"]),
        about["preprocessing_hash"],
        Readings(about["lineage"], about["labels"], about["units"], **arrays),
    )
    check_stored(stored, name)
    return stored


def check_stored(stored: StoredReadings, name: str) -> None:
    """Validate rows of a file of the estimator `name`.

    Raises:
        ValueError: A value is out of its range, or columns do not fit each other.
    """
    _check_about(stored.preprocessing_hash, stored.readings, name)
    _check_values(stored)
    if len(set(stored.ids)) < len(stored):
        raise ValueError("lists a face twice")


def _about(schema: pa.Schema) -> dict[str, Any]:
    text = (schema.metadata or {}).get(_KEY)
    if text is None or len(text) > _MAX_ABOUT:
        raise ValueError("a foreign Parquet file")
    about = json.loads(text.decode())
    if not isinstance(about, dict) or about.get("schema") != _SCHEMA:
        raise ValueError("of another version of swapper")
    if "look" in about:  # as swapper wrote it before December 2026
        about["preprocessing_hash"] = about.pop("look")
    if not all(isinstance(about.get(key), str) for key in ("lineage", "preprocessing_hash")):
        raise ValueError("does not name its estimator")
    if not all(isinstance(about.get(key), list) for key in ("labels", "units")):
        raise ValueError("does not name its labels and units")
    if not all(isinstance(each, str) for each in about["labels"]):
        raise ValueError("labels are no names")
    return {**about, "labels": tuple(about["labels"]), "units": tuple(about["units"])}


def _widths(schema: pa.Schema) -> dict[str, int]:
    """Length of each column's lists; 0 for a column of scalars."""
    for name in ("id", "picture"):
        if column_type(schema, name) != pa.string():
            raise ValueError(f"column {name} is missing or no text")
    widths: dict[str, int] = {}
    for name in (*_LISTS, *_NUMBERS):
        kind = column_type(schema, name)
        if kind is None:
            continue
        if name in _NUMBERS and kind == pa.float32():
            widths[name] = 0
        elif (
            name in _LISTS
            and pa.types.is_fixed_size_list(kind)
            and kind.value_type == pa.float32()
            and 0 < kind.list_size <= _MAX_WIDTH
        ):
            widths[name] = kind.list_size
        else:
            raise ValueError(f"column {name} is of another kind")
    if "embedding" not in widths:
        raise ValueError("column embedding is missing")
    return widths


def _numbers(column: pa.ChunkedArray, width: int) -> NDArray[np.float32]:
    """(rows, width), or (rows,) for a width of 0."""
    whole = column.combine_chunks()
    values = whole.flatten() if width else whole
    if column.null_count or values.null_count:
        raise ValueError("has gaps")
    flat: NDArray[np.float32] = values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), width) if width else flat


def _check_about(preprocessing_hash: str, readings: Readings, name: str) -> None:
    """Validate a file's metadata against its columns; a ValueError if they do not fit."""
    reader, _, weights = readings.lineage.partition(":")
    if reader != name or not SHA256.fullmatch(weights) or not SHA256.fullmatch(preprocessing_hash):
        raise ValueError(f"read by {readings.lineage[:80]!r}, not by {name}")
    labels, units = readings.labels, readings.units
    sound = all(0 < len(each) <= _MAX_NAME and each.isprintable() for each in labels)
    if not sound or len(labels) > _MAX_LABELS or len(set(labels)) < len(labels):
        raise ValueError("labels are no names")
    if not all(type(each) is int and 0 <= each < 1000 for each in units):
        raise ValueError("units are no numbers of action units")
    for kind, legend in (("probabilities", labels), ("intensities", units)):
        values = getattr(readings, kind)
        if (0 if values is None else values.shape[1]) != len(legend):
            raise ValueError(f"{kind} do not fit their {len(legend)} names")


def _check_values(stored: StoredReadings) -> None:
    readings, count = stored.readings, len(stored)
    if len(stored.pictures) != count or readings.embedding.ndim != 2:
        raise ValueError("columns of different lengths")
    for name, (least, most) in _RANGES.items():
        values = getattr(readings, name)
        if values is None:
            continue
        if len(values) != count:
            raise ValueError("columns of different lengths")
        # Not-a-number is in no range.
        if count and not (values.min() >= least - _SLACK and values.max() <= most + _SLACK):
            raise ValueError(f"{name} are not all between {least:g} and {most:g}")
    shares = readings.probabilities
    if shares is not None and not (np.abs(shares.sum(axis=1) - 1) <= _SLACK).all():
        raise ValueError("probabilities do not sum to 1")
    if not all(ROW_ID.fullmatch(each) for each in stored.ids):
        raise ValueError("a face has no proper name")
    if not all(SHA256.fullmatch(each) for each in stored.pictures):
        raise ValueError("a picture's sha256 is not 64 hex digits")
