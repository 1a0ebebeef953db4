"""A person's rest, from the calmest of their faces."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.types import Readings

_SHARE: Final = 0.05
_FEWEST: Final = 20
_FRONTAL_DEGREES: Final = 15.0


def calmness(readings: Readings, yaw: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """How calm and frontal each face is, (N,) at least 0.

    p(neutral) · exp(-|arousal|) · exp(-|yaw| / 15°), of what the estimator has. One that has
    neither goes by how close an embedding is to the middle of all.

    Args:
        readings: Of N faces.
        yaw: (N,) in degrees.
    """
    calm = np.exp(-np.abs(np.asarray(yaw, np.float64)) / _FRONTAL_DEGREES)
    told = False
    if readings.probabilities is not None and "neutral" in readings.labels:
        calm *= readings.probabilities[:, readings.labels.index("neutral")]
        told = True
    if readings.arousal is not None:
        calm *= np.exp(-np.abs(readings.arousal))
        told = True
    if not told:
        away = readings.embedding - np.median(readings.embedding, axis=0)
        distance = np.linalg.norm(away, axis=1)
        calm *= np.exp(-distance / max(float(np.median(distance)), 1e-12))
    return calm


def neutral_of(readings: Readings, yaw: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The median embedding (D,) of the calmest twentieth, of 20 faces at least.

    Args:
        readings: Of N >= 1 faces of one person.
        yaw: (N,) in degrees.
    """
    count = min(len(readings), max(_FEWEST, round(_SHARE * len(readings))))
    calmest = np.argsort(-calmness(readings, yaw), kind="stable")[:count]
    middle: NDArray[np.float32] = np.median(readings.embedding[calmest], axis=0)
    return middle.astype(np.float32)
