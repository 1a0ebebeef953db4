"""The head's skin as one grid: rows from the crown to the neck, columns around the head.

Lengths are millimetres in head space: x to the actor's left, y up, z forward. The origin lies
between the ears, at the height of the pupils. Eyes and mouth are slits in the grid: along them a
row exists twice, as the upper and the lower lip (or lid), with rows between that roll inwards.
Outside the slits these rows coincide and are welded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Floats = NDArray[np.float64]

EYE_Y: Final = 0.0
MOUTH_Y: Final = -66.0
EYE_X: Final = 31.5
EYE_INNER: Final = 16.5
EYE_OUTER: Final = 46.0
MOUTH_HALF: Final = 25.5

_ANGLES: Final = (0, 20, 40, 60, 80, 100, 125, 150, 180)
# Height, then distance from the axis at each of the angles above (0 is the nose, 180 the nape): a
# head without nose, lips and eye sockets, drawn by hand to proportions near published means.
_SECTIONS: Final = (
    (115, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    (113, 21, 21, 20, 20, 20, 20, 22, 24, 25),
    (110, 33, 33, 31, 30, 30, 31, 34, 37, 38),
    (103, 50, 49, 46, 44, 44, 46, 52, 57, 59),
    (90, 69, 68, 63, 59, 58, 61, 70, 77, 80),
    (70, 84, 82, 74, 66, 66, 71, 81, 90, 94),
    (45, 93, 90.5, 81.5, 71, 71, 76, 87, 96, 100),
    (22, 95.5, 93.5, 84, 72.5, 72, 77, 87, 96, 100),
    (0, 91, 90, 84, 74.5, 72.5, 76, 84, 91, 95),
    (-20, 91, 90, 84.5, 76, 72, 73, 79, 85, 87),
    (-40, 92, 90, 81, 70, 66, 66.5, 71, 75, 77),
    (-66, 93, 87.5, 74.5, 62.5, 58, 58, 62, 66, 68),
    (-85, 91, 83.5, 68, 56, 51, 53, 58, 63, 65),
    (-100, 90, 79.5, 61, 50.5, 48, 51, 57, 63, 65),
    (-111, 81, 72, 56, 48.5, 47, 50, 57, 64, 67),
    (-119, 60, 56, 48.5, 45.5, 46.5, 51, 58, 65, 69),
    (-130, 44, 44, 43.5, 45, 47.5, 52, 60, 67, 71),
    (-160, 41, 42, 45, 48, 51, 56, 64, 71, 75),
    (-190, 46, 49, 54, 60, 66, 70, 74, 78, 82),
)
# Heights at which the spacing of rows changes, and the spacing below each.
_ROWS: Final = (
    (70, 2.4), (32, 1.4), (15, 0.85), (0, 0.85), (-13, 1.4), (-31, 0.9), (-36.5, 0.5),
    (-48, 0.9), (-56, 0.62), (-66, 0.62), (-79, 1.3), (-102, 1.5), (-122, 4.5), (-190, 0),
)  # fmt: skip
_COLUMNS: Final = ((0, 0.6), (21, 0.85), (60, 1.9), (100, 5.0), (180, 0))

SKIN: Final = 0
EYE_ROLL: Final = 1
MOUTH_ROLL: Final = 2
LID_ROLLS: Final = 3
LIP_ROLLS: Final = 7


def spline(knots: Floats, values: Floats, at: Floats) -> Floats:
    """Natural cubic spline through (K,) knots and (K, ...) values, read at (N,) places."""
    return np.asarray(CubicSpline(knots, values, bc_type="natural")(at))


@dataclass(frozen=True, eq=False)
class Grid:
    """The skin grid of the base head.

    Attributes:
        shape: Rows and columns, (R, C); vertices are numbered row by row.
        height: (R,) y of each row on the plain head.
        angle: (C,) degrees around the head, from -180 to 180; 0 is the nose.
        roll: (R,) which slit a row rolls into (`SKIN`, `EYE_ROLL`, `MOUTH_ROLL`).
        depth: (R,) how far it rolls in, 0 at the edge of the slit, 1 at the innermost row.
        upper: (R,) True for rows above the slit that is nearest to them.
        points: (R*C, 3) the plain head.
        triangles: (T, 3) int32, counter-clockwise from outside.
        weld: (R*C,) int32, for each vertex the first of the vertices welded to it.
        eye_slit: (2, C) bool, columns inside the left and right eye's slit.
    """

    shape: tuple[int, int]
    height: Floats
    angle: Floats
    roll: NDArray[np.int64]
    depth: Floats
    upper: NDArray[np.bool_]
    points: Floats
    triangles: NDArray[np.int32]
    weld: NDArray[np.int32]
    eye_slit: NDArray[np.bool_]


def _spaced(spacing: tuple[tuple[float, float], ...], detail: int) -> list[float]:
    places: list[float] = []
    for (start, step), (end, _) in pairwise(spacing):
        count = max(1, round(abs(end - start) / (step * detail)))
        places += list(np.linspace(start, end, count, endpoint=False))
    return [*places, spacing[-1][0]]


def _rows(detail: int) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.bool_]]:
    crown = 115 - 45 * (1 - np.cos(np.linspace(0, np.pi / 2, 22 // detail)[:-1])) ** 0.9
    rows = [(float(y), SKIN, 0.0) for y in crown]
    for y in _spaced(_ROWS, detail):
        slit = {EYE_Y: (EYE_ROLL, LID_ROLLS), MOUTH_Y: (MOUTH_ROLL, LIP_ROLLS)}.get(y)
        if slit is None and min(abs(y - EYE_Y), abs(y - MOUTH_Y)) < 0.2:
            continue
        rows.append((y, SKIN, 0.0))
        if slit is not None:
            kind, count = slit
            # Upper edge, rows rolling in, innermost; innermost, rows rolling out, lower edge.
            inward = np.linspace(0, 1, count + 1)[1:]
            rows += [(y, kind if d else SKIN, d) for d in [*inward, *inward[::-1], 0.0]]
    height, roll, depth = zip(*rows, strict=True)
    upper = [False] * len(height)
    for slit_y, top in ((EYE_Y, np.inf), (MOUTH_Y, -33.0)):
        at_slit = [i for i, y in enumerate(height) if y == slit_y]
        middle = (at_slit[0] + at_slit[-1] + 1) // 2
        for i, y in enumerate(height):
            if slit_y <= y < top and i < middle:
                upper[i] = True
    return np.array(height), np.array(roll), np.array(depth), np.array(upper)


def _columns(detail: int) -> Floats:
    half = np.array(_spaced(_COLUMNS, detail))
    return np.concatenate([-half[:0:-1], half])


def plain_radius(height: Floats, angle: Floats) -> Floats:
    """Return (R, C) distance from the head's axis at (R,) heights and (C,) degrees."""
    table = np.array(_SECTIONS, dtype=np.float64)
    # Mirrored copies on both sides make the spline even about nose and nape.
    degrees = np.array(_ANGLES, dtype=np.float64)
    half = np.concatenate([degrees, 360 - degrees[-2::-1]])
    mirrored = np.concatenate([-half[:0:-1], half])
    once = np.concatenate([table[:, 1:], table[:, -2:0:-1]], axis=1)
    around = np.concatenate([once[:, :0:-1], once], axis=1)
    sections = spline(mirrored, around.T, np.asarray(angle, dtype=np.float64)).T
    # Against the root of the distance to the crown, the radius is smooth there.
    knots = np.sqrt(116.0 - table[:, 0])
    radius = spline(knots, sections, np.sqrt(116.0 - height))
    return np.maximum(radius, 0.0)


