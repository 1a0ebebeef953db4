"""Displacement fields of the action units in mm, folds included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.identity import Identity
from swapper.head_renderer.sculpt import blob, step
from swapper.head_renderer.surface import MOUTH_HALF, MOUTH_Y, Floats, Grid
from swapper.head_renderer.units import INDEX, LEFT, MIDLINE, NUM_UNITS, RIGHT

_HINGE_Y, _HINGE_Z = -14.0, 14.0
"""The jaw's axis, through both joints."""
_DROP, _STRETCH = 12.0, 23.0
"""Degrees of jaw rotation of units 26 and 27."""


class VertexCoordinates:
    """Template coordinates and masks of each vertex, to define displacement fields.

    Attributes:
        x, y: (N,) template |x| and height in mm.
        front: (N,) 1 on the face, 0 on the back of the head.
        upper: (N,) True above the mouth's line or, at the eyes, above the lids' line.
        lens: (N,) 1 at the mouth's middle, 0 at its corners and beyond.
    """

    def __init__(self, grid: Grid) -> None:
        columns = grid.shape[1]
        self.x = np.abs(grid.points[:, 0])
        self.y = grid.points[:, 1]
        self.front = step(np.cos(np.radians(np.tile(grid.angle, grid.shape[0]))), 0.0, 0.4)
        self.upper = np.repeat(grid.upper, columns)
        self.lens = np.sqrt(np.clip(1 - (self.x / MOUTH_HALF) ** 2, 0, 1))

    def at(self, cx: float, cy: float, sx: float, sy: float) -> Floats:
        """Return a Gaussian on the face."""
        return blob(self.x, self.y, cx, cy, sx, sy) * self.front

    def corners(self, falloff: float, height: float) -> Floats:
        """1 at the mouth's corners, a parabola between them, fading within `falloff` mm outside."""
        inside = (np.minimum(self.x, MOUTH_HALF + 1) / (MOUTH_HALF + 1)) ** 1.8
        beyond = np.exp(-0.5 * (np.maximum(self.x - MOUTH_HALF - 1, 0) / falloff) ** 2)
        return inside * beyond * self.front * np.exp(-0.5 * ((self.y - MOUTH_Y) / height) ** 2)

    def lines(self, heights: tuple[float, ...], width: float, bend: float = 0.0) -> Floats:
        """Return horizontal furrows: grooves at `heights` with ridges between them."""
        total = np.zeros_like(self.y)
        for height in heights:
            off = (self.y - height - bend * np.cos(self.x / 14)) / width
            total += np.exp(-0.5 * off**2) - 0.55 * (
                np.exp(-0.5 * (off - 2.2) ** 2) + np.exp(-0.5 * (off + 2.2) ** 2)
            )
        return -total * self.front

    def upper_lip(self, falloff: float) -> Floats:
        """1 on the upper lip, fading over `falloff` mm above it; 0 on the lower."""
        above = np.exp(-np.maximum(self.y - MOUTH_Y - 7, 0) / falloff)
        return self.upper * above * self._off_the_corner() * step(self.y, -38, -48)

    def lower_lip(self, falloff: float) -> Floats:
        """1 on the lower lip, fading over `falloff` mm below it; 0 on the upper."""
        below = np.exp(-np.maximum(MOUTH_Y - 9 - self.y, 0) / falloff)
        return ~self.upper * (self.y <= MOUTH_Y) * below * self._off_the_corner()

    def _off_the_corner(self) -> Floats:
        """Return 0 at the corner and beyond, where upper and lower lip move together."""
        away = np.maximum(step(self.x, MOUTH_HALF, 13), step(np.abs(self.y - MOUTH_Y), 1, 12))
        return away * step(self.x, 46, 22) * self.front


def _field(across: Floats | float, up: Floats | float, out: Floats | float, n: int) -> Floats:
    """Stack components to (N, 3); `across` points away from the midline."""
    return np.stack([np.broadcast_to(np.asarray(v, dtype=np.float64), n)
                     for v in (across, up, out)], axis=1)  # fmt: skip


