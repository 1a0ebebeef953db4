"""Aligner that reads landmarks from a CSV in OpenFace 2's format."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from swapper.errors import AlignerError
from swapper.faces.aligner import FrameLike, valid_faces
from swapper.types import NUM_LANDMARKS, Face

_POINTS: Final = [f"{axis}_{i}" for axis in "xy" for i in range(NUM_LANDMARKS)]
_REQUIRED: Final = ["frame", "face_id", "confidence", "success", *_POINTS]
_LARGEST_FILE: Final = 2 * 1024**3
_LONGEST_LINE: Final = 256 * 1024
_MOST_ROWS: Final = 5_000_000
_MOST_FRAMES: Final = 100_000_000
_FURTHEST_PX: Final = 1e6


@dataclass
class _Table:
    """Usable rows of a CSV: (68 x, 68 y) in sequence, indexed by frame number from 1."""

    numbers: array[float] = field(default_factory=lambda: array("f"))
    confidences: array[float] = field(default_factory=lambda: array("f"))
    rows_of: dict[int, list[int]] = field(default_factory=dict)
    row_keys: set[tuple[int, int]] = field(default_factory=set)
    frames: set[int] = field(default_factory=set)

    def landmarks(self, row: int) -> NDArray[np.float32]:
        width = 2 * NUM_LANDMARKS
        numbers = np.frombuffer(self.numbers, dtype=np.float32)[row * width : (row + 1) * width]
        return numbers.reshape(2, NUM_LANDMARKS).T.copy()


class OpenfaceAligner:
    """Reads the 68 landmarks of each frame from a CSV instead of detecting them.

    Columns as OpenFace 2 writes them: ``frame`` (from 1), ``face_id``, ``confidence``, ``success``,
    ``x_0`` .. ``x_67``, ``y_0`` .. ``y_67`` in pixels of the upright frame; others are ignored.
    Rows with ``success`` 0 or too low a confidence hold no face, but count as frames.

    Args:
        csv: The file; or a folder with a file for each clip, ``<clip's stem>.openface.csv`` or
            ``<clip's stem>.csv``. Then `set_clip` must be called before anything is read.
        min_confidence: In [0, 1]; rows below it are skipped.
        sparse: Whether frames without a face may lack a row, as in the output of OpenFace's
            multi-face tool. Otherwise the CSV must have a row for each frame of the clip.
    """

    name = "openface"

    def __init__(self, csv: str, min_confidence: float = 0.5, sparse: bool = False) -> None:
        if not 0.0 <= min_confidence <= 1.0:
            raise AlignerError(f"aligner.min_confidence={min_confidence}: must lie between 0 and 1")
        self.csv = Path(csv).expanduser()
        self.min_confidence = min_confidence
        self.sparse = sparse
        self._clip: Path | None = None
        self._table: _Table | None = None

    @property
    def fingerprint(self) -> str:
        """Name and settings; not the file, which differs for each clip."""
        return f"openface(min_confidence={self.min_confidence:g})"

    @property
    def expected_frames(self) -> int | None:
        """Number of frames in the CSV; None if it is sparse."""
        if self.sparse:
            return None
        frames = self._loaded().frames
        return max(max(frames), len(frames))

    def set_clip(self, clip: Path) -> None:
        """Select the clip by the name of its file or folder; no effect where `csv` is a file."""
        self._clip, self._table = clip, None

    def prepare(self) -> None:
        """Read the whole CSV.

        Raises:
            AlignerError: It is missing, too large, lacks columns or contains invalid numbers.
        """
        self._loaded()

    def __call__(self, frame: FrameLike) -> list[Face]:
        """Return the faces of this frame in the CSV, largest first."""
        table = self._loaded()
        rows = table.rows_of.get(frame.index + 1, [])
        height, width = frame.image.shape[:2]
        return valid_faces(
            ((table.landmarks(row), table.confidences[row]) for row in rows), (width, height)
        )

    def finish(self, num_frames: int) -> None:
        """Check that the clip had as many frames as the CSV describes.

        Raises:
            AlignerError: The counts differ; names both.
        """
        frames = self._loaded().frames
        described, cure = max(frames), ""
        if described <= num_frames:
            if self.sparse or len(frames) == num_frames:
                return
            described = len(frames)
            cure = ", or aligner.sparse=true if frames without a face have no row"
        raise AlignerError(
            f"{self._file()}: describes {described} frames but the clip has {num_frames}: pass the "
            f"CSV of this clip{cure}"
        )

    def close(self) -> None:
        """Release the table; it is read again when needed."""
        self._table = None

    def _loaded(self) -> _Table:
        if self._table is None:
            self._table = _read(self._file(), self.min_confidence)
        return self._table

    def _file(self) -> Path:
        """Return the CSV of the current clip."""
        if self._clip is None or not self.csv.is_dir():
            return self.csv
        stem = self._clip.name if self._clip.is_dir() else self._clip.stem
        names = [f"{stem}.openface.csv", f"{stem}.csv"]
        for name in names:
            if (self.csv / name).is_file():
                return self.csv / name
        raise AlignerError(
            f"{self.csv}: has neither {names[0]} nor {names[1]} for {self._clip}: put one of them "
            "there, or pass aligner.csv=FILE"
        )


def _read(path: Path, min_confidence: float) -> _Table:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise AlignerError(f"{path}: is not a file: pass aligner.csv=PATH of a landmark CSV")
        if size > _LARGEST_FILE:
            raise AlignerError(f"{path}: {size} bytes is no landmark CSV (at most 2 GiB): check it")
        with path.open(encoding="utf-8-sig", newline="") as handle:
            return _parse(path, handle, min_confidence)
    except FileNotFoundError:
        raise AlignerError(
            f"{path}: no such file: pass aligner.csv=PATH of a landmark CSV"
        ) from None
    except OSError as error:
        raise AlignerError(f"{path}: cannot be read ({error.strerror}): check the file") from error
    except UnicodeDecodeError as error:
        raise AlignerError(f"{path}: is not text: pass a landmark CSV in UTF-8") from error
    except csv.Error as error:
        raise AlignerError(f"{path}: is not a sound CSV ({error}): write it again") from error


def _lines(path: Path, handle: TextIO) -> Iterator[str]:
    """Yield the file's lines; their length is limited."""
    while line := handle.readline(_LONGEST_LINE):
        if len(line) >= _LONGEST_LINE:
            raise AlignerError(f"{path}: has a line too long for a landmark CSV: check the file")
        yield line


