"""Vertices of the 68 landmarks and triangles of the face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.surface import EYE_INNER, EYE_OUTER, MOUTH_HALF, MOUTH_Y, Grid

# Along the jaw from the ear to the chin: degrees around the head and height.
_JAW: Final = (
    (79, 8), (78, -17), (76, -33), (73, -65), (66, -80), (53, -91), (31, -104),
    (11, -109), (0, -110),
)  # fmt: skip
_BROW: Final = ((55.0, 17.0), (48.5, 19.8), (40, 22.2), (29, 21.6), (15.5, 20.0))
_BRIDGE: Final = (2.5, -12.0, -26.0, -34.0)
_BASE: Final = ((13.0, -44.0), (6.8, -46.5), (0, -49.0))

_Nearest = Callable[[float, float, NDArray[np.bool_]], int]
"""From template x, y and a mask of (N,) allowed vertices to the nearest vertex."""


def landmark_vertices(grid: Grid) -> NDArray[np.int64]:
    """Return (68,) vertex indices in iBUG order; the first is on the image's left."""
    points = grid.points
    across, height = points[:, 0], points[:, 1]
    angle = np.tile(grid.angle, grid.shape[0])
    front = np.abs(angle) < 88
    edge = np.repeat((grid.depth == 0), grid.shape[1])
    upper = np.repeat(grid.upper, grid.shape[1])

    def nearest(x: float, y: float, allowed: NDArray[np.bool_]) -> int:
        far = np.hypot(across - x, height - y)
        return int(np.argmin(np.where(allowed & front & edge, far, np.inf)))

    def around(degrees: float, y: float) -> int:
        far = np.hypot((angle - degrees) * 1.5, height - y)
        return int(np.argmin(np.where(edge, far, np.inf)))

    anywhere = np.ones_like(front)
    jaw = [around(-a, y) for a, y in _JAW] + [around(a, y) for a, y in _JAW[-2::-1]]
    brows = [nearest(-x, y, anywhere) for x, y in _BROW]
    brows += [nearest(x, y, anywhere) for x, y in _BROW[::-1]]
    nose = [nearest(0.0, y, anywhere) for y in _BRIDGE]
    nose += [nearest(-x, y, anywhere) for x, y in _BASE]
    nose += [nearest(x, y, anywhere) for x, y in _BASE[-2::-1]]
    return np.array(jaw + brows + nose + _eyes(nearest, upper) + _mouth(nearest, upper))


def _eyes(nearest: _Nearest, upper: NDArray[np.bool_]) -> list[int]:
    width = EYE_OUTER - EYE_INNER
    a, b = EYE_INNER + width * 0.32, EYE_INNER + width * 0.68
    inner, outer = EYE_INNER - 0.1, EYE_OUTER + 0.1
    right = [nearest(x, 0, upper) for x in (-outer, -b, -a, -inner)]
    right += [nearest(x, -0.001, ~upper) for x in (-a, -b)]
    left = [nearest(x, 0, upper) for x in (inner, a, b, outer)]
    return right + left + [nearest(x, -0.001, ~upper) for x in (b, a)]


def _mouth(nearest: _Nearest, upper: NDArray[np.bool_]) -> list[int]:
    corner, y = MOUTH_HALF + 0.4, MOUTH_Y
    top = [(-16.0, 4.4), (-7.0, 7.6), (0.0, 6.2), (7.0, 7.6), (16.0, 4.4)]
    bottom = [(15.5, -6.2), (8.0, -7.9), (0.0, -8.3), (-8.0, -7.9), (-15.5, -6.2)]
    outer = [nearest(-corner, y, upper)] + [nearest(x, y + d, upper) for x, d in top]
    outer += [nearest(corner, y, upper)] + [nearest(x, y + d, ~upper) for x, d in bottom]
    inner = [nearest(-corner + 2, y, upper)] + [nearest(x, y, upper) for x in (-9, 0, 9)]
    inner += [nearest(corner - 2, y, upper)] + [nearest(x, y, ~upper) for x in (9, 0, -9)]
    return outer + inner


def face_triangles(grid: Grid) -> NDArray[np.bool_]:
    """Return (T,) face mask: between the brows' upper edge, the temples and the jaw line."""
    degrees = np.array([a for a, _ in _JAW[::-1]], dtype=np.float64)
    heights = np.array([y for _, y in _JAW[::-1]], dtype=np.float64)
    angle = np.abs(np.tile(grid.angle, grid.shape[0]))
    low = np.interp(angle, degrees, heights)
    inside = (angle < degrees[-1]) & (grid.points[:, 1] > low) & (grid.points[:, 1] < 26.0)
    return np.asarray(inside[grid.triangles].all(axis=1))
