"""Eyelids: heights of their edges, and deformation of their skin over the eyeball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import compiled
from swapper.head_renderer.sculpt import EYE_RADIUS, EYE_Z
from swapper.head_renderer.surface import EYE_INNER, EYE_OUTER, EYE_X, Floats, Grid
from swapper.head_renderer.units import INDEX

TOP: Final = 17.0
BOTTOM: Final = -14.0
_REGION_RADIUS: Final = 24.0
_LID: Final = 1.25
_UPPER_OPEN: Final = 4.9
_LOWER_OPEN: Final = -4.7


@dataclass(frozen=True, eq=False)
class LidRegion:
    """Region of the grid around one eye.

    Attributes:
        rows, columns: Of the grid.
        side: 1 left, -1 right.
    """

    rows: slice
    columns: slice
    side: float


def regions(grid: Grid) -> tuple[LidRegion, LidRegion]:
    """Return the regions of the left and the right eye."""
    inside = np.flatnonzero((grid.height <= TOP) & (grid.height >= BOTTOM))
    eye_row = int(np.flatnonzero(grid.height == 0.0)[0])
    across = grid.points.reshape(*grid.shape, 3)[eye_row]
    eyes = []
    for side in (1.0, -1.0):
        near = (np.abs(across[:, 0] * side - EYE_X) < _REGION_RADIUS) & (across[:, 2] > 0)
        rows, columns = (slice(at[0], at[-1] + 1) for at in (inside, np.flatnonzero(near)))
        eyes.append(LidRegion(rows, columns, side))
    return eyes[0], eyes[1]


@compiled
def edge(t: float, opening: float) -> float:
    """Return the height of a lid's edge over the line between the corners, in mm.

    `t` is 0 at the inner corner, 1 at the outer; `opening` the height at the highest place,
    negative for the lower lid.
    """
    if t <= 0.0 or t >= 1.0:
        return 0.0
    # The upper edge is highest towards the nose, the lower one lowest towards the temple.
    skew = 0.86 if opening >= 0 else 1.2
    return float(opening * np.sin(np.pi * t**skew) ** 0.82)


@compiled
def corner_line(x: float) -> float:
    """Return the height of the line between the eye corners at template |x|, fading beyond."""
    t = (x - EYE_INNER) / (EYE_OUTER - EYE_INNER)
    line = -1.6 + 2.6 * min(max(t, 0.0), 1.0)
    beyond = max(-t, t - 1.0, 0.0) * (EYE_OUTER - EYE_INNER)
    return float(line * max(0.0, 1.0 - beyond / 7.0))


@compiled
def _socket(column: Any, height: Any, y: float, r: int, upward: bool) -> Any:
    """Return the depth of the rest skin at height y in one column, searching from row r."""
    k = r
    if upward:
        while k > 0 and height[k] < y:
            k -= 1
        other = min(k + 1, len(height) - 1)
    else:
        while k < len(height) - 1 and height[k] > y:
            k += 1
        other = max(k - 1, 0)
    gap = height[k] - height[other]
    f = (y - height[other]) / gap if abs(gap) > 1e-9 else 1.0
    return column[other, 2] + f * (column[k, 2] - column[other, 2])


@compiled
def _fold(off: float, upward: bool, near: float, openness: float, hood: float, age: float) -> Any:
    """Return rise and depth of the lid's folds, `off` mm from its edge: the fold of the upper lid
    as the eye opens, or the bag and crease below the lower one.
    """
    if upward:
        place = 3.4 - 1.7 * hood
        strength = near * openness
        hang = math.exp(-0.5 * ((off - place - 3.2) / 2.3) ** 2)
        crease = math.exp(-0.5 * ((off - place) / 0.85) ** 2)
        out = strength * ((1.5 + 0.9 * hood) * hang - (1.5 + 0.6 * age) * crease)
        return -strength * (1.0 + 1.3 * hood + 0.6 * age) * hang, out
    bag = math.exp(-0.5 * ((off - 4.2) / 2.0) ** 2)
    crease = math.exp(-0.5 * ((off - 7.5) / 1.2) ** 2)
    return 0.0, near * ((0.4 + 1.2 * age) * bag - (0.4 + 0.7 * age) * crease)


@compiled
def _over_the_ball(x: float, y: float, z: float) -> Any:
    """Return the depth z of a lid's skin pushed out by the eyeball; x and y from its centre."""
    skin = EYE_RADIUS + _LID
    flat = x * x + y * y
    if flat >= skin * skin:
        return z
    ball = EYE_Z + math.sqrt(skin * skin - flat)
    gap = z - ball
    # A smooth maximum.
    return ball + 0.5 * (gap + math.sqrt(gap * gap + 5.0))