def _parse(path: Path, handle: TextIO, min_confidence: float) -> _Table:
    # Strict: otherwise a stray quote would consume the following lines.
    reader = csv.reader(_lines(path, handle), strict=True)
    header = [name.strip() for name in next(reader, [])]
    column = _columns(path, header)
    table = _Table()
    for cells in reader:
        if not cells or all(not cell.strip() for cell in cells):
            continue
        where = f"{path}: line {reader.line_num}"
        if len(cells) != len(header):
            raise AlignerError(
                f"{where} has {len(cells)} cells but the header {len(header)}: write the CSV again"
            )
        if len(table.row_keys) >= _MOST_ROWS:
            raise AlignerError(f"{path}: more than {_MOST_ROWS} rows: split the clip and its CSV")
        _add_row(table, _Row(where, cells, column), min_confidence)
    if not table.frames:
        raise AlignerError(f"{path}: has no rows: write the CSV again")
    table.row_keys.clear()
    return table


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    column = {name: i for i, name in enumerate(header)}
    missing = [name for name in _REQUIRED if name not in column]
    if missing:
        named = ", ".join(missing[:6]) + (
            f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        )
        raise AlignerError(
            f"{path}: lacks the columns {named}: pass a CSV with frame, face_id, confidence, "
            "success, x_0..x_67, y_0..y_67"
        )
    double = sorted(name for name in _REQUIRED if header.count(name) > 1)
    if double:
        raise AlignerError(f"{path}: has the column {double[0]} twice: write the CSV again")
    return column


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    cells: list[str]
    column: dict[str, int]

    def number(self, name: str) -> float:
        cell = self.cells[self.column[name]].strip()
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise AlignerError(
                f"{self.where}: {name} is {cell[:40]!r}, not a number: fix or remove the row"
            )
        return value

    def integer(self, name: str, least: int) -> int:
        value = self.number(name)
        if value != int(value) or not least <= value <= _MOST_FRAMES:
            raise AlignerError(
                f"{self.where}: {name} is {value:g}, not a whole number from {least}: fix the row"
            )
        return int(value)


def _add_row(table: _Table, row: _Row, min_confidence: float) -> None:
    frame, face = row.integer("frame", 1), row.integer("face_id", 0)
    if (frame, face) in table.row_keys:
        raise AlignerError(f"{row.where}: frame {frame} has face_id {face} twice: remove one row")
    table.row_keys.add((frame, face))
    table.frames.add(frame)
    if row.number("success") == 0 or row.number("confidence") < min_confidence:
        return
    points = [row.number(name) for name in _POINTS]
    for name, value in zip(_POINTS, points, strict=True):
        if abs(value) > _FURTHEST_PX:
            raise AlignerError(
                f"{row.where}: {name} is {value:g}, outside any frame: fix or remove the row"
            )
    table.rows_of.setdefault(frame, []).append(len(table.confidences))
    table.numbers.extend(points)
    table.confidences.append(row.number("confidence"))