def _brow(p: VertexCoordinates, age: float) -> dict[int, Floats]:
    n, crease = len(p.x), 0.75 + 0.6 * age
    inner, outer = p.at(13, 19, 12, 11), p.at(41, 18, 14, 11)
    lines_in = p.lines((36, 43.5, 51), 1.25, 1.0) * np.exp(-((p.x / 24) ** 4))
    lines_out = p.lines((37, 44, 51), 1.25, 3.0) * np.exp(-(((p.x - 38) / 17) ** 4))
    frown = np.exp(-0.5 * ((p.x - 5.2) / 1.2) ** 2) - 0.6 * np.exp(-0.5 * ((p.x - 9) / 1.9) ** 2)
    frown -= 0.5 * np.exp(-0.5 * (p.x / 1.6) ** 2)
    frown *= blob(0 * p.x, p.y, 0, 17, 1, 8) * p.front
    low = p.at(15, 17, 13, 8)
    return {
        1: _field(-1.2 * inner, 6.4 * inner, 0.6 * inner + 0.95 * crease * lines_in, n),
        2: _field(0.6 * outer, 8.2 * outer, 0.4 * outer + 0.85 * crease * lines_out, n),
        4: _field(-3.2 * p.at(15, 18, 9, 8), -5.4 * low - 2.6 * p.at(34, 15, 15, 7),
                  1.8 * p.at(10, 14, 10, 6) - 0.95 * crease * frown, n),
    }  # fmt: skip


def _eyes_and_nose(p: VertexCoordinates, age: float) -> dict[int, Floats]:
    n, crease = len(p.x), 0.75 + 0.6 * age
    cheek = p.at(34, -21, 15, 9)
    around = np.hypot(p.x - 46, p.y + 1)
    angle = np.arctan2(p.y + 1, p.x - 46)
    feet = np.cos(angle * 9) * np.exp(-0.5 * ((around - 14) / 5) ** 2) * (np.abs(angle) < 1.0)
    below = np.exp(-0.5 * ((p.y + 14 + 0.012 * (p.x - 30) ** 2) / 1.3) ** 2) * p.at(30, -14, 13, 9)
    ring = p.at(32, -9, 16, 4)
    wrinkle = np.cos((p.y + 6) * 1.25 + p.x * 0.25) * p.at(6, -6, 5, 7)
    root = p.at(10, 12, 9, 7)
    alar = p.at(15, -38, 7, 7)
    return {
        6: _field(1.0 * cheek, 5.0 * cheek, 3.6 * cheek - 0.8 * crease * below
                  + 0.55 * crease * feet * p.front, n),
        7: _field(-0.6 * ring, 1.8 * ring, 0.7 * ring, n),
        9: _field(-1.2 * root + 0.8 * alar, 4.6 * alar + 2.2 * p.at(18, -20, 9, 9)
                  - 3.2 * root + 2.6 * p.upper_lip(7) * np.exp(-((p.x / 18) ** 2)),
                  1.2 * p.at(11, -20, 7, 9) + 0.75 * crease * wrinkle, n),
    }  # fmt: skip


def _fold(p: VertexCoordinates, depth: float, low: float = -66.0) -> Floats:
    """Return the nasolabial fold with the raised cheek beside it."""
    line = 22.0 + (-40 - p.y) * 0.5
    along = step(p.y, low - 6, low + 4) * step(p.y, -33, -40) * p.front
    groove = np.exp(-0.5 * ((p.x - line) / 1.5) ** 2)
    heap = np.exp(-0.5 * ((p.x - line - 5) / 3.2) ** 2)
    return (0.75 * heap - groove) * along * depth


def _mouth(p: VertexCoordinates, age: float) -> dict[int, Floats]:
    n, crease = len(p.x), 0.75 + 0.5 * age
    corner = p.at(MOUTH_HALF + 1, MOUTH_Y, 10, 10)
    wide = p.corners(13, 13)
    tight = p.at(0, MOUTH_Y, 17, 7)
    up_lip, low_lip = p.upper_lip(6), p.lower_lip(6)
    middle = np.exp(-((p.x / 20) ** 2))
    cheek = p.at(37, -38, 13, 13)
    dimple = p.at(MOUTH_HALF + 8, MOUTH_Y + 1, 2.4, 5)
    boss = p.at(0, -97, 16, 11)
    pebbles = np.cos(p.x * 1.3) * np.cos((p.y + 97) * 1.15) * p.at(0, -97, 11, 7)
    # How much of the lips' own height is left: towards the slit's line, and inwards.
    thin_up = p.upper_lip(3) * p.lens * step(p.y, MOUTH_Y + 15, MOUTH_Y + 6)
    thin_low = p.lower_lip(3) * p.lens * step(p.y, MOUTH_Y - 17, MOUTH_Y - 8)
    return {
        10: _field(0.5 * up_lip, 5.0 * up_lip * np.exp(-((p.x / 23) ** 4)),
                   0.8 * up_lip * middle + 2.2 * _fold(p, crease, -58), n),
        12: _field(7.0 * wide + 1.5 * cheek, 7.2 * wide + 3.0 * cheek + 1.8 * up_lip * p.lens,
                   -5.5 * wide + 4.4 * cheek + 2.8 * _fold(p, crease, -70)
                   - 0.8 * dimple - 1.2 * tight, n),
        14: _field(3.6 * corner, 0.4 * corner, -2.6 * corner - 2.6 * crease * dimple
                   + 1.2 * p.at(MOUTH_HALF + 12, MOUTH_Y, 4, 8), n),
        15: _field(0.8 * corner, -6.8 * wide, -0.5 * wide
                   - 1.4 * crease * p.at(MOUTH_HALF + 4, -78, 3, 7), n),
        17: _field(0 * boss, 5.5 * boss + 4.2 * low_lip * middle + 2.4 * thin_up * middle,
                   2.0 * low_lip * middle + 0.5 * crease * pebbles + 1.2 * boss, n),
        20: _field(8.0 * wide, -1.8 * wide, -4.0 * wide - 0.8 * tight
                   - 0.8 * crease * p.at(MOUTH_HALF + 9, -70, 2.5, 9), n),
        23: _field(-2.2 * corner, -2.0 * thin_up + 2.4 * thin_low,
                   1.2 * tight - 1.8 * (thin_up + thin_low), n),
        24: _field(0.6 * corner, -2.6 * thin_up + 3.0 * thin_low,
                   -2.9 * (thin_up + thin_low) + 0.9 * p.at(0, -82, 18, 6), n),
        25: _field(0 * boss, 2.4 * up_lip * p.lens - 2.4 * low_lip * p.lens,
                   0.5 * (up_lip + low_lip) * p.lens, n),
    }  # fmt: skip


