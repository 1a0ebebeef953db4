"""Parquet files of facesets; their footer is validated before pyarrow reads it.

pyarrow aborts the process on some damaged footers (an unknown codec number is enough), and the
footer determines how much is read and unpacked. So it is parsed here first, by Thrift's compact
protocol, and compared with what `write_parquet` writes.

Source: Apache Parquet format, parquet.thrift; Thrift compact protocol specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from swapper.files import replacing

MAGIC = b"PAR1"
_MAX_BYTES = 4 << 20
_MAX_DEPTH = 12
_MAX_COLUMNS = 1024

# Field numbers in parquet.thrift.
_NUM_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE_PATH, _COLUMN_META, _CRYPTO = 1, 3, 8
_CODEC, _UNPACKED, _PACKED, _DICTIONARY = 4, 6, 7, 11
_UNCOMPRESSED = 0


@dataclass(frozen=True, slots=True)
class Claims:
    """Sizes stated in a footer: rows of the table, uncompressed bytes of all columns."""

    num_rows: int
    unpacked: int


def read_footer(stream: BinaryIO) -> Claims:
    """Check the footer of `stream` and rewind it.

    Raises:
        ValueError: Not Parquet, damaged, or with what we never write: compression, dictionaries,
            encryption, columns in other files.
    """
    size = stream.seek(0, 2)
    if size < 12:
        raise ValueError("too short")
    stream.seek(size - 8)
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > min(_MAX_BYTES, size - 12):
        raise ValueError("its footer is damaged")
    stream.seek(size - 8 - length)
    try:
        claims = _claims(_Compact(stream.read(length)).struct())
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError("its footer is damaged") from error
    if claims.unpacked > size:
        raise ValueError(f"claims {claims.unpacked} bytes of columns in {size}")
    stream.seek(0)
    return claims


def open_parquet(stream: BinaryIO, max_rows: int) -> tuple[pq.ParquetFile, Claims]:
    """Open a file that `write_parquet` wrote.

    Raises:
        ValueError: As `read_footer`, or it claims more rows than `max_rows`.
    """
    claims = read_footer(stream)
    if claims.num_rows > max_rows:
        raise ValueError(f"claims {claims.num_rows} rows, more than {max_rows}")
    return pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False), claims


def column_type(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Return the type of a column; None if there is none, or several of that name."""
    index = schema.get_field_index(name)
    return None if index < 0 else schema.field(index).type


def write_parquet(path: Path, table: pa.Table, rows_per_group: int) -> None:
    """Replace a file atomically: uncompressed and without dictionaries, as `read_footer` demands.

    Raises:
        OSError: It cannot be written; the old file is untouched.
    """
    with replacing(path) as stream:
        pq.write_table(
            table,
            stream,
            row_group_size=rows_per_group,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )


def _claims(footer: dict[int, Any]) -> Claims:
    unpacked = rows = 0
    for group in footer[_ROW_GROUPS]:
        if not 0 < len(group[_COLUMNS]) <= _MAX_COLUMNS or group[_GROUP_ROWS] < 0:
            raise ValueError("its footer is damaged")
        rows += group[_GROUP_ROWS]
        for chunk in group[_COLUMNS]:
            meta = chunk[_COLUMN_META]
            if _FILE_PATH in chunk or _CRYPTO in chunk:
                raise ValueError("points to other files or is encrypted")
            if meta[_CODEC] != _UNCOMPRESSED or _DICTIONARY in meta:
                raise ValueError("compressed by another program")
            if not 0 <= meta[_UNPACKED] == meta[_PACKED]:
                raise ValueError("its footer is damaged")
            unpacked += meta[_UNPACKED]
    if rows != footer[_NUM_ROWS]:
        raise ValueError("its footer is damaged")
    return Claims(rows, unpacked)


class _Compact:
    """Reads one struct of Thrift's compact protocol into ``{field number: value}``."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("its footer is nested too deeply")
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("its footer is damaged")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._unsigned()
        kind = head & 15
        if count > len(self.data) - self.place:  # every item takes a byte at least
            raise ValueError("its footer is damaged")
        if kind in (1, 2):
            return [self._byte() == 1 for _ in range(count)]
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        value = self.data[self.place]
        self.place += 1
        return value

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise ValueError("its footer is damaged")
        self.place += count
        return self.data[self.place - count : self.place]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("its footer is damaged")

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