def grid_triangles(keep: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return (T, 3) triangles of those cells (R-1, C-1) of a grid of points that are kept."""
    rows, columns = keep.shape[0] + 1, keep.shape[1] + 1
    corner = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b = corner[:-1, :-1][keep], corner[:-1, 1:][keep]
    c, d = corner[1:, :-1][keep], corner[1:, 1:][keep]
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


@cache
def skin_grid(detail: int = 1) -> Grid:
    """Return the base head; `detail` 2 has about half the rows and columns."""
    height, roll, depth, upper = _rows(detail)
    angle = _columns(detail)
    radius = plain_radius(height, angle)
    radius[0] = 0.0
    theta = np.radians(angle)
    points = np.stack(
        [radius * np.sin(theta), np.broadcast_to(height[:, None], radius.shape),
         radius * np.cos(theta)], axis=-1,
    )  # fmt: skip
    rows, columns = radius.shape
    eye_row = int(np.flatnonzero(height == EYE_Y)[0])
    mouth_row = int(np.flatnonzero(height == MOUTH_Y)[0])
    across = points[eye_row, :, 0]
    front = np.abs(angle) < 90
    eye_slit = np.stack([front & (x > EYE_INNER) & (x < EYE_OUTER) for x in (across, -across)])
    mouth_slit = front & (np.abs(points[mouth_row, :, 0]) < MOUTH_HALF)
    open_at = {EYE_Y: eye_slit[0] | eye_slit[1], MOUTH_Y: mouth_slit}
    weld = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    weld[0] = weld[0, 0]
    keep = np.ones((rows - 1, columns - 1), dtype=bool)
    for y, slit in open_at.items():
        at = np.flatnonzero(height == y)
        weld[np.ix_(at, ~slit)] = weld[at[0], ~slit][None, :]
        middle = (at[0] + at[-1] + 1) // 2
        keep[middle - 1, np.logical_or(slit[:-1], slit[1:])] = False
    weld[:, -1] = weld[:, 0]
    triangles = grid_triangles(keep)
    flat = weld.ravel()[triangles]
    sound = (flat[:, 0] != flat[:, 1]) & (flat[:, 1] != flat[:, 2]) & (flat[:, 0] != flat[:, 2])
    return Grid(
        (rows, columns), height, angle, roll, depth, upper, points.reshape(-1, 3),
        np.ascontiguousarray(triangles[sound]), weld.ravel(), eye_slit,
    )  # fmt: skip