def fields(grid: Grid, identity: Identity) -> NDArray[np.float32]:
    """Return (2, 19, N, 3) displacement by each unit at full strength, left and right.

    Units 5 and 43 move only the lids' edges (`lids.edges`), 26 and 27 only the jaw: theirs are 0.
    """
    p = VertexCoordinates(grid)
    unit_fields = _brow(p, identity.age) | _eyes_and_nose(p, identity.age) | _mouth(p, identity.age)
    sign = np.sign(grid.points[:, 0])
    # Left and right fields blend over the midline.
    left_weight = step(grid.points[:, 0], -9.0, 9.0)
    result = np.zeros((2, NUM_UNITS, len(sign), 3), np.float32)
    sharing = np.bincount(grid.weld, minlength=len(sign))[grid.weld][:, None]
    for unit, field in unit_fields.items():
        displacement = field.copy()
        displacement[:, 0] *= sign
        # Welded vertices must move together.
        total = np.zeros_like(displacement)
        np.add.at(total, grid.weld, displacement)
        displacement = total[grid.weld] / sharing
        weight = np.full_like(left_weight, 0.5) if unit in MIDLINE else left_weight
        result[LEFT, INDEX[unit]] = displacement * weight[:, None]
        result[RIGHT, INDEX[unit]] = displacement * (1 - weight)[:, None]
    return result


def narrowing(grid: Grid) -> NDArray[np.float32]:
    """Return (N,) x displacement of the mouth corners in mm per radian of jaw opening."""
    pull = -12.0 * VertexCoordinates(grid).corners(14, 15) * np.sign(grid.points[:, 0])
    return pull.astype(np.float32)


def jaw_angle(units: Floats) -> float:
    """Return the jaw opening in radians from (2, 19) observed intensities."""
    drop, stretch = (float(units[:, INDEX[unit]].mean()) for unit in (26, 27))
    # Jaw drop and stretch do not add up: at most the angle of the stretch alone.
    degrees = max(_DROP * drop, 0.0)
    return float(np.radians(degrees + (_STRETCH - degrees) * stretch))


def rotate_jaw(points: Floats, weight: Floats, angle: float) -> Floats:
    """Rotate (N, 3) points about the jaw hinge by `angle` radians times their weight (N,)."""
    sin, cos = np.sin(angle * weight), np.cos(angle * weight)
    y, z = points[:, 1] - _HINGE_Y, points[:, 2] - _HINGE_Z
    moved = points.copy()
    moved[:, 1] = _HINGE_Y + cos * y - sin * z
    moved[:, 2] = _HINGE_Z + sin * y + cos * z
    return moved


def jaw_weight(grid: Grid) -> NDArray[np.float32]:
    """Return (N,) weight in [0, 1] with which each skin vertex follows the jaw."""
    x, y, z = np.abs(grid.points[:, 0]), grid.points[:, 1], grid.points[:, 2]
    upper = np.repeat(grid.upper, grid.shape[1])
    side = step(y, -30, -97)
    lens = np.clip(1 - (x / MOUTH_HALF) ** 2, 0, 1) ** 0.5
    lower = side + (1 - side) * lens
    weight = np.where(upper, side * (1 - lens), np.where(y <= MOUTH_Y, lower, side))
    weight *= step(z, 0, 38) * step(y, -165, -116)
    return weight.astype(np.float32)
