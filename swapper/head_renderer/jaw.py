"""Jaw rotation."""

from __future__ import annotations

import numpy as np

from swapper.head_renderer.muscles import DROP_DEGREES, HINGE
from swapper.head_renderer.surface import Floats
from swapper.head_renderer.units import INDEX


def jaw_angle(units: Floats) -> float:
    """Return the jaw opening in radians from (2, 19) observed intensities."""
    drop, stretch = (float(units[:, INDEX[unit]].mean()) for unit in (26, 27))
    # Jaw drop and stretch do not add up: at most the angle of the stretch alone.
    degrees = max(DROP_DEGREES[26] * drop, 0.0)
    return float(np.radians(degrees + (DROP_DEGREES[27] - degrees) * stretch))


def rotate_jaw(points: Floats, weight: Floats | float, angle: float) -> Floats:
    """Rotate (N, 3) points about the jaw hinge by `angle` radians times their weight."""
    share = np.asarray(angle * np.asarray(weight))
    sin, cos = np.sin(share), np.cos(share)
    y, z = points[:, 1] - HINGE[1], points[:, 2] - HINGE[2]
    moved = points.copy()
    moved[:, 1] = HINGE[1] + cos * y - sin * z
    moved[:, 2] = HINGE[2] + sin * y + cos * z
    return moved