@compiled
def deform_lids(
    template: NDArray[np.float64],
    moved: NDArray[np.float64],
    height: NDArray[np.float64],
    depth: NDArray[np.float64],
    upper: NDArray[np.bool_],
    side: float,
    upper_edge: float,
    lower_edge: float,
    hood: float,
    age: float,
) -> NDArray[np.float64]:
    """Deform the template points of one eye's region.

    Args:
        template: (R, C, 3) the sculpted face at rest, sockets included.
        moved: (R, C, 3) displacement by the muscles around the eye.
        height: (R,) of the grid's rows.
        depth: (R,) how far a row rolls in.
        upper: (R,) whether a row belongs to the upper lid.
        side: 1 left, -1 right.
        upper_edge: Height of the upper lid's edge in mm over the line of the corners.
        lower_edge: Of the lower lid's.
        hood: In [-1, 1], how far the fold hangs over the lid.
        age: In [0, 1], deepens the fold.
    """
    rows, columns = template.shape[0], template.shape[1]
    result = np.empty_like(template)
    openness = min(max((upper_edge - lower_edge) / 10.4, 0.0), 1.0)
    for c in range(columns):
        for r in range(rows):
            x = template[r, c, 0]
            t = (x * side - EYE_INNER) / (EYE_OUTER - EYE_INNER)
            near = max(0.0, 1.0 - max(-t, t - 1.0, 0.0) * 3.6)
            opening, end = (upper_edge, TOP) if upper[r] else (lower_edge, BOTTOM)
            start = corner_line(x * side) + edge(t, opening)
            # The skin between the edge and the region's end slides, evenly spread.
            y = start + height[r] / end * (end - start)
            z = _socket(template[:, c], height, y, r, upper[r])
            off = abs(y - start)
            ramp = min(off / 9.0, 1.0)
            x += moved[r, c, 0] * ramp
            y += moved[r, c, 1] * ramp
            z += moved[r, c, 2] * ramp
            rise, out = _fold(off, upper[r], near, openness, hood, age)
            y += rise
            z = _over_the_ball(x * side - EYE_X, y, z + out)
            if depth[r] > 0.0:
                z -= depth[r] * (_LID + 0.7) * near
                inward = 0.35 * depth[r] * near
                y += -inward if upper[r] else inward
            result[r, c, 0], result[r, c, 1], result[r, c, 2] = x, y, z
    return result


def lid_edges(units: Floats, gaze_up: float) -> tuple[float, float]:
    """Return the heights of the upper and lower lid's edge in mm.

    `units` (19,) are one side's intensities; lids follow the eye, `gaze_up` is in degrees.
    """
    au5, au6, au7, au9, au12, au43 = (units[INDEX[unit]] for unit in (5, 6, 7, 9, 12, 43))
    upper = _UPPER_OPEN + 3.4 * au5 - 1.5 * au7 - 0.7 * au6 + 0.085 * gaze_up
    lower = _LOWER_OPEN - 0.5 * au5 + 2.3 * au7 + 1.5 * au6 + 0.5 * au12 + 0.5 * au9
    lower += 0.04 * gaze_up
    upper = max(upper, lower)
    meet = max(lower, -3.4)
    return upper + (meet - upper) * au43, lower + (meet - lower) * au43
