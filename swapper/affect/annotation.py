"""What an estimator predicts of a faceset's faces: computed once, stored beside the faceset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.facesets.affect_sheet import shares
from swapper.facesets.affect_store import (
    read_readings,
    read_stored,
    reserving,
    rows_of,
    write_stored,
)
from swapper.facesets.affect_table import StoredReadings, check_stored
from swapper.facesets.faceset import Faceset
from swapper.progress import progress
from swapper.types import FaceRecord, Readings

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

_BATCH: Final = 64
_BATCH_PIXELS: Final = 1 << 24
"""Of all pictures that are read at once."""
_THREADS: Final = 8
_SAVE_SECONDS: Final = 30.0
_SAVE_SHARE: Final = 20.0
"""Saving again takes less than one part in so many of the time."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationSummary:
    """What became of one faceset.

    Attributes:
        faceset: As it was when it was read.
        read: Faces read now.
        known: Faces whose reading still held.
        readings: Of all its faces, in the order of its records.
    """

    faceset: Faceset
    read: int
    known: int
    readings: Readings


def annotate_faceset(
    faceset: Faceset,
    estimator: Estimator,
    *,
    refresh: bool = False,
    save_seconds: float = _SAVE_SECONDS,
) -> AnnotationSummary:
    """Read the faces of `faceset` that `estimator` has not read, and keep what it says.

    A face is known while its picture, the estimator's weights, its look at a crop and its labels
    are the same. What is read is written every `save_seconds`, and whatever ends it, so that a
    killed run continues.

    Args:
        faceset: Opened, with faces.
        estimator: On its device.
        refresh: Whether to read known faces, too.
        save_seconds: Least time between two savings; large files are saved more seldom.

    Raises:
        FacesetError: A picture or the folder cannot be used, or another process is reading.
        EstimatorError: It answers what is no answer.
    """
    name = estimator.name
    with reserving(faceset.path):
        stored = None if refresh else read_stored(faceset.path, name)
        held = stored if stored is not None and _same_reader(stored, estimator) else None
        rows = rows_of(faceset, held) if held else np.full(len(faceset.records), -1, np.int64)
        new = [each for each, row in zip(faceset.records, rows, strict=True) if row < 0]
        if new:
            parts = [] if held is None else [_still(faceset, held)]
            _read_new(faceset, estimator, new, parts, save_seconds)
        readings = read_readings(faceset, name, lineage=estimator.lineage, look=estimator.look)
    return AnnotationSummary(faceset, len(new), len(faceset.records) - len(new), readings)


def describe_annotation(summary: AnnotationSummary) -> str:
    """One line: how many faces were read, and what they show."""
    parts = [f"{summary.read} faces read, {summary.known} known"]
    found = shares(summary.readings)
    shown = sorted(((share, label) for label, share in found.items() if share), reverse=True)
    if shown:
        parts.append(", ".join(f"{label} {_percent(share)}" for share, label in shown))
    if absent := [label for label, share in found.items() if not share]:
        parts.append(f"no {', '.join(absent)}")
    for name in ("valence", "arousal"):
        values = getattr(summary.readings, name)
        if values is not None:
            low, high = np.percentile(values, (5, 95))
            parts.append(f"{name} {values.mean():+.2f} ({low:+.2f} to {high:+.2f})")
    return f"{summary.faceset.path}: {'; '.join(parts)}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _same_reader(stored: StoredReadings, estimator: Estimator) -> bool:
    readings = stored.readings
    return (readings.lineage, readings.labels, readings.units, stored.look) == (
        estimator.lineage,
        estimator.labels,
        estimator.units,
        estimator.look,
    )


def _still(faceset: Faceset, stored: StoredReadings) -> StoredReadings:
    """Without the rows of pictures that have changed.

    A face whose picture was deleted keeps its row, as it does in the index, and may come back.
    """
    now = {record.id: record.sha256 for record in faceset.records}
    pairs = zip(stored.ids, stored.pictures, strict=True)
    keep = [row for row, (face, picture) in enumerate(pairs) if now.get(face, picture) == picture]
    return stored.take(np.array(keep, np.int64))


def _read_new(
    faceset: Faceset,
    estimator: Estimator,
    records: Sequence[FaceRecord],
    parts: list[StoredReadings],
    save_seconds: float,
) -> None:
    """Read `records`, and write them below `parts`."""
    look = estimator.look
    bar = progress(
        len(faceset.records),
        f"{estimator.name} reads {faceset.card.identity}",
        "face",
        initial=len(faceset.records) - len(records),
    )
    saved = len(parts)
    due = time.monotonic() + save_seconds
    try:
        for some, pictures in _batches(faceset, records):
            part = StoredReadings(
                tuple(record.id for record in some),
                tuple(record.sha256 for record in some),
                look,
                estimator.readings(pictures, faceset.card.coverage),
            )
            _check(part, estimator.name)
            parts.append(part)
            bar.update(len(some))
            if time.monotonic() >= due:
                started = time.monotonic()
                write_stored(faceset.path, estimator.name, parts)
                saved = len(parts)
                took = time.monotonic() - started
                due = time.monotonic() + max(save_seconds, _SAVE_SHARE * took)
    finally:
        bar.close()
        if len(parts) > saved:
            write_stored(faceset.path, estimator.name, parts)


def _check(part: StoredReadings, name: str) -> None:
    try:
        check_stored(part, name)
    except ValueError as error:
        raise EstimatorError(
            f"affect={name}: it answers what is no answer ({error}); its weights, or the options "
            "that it was loaded with, are another network's"
        ) from error


def _batches(
    faceset: Faceset, records: Sequence[FaceRecord]
) -> Iterator[tuple[Sequence[FaceRecord], NDArray[np.uint8]]]:
    """Some records at a time with their pictures (N, S, S, 3); the next are decoded meanwhile."""
    count = max(1, min(_BATCH, _BATCH_PIXELS // faceset.card.size**2))
    starts = range(0, len(records), count)
    with ThreadPoolExecutor(_THREADS) as pool:
        coming = [pool.submit(faceset.image, record) for record in records[:count]]
        for start in starts:
            pictures = np.stack([each.result() for each in coming])
            after = records[start + count : start + 2 * count]
            coming = [pool.submit(faceset.image, record) for record in after]
            yield records[start : start + count], pictures
