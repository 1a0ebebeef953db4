"""The eyelids: where their edges stand, and how their skin slides over the eyeball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from swapper.actors.sculpt import EYE_RADIUS, EYE_Z
from swapper.actors.surface import EYE_INNER, EYE_OUTER, EYE_X, Floats, Grid

TOP: Final = 17.0
BOTTOM: Final = -14.0
_REACH: Final = 24.0
_LID: Final = 1.25
_UPPER_OPEN: Final = 4.9
_LOWER_OPEN: Final = -4.7


@dataclass(frozen=True, eq=False)
class LidRegion:
    """One eye's share of the grid.

    Attributes:
        rows: (2,) first and one past the last row.
        columns: (2,) first and one past the last column.
        side: 1 left, -1 right.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    side: float


def regions(grid: Grid) -> tuple[LidRegion, LidRegion]:
    """The left and the right eye's region of the grid."""
    inside = np.flatnonzero((grid.height <= TOP) & (grid.height >= BOTTOM))
    eye_row = int(np.flatnonzero(grid.height == 0.0)[0])
    across = grid.points.reshape(*grid.shape, 3)[eye_row]
    found = []
    for side in (1.0, -1.0):
        near = (np.abs(across[:, 0] * side - EYE_X) < _REACH) & (across[:, 2] > 0)
        columns = np.flatnonzero(near)
        found.append(
            LidRegion(
                (int(inside[0]), int(inside[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1), side
            )
        )
    return found[0], found[1]


@njit(cache=True, nogil=True)
def edge(t: float, opening: float) -> float:
    """Height of a lid's edge over the line between the corners.

    Args:
        t: 0 at the inner corner, 1 at the outer.
        opening: Height in mm at the highest place; negative for the lower lid.
    """
    if t <= 0.0 or t >= 1.0:
        return 0.0
    # The upper edge is highest towards the nose, the lower one lowest towards the temple.
    skew = 0.86 if opening >= 0 else 1.2
    return opening * np.sin(np.pi * t**skew) ** 0.82


@njit(cache=True, nogil=True)
def corner_line(x: float) -> float:
    """Height of the line between the eye's corners at template |x|, fading beyond them."""
    t = (x - EYE_INNER) / (EYE_OUTER - EYE_INNER)
    line = -1.6 + 2.6 * min(max(t, 0.0), 1.0)
    beyond = max(-t, t - 1.0, 0.0) * (EYE_OUTER - EYE_INNER)
    return line * max(0.0, 1.0 - beyond / 7.0)


@njit(cache=True, nogil=True)
def lay_lids(
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
    """Template points of one eye's region for one instant.

    Args:
        template: (R, C, 3) the sculpted face at rest, sockets included.
        moved: (R, C, 3) displacement by the muscles around the eye.
        height, depth, upper: (R,) the grid's rows.
        side: 1 left, -1 right.
        upper_edge, lower_edge: Height of the lids' edges in mm over the line of the corners.
        hood: In [-1, 1], how far the fold hangs over the lid.
        age: In [0, 1], deepens the fold.
    """
    rows, columns = template.shape[0], template.shape[1]
    result = np.empty_like(template)
    openness = min(max((upper_edge - lower_edge) / 10.4, 0.0), 1.3)
    for c in range(columns):
        for r in range(rows):
            x, z = template[r, c, 0], template[r, c, 2]
            a = x * side
            t = (a - EYE_INNER) / (EYE_OUTER - EYE_INNER)
            line = corner_line(a)
            near = max(0.0, 1.0 - max(-t, t - 1.0, 0.0) * 3.6)
            if upper[r]:
                start, end = line + edge(t, upper_edge), TOP
            else:
                start, end = line + edge(t, lower_edge), BOTTOM
            share = height[r] / end
            y = start + share * (end - start)
            # Skin of the socket at that height, read along the column.
            k = r
            if upper[r]:
                while k > 0 and height[k] < y:
                    k -= 1
            else:
                while k < rows - 1 and height[k] > y:
                    k += 1
            other = k + 1 if upper[r] else k - 1
            other = min(max(other, 0), rows - 1)
            gap = height[k] - height[other]
            f = (y - height[other]) / gap if abs(gap) > 1e-9 else 1.0
            z = template[other, c, 2] + f * (template[k, c, 2] - template[other, c, 2])
            off = abs(y - start)
            ramp = min(off / 9.0, 1.0)
            x += moved[r, c, 0] * ramp
            y += moved[r, c, 1] * ramp
            z += moved[r, c, 2] * ramp
            if upper[r]:
                fold = 3.4 - 1.7 * hood
                open_fold = near * min(openness, 1.0)
                hang = np.exp(-0.5 * ((off - fold - 3.2) / 2.3) ** 2)
                crease = np.exp(-0.5 * ((off - fold) / 0.85) ** 2)
                z += open_fold * ((1.5 + 0.9 * hood) * hang - (1.5 + 0.6 * age) * crease)
                y -= open_fold * (1.0 + 1.3 * hood + 0.6 * age) * hang
            else:
                bag = np.exp(-0.5 * ((off - 4.2) / 2.0) ** 2)
                crease = np.exp(-0.5 * ((off - 7.5) / 1.2) ** 2)
                z += near * ((0.4 + 1.2 * age) * bag - (0.4 + 0.7 * age) * crease)
            # Over the eyeball, never through it; the rows that roll in reach its surface.
            ex, skin = x * side - EYE_X, EYE_RADIUS + _LID
            flat = ex * ex + y * y
            if flat < skin * skin:
                ball = EYE_Z + np.sqrt(skin * skin - flat)
                gap = z - ball
                z = ball + 0.5 * (gap + np.sqrt(gap * gap + 5.0))
            if depth[r] > 0.0:
                z -= depth[r] * (_LID + 0.7) * near
                inward = 0.35 * depth[r] * near
                y += -inward if upper[r] else inward
            result[r, c, 0], result[r, c, 1], result[r, c, 2] = x, y, z
    return result


def edges(shown: Floats, gaze_up: float) -> tuple[float, float]:
    """Heights of the upper and lower lid's edge in mm.

    Args:
        shown: (19,) intensities of one side, in the order of `UNITS`.
        gaze_up: Degrees; the upper lid follows the eye.
    """
    au5, au6, au7, au43 = shown[3], shown[4], shown[5], shown[18]
    au12, au9 = shown[8], shown[6]
    upper = _UPPER_OPEN + 3.4 * au5 - 1.5 * au7 - 0.7 * au6 + 0.085 * gaze_up
    lower = (
        _LOWER_OPEN - 0.5 * au5 + 2.3 * au7 + 1.5 * au6 + 0.5 * au12 + 0.5 * au9 + 0.04 * gaze_up
    )
    upper = max(upper, lower)
    meet = max(lower, -3.4)
    return upper + (meet - upper) * au43, lower + (meet - lower) * au43
