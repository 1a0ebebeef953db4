"""Run an estimator on a faceset and store its readings in the faceset's folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.facesets.affect_sheet import label_shares
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
"""Limit on the pixels of one batch."""
_THREADS: Final = 8
_SAVE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationSummary:
    """Result of annotating one faceset.

    Attributes:
        faceset: As opened before annotation.
        read: Faces read now.
        reused: Faces whose stored reading is still valid.
        readings: Of all its faces, in the order of its records.
    """

    faceset: Faceset
    read: int
    reused: int
    readings: Readings


def annotate_faceset(
    faceset: Faceset,
    estimator: Estimator,
    *,
    refresh: bool = False,
    save_seconds: float = _SAVE_SECONDS,
) -> AnnotationSummary:
    """Read the faces of `faceset` that `estimator` has not read, and store the readings.

    A stored reading is valid while the picture, the estimator's weights, preprocessing and labels
    are unchanged. Readings are written every `save_seconds` and on any exit, so an interrupted run
    can be continued.

    Args:
        faceset: Opened, with faces.
        estimator: On its device.
        refresh: Whether to read all faces again.
        save_seconds: Minimum time between two saves.

    Raises:
        FacesetError: A picture or the folder cannot be used, or another process is reading.
        EstimatorError: Its output is not valid.
    """
    name = estimator.name
    with reserving(faceset.path):
        new, add = faceset.records, False
        stored = None if refresh else read_stored(faceset.path, name)
        if stored is not None and _same_estimator(stored, estimator):
            rows, add = rows_of(faceset, stored), True
            new = [each for each, row in zip(faceset.records, rows, strict=True) if row < 0]
        if new:
            _read_new(faceset, estimator, new, save_seconds, add=add)
        readings = read_readings(
            faceset,
            name,
            lineage=estimator.lineage,
            preprocessing_hash=estimator.preprocessing_hash,
        )
    return AnnotationSummary(faceset, len(new), len(faceset.records) - len(new), readings)


def describe_annotation(summary: AnnotationSummary) -> str:
    """Return one line: how many faces were read, and the distribution of affect."""
    parts = [f"{summary.read} faces read, {summary.reused} reused"]
    shares = label_shares(summary.readings)
    present = sorted(((share, label) for label, share in shares.items() if share), reverse=True)
    if present:
        parts.append(", ".join(f"{label} {_percent(share)}" for share, label in present))
    if absent := [label for label, share in shares.items() if not share]:
        parts.append(f"no {', '.join(absent)}")
    for name in ("valence", "arousal"):
        values = getattr(summary.readings, name)
        if values is not None:
            low, high = np.percentile(values, (5, 95))
            parts.append(f"{name} {values.mean():+.2f} ({low:+.2f} to {high:+.2f})")
    return f"{summary.faceset.path}: {'; '.join(parts)}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _same_estimator(stored: StoredReadings, estimator: Estimator) -> bool:
    readings = stored.readings
    return (readings.lineage, readings.labels, readings.units, stored.preprocessing_hash) == (
        estimator.lineage,
        estimator.labels,
        estimator.units,
        estimator.preprocessing_hash,
    )


def _read_new(
    faceset: Faceset,
    estimator: Estimator,
    records: Sequence[FaceRecord],
    save_seconds: float,
    *,
    add: bool,
) -> None:
    """Read `records` and store the readings, added to what is stored or in its place."""
    preprocessing_hash = estimator.preprocessing_hash
    bar = progress(
        len(faceset.records),
        f"{estimator.name} reads {faceset.card.identity}",
        "face",
        initial=len(faceset.records) - len(records),
    )
    parts: list[StoredReadings] = []
    due = time.monotonic() + save_seconds
    try:
        for batch, pictures in _batches(faceset, records):
            part = StoredReadings(
                tuple(record.id for record in batch),
                tuple(record.sha256 for record in batch),
                preprocessing_hash,
                estimator.readings(pictures, faceset.card.coverage),
            )
            try:
                check_stored(part, estimator.name)
            except ValueError as error:
                raise EstimatorError(
                    f"affect={estimator.name}: invalid output ({error}); its weights, or the "
                    "options that it was loaded with, are another network's"
                ) from error
            parts.append(part)
            bar.update(len(batch))
            if time.monotonic() >= due:
                write_stored(faceset.path, estimator.name, parts, add=add)
                parts, add = [], True
                due = time.monotonic() + save_seconds
    finally:
        bar.close()
        if parts:
            write_stored(faceset.path, estimator.name, parts, add=add)


def _batches(
    faceset: Faceset, records: Sequence[FaceRecord]
) -> Iterator[tuple[Sequence[FaceRecord], NDArray[np.uint8]]]:
    """Yield batches of records and pictures (N, S, S, 3); the next batch is decoded meanwhile."""
    count = max(1, min(_BATCH, _BATCH_PIXELS // faceset.card.size**2))
    starts = range(0, len(records), count)
    with ThreadPoolExecutor(_THREADS) as pool:
        pending = [pool.submit(faceset.image, record) for record in records[:count]]
        for start in starts:
            pictures = np.stack([each.result() for each in pending])
            following = records[start + count : start + 2 * count]
            pending = [pool.submit(faceset.image, record) for record in following]
            yield records[start : start + count], pictures
