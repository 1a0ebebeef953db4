"""Readings of one estimator as rows, and the validation of what a file claims they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.facesets.faceset_metadata import SHA256
from swapper.facesets.index import ROW_ID
from swapper.types import Readings

_MAX_LABELS: Final = 256
_MAX_NAME: Final = 64

_MAX_FEATURE: Final = 1e6
"""Upper bound of plausible features."""

LISTS: Final = ("embedding", "probabilities", "intensities")
NUMBERS: Final = ("valence", "arousal")
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
    """Readings of one estimator as they are stored.

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

    def goes_with(self, other: StoredReadings) -> bool:
        """Whether both are by the same weights, preprocessing, labels and units."""
        return about_text(self) == about_text(other)

    def take(self, rows: NDArray[np.int64]) -> StoredReadings:
        """Return some rows, in the order of `rows`."""
        return StoredReadings(
            tuple(self.ids[row] for row in rows),
            tuple(self.pictures[row] for row in rows),
            self.preprocessing_hash,
            self.readings.take(rows),
        )


def check_stored(stored: StoredReadings, name: str) -> None:
    """Validate readings by the estimator `name`.

    Raises:
        ValueError: A value is out of its range, or columns do not fit each other.
    """
    _check_about(stored.preprocessing_hash, stored.readings, name)
    _check_values(stored)
    if len(set(stored.ids)) < len(stored):
        raise ValueError("lists a face twice")


def about_text(stored: StoredReadings) -> str:
    """Return, as JSON, what is common to all rows."""
    readings = stored.readings
    about = {
        "lineage": readings.lineage,
        "preprocessing_hash": stored.preprocessing_hash,
        "labels": list(readings.labels),
        "units": list(readings.units),
    }
    return json.dumps(about, sort_keys=True)


def parse_about(text: Any) -> dict[str, Any]:
    """Parse and validate the text of `about_text`.

    Raises:
        ValueError: It is not of that form.
    """
    about = json.loads(text) if isinstance(text, str) else None
    if not isinstance(about, dict):
        raise ValueError("does not name its estimator")
    if not all(isinstance(about.get(key), str) for key in ("lineage", "preprocessing_hash")):
        raise ValueError("does not name its estimator")
    if not all(isinstance(about.get(key), list) for key in ("labels", "units")):
        raise ValueError("does not name its labels and units")
    if not all(isinstance(each, str) for each in about["labels"]):
        raise ValueError("labels are no names")
    return {**about, "labels": tuple(about["labels"]), "units": tuple(about["units"])}


def _check_about(preprocessing_hash: str, readings: Readings, name: str) -> None:
    """Validate what is common to all rows; a ValueError if it does not fit them."""
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
