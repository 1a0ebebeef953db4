"""Anatomical constraints between action units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.units import INDEX


def feasible(units: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map intensities smoothly to a feasible combination.

    Closing lids cannot be raised, jaw drop and mouth stretch do not add up, a mouth stretch parts
    the lips, and parted lips cannot be pressed together. (..., 2, 19), returned in [0, 1].
    """
    requested = np.clip(np.asarray(units, dtype=np.float64), 0.0, 1.0)
    result = requested.copy()

    def at(unit: int) -> NDArray[np.float64]:
        return np.asarray(requested[..., INDEX[unit]])

    result[..., INDEX[5]] = at(5) * (1 - at(43))
    result[..., INDEX[26]] = at(26) * (1 - at(27))
    parted = 1 - (1 - at(25)) * (1 - 0.9 * at(27))
    result[..., INDEX[25]] = parted
    result[..., INDEX[24]] = at(24) * (1 - parted)
    return result.astype(np.float32)
