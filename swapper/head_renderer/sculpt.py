"""Shape of an identity: facial features, then proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swapper.head_renderer.identity import Identity
from swapper.head_renderer.surface import EYE_X, MOUTH_HALF, MOUTH_Y, Floats, Grid, spline

EYE_Z = 65.0
EYE_RADIUS = 13.2
_EYE_CORE, _EYE_RIM = 25.0, 50.0


def blob(x: Floats, y: Floats, cx: float, cy: float, sx: float, sy: float) -> Floats:
    """Return a Gaussian of height 1 around (cx, cy)."""
    return np.asarray(np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2)))


def step(value: Floats, start: Floats | float, end: Floats | float) -> Floats:
    """Smoothstep: 0 at `start`, 1 at `end` (which may be the smaller)."""
    t = np.clip((value - start) / (end - start), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


@dataclass(frozen=True)
class EyeFrame:
    """Placement of the template's eye region in one identity's head.

    Attributes:
        centre: (3,) of the eyeball, mm.
        scale: Size relative to the template.
        tilt: Radians by which the outer corner is raised.
    """

    centre: tuple[float, float, float]
    scale: float
    tilt: float

    def place(self, offset: Floats, side: float) -> Floats:
        """(N, 3) head points from (N, 3) template points minus their eyeball's centre.

        `side` is 1 for the left eye, -1 for the right.
        """
        turn = self.tilt * side
        cos, sin = np.cos(turn), np.sin(turn)
        x = cos * offset[:, 0] - sin * offset[:, 1]
        y = sin * offset[:, 0] + cos * offset[:, 1]
        centre = np.array([side * self.centre[0], *self.centre[1:]])
        return np.asarray(np.stack([x, y, offset[:, 2]], axis=1) * self.scale + centre)


def _nose(x: Floats, y: Floats, identity: Identity) -> Floats:
    """Return the protrusion of the nose from the base face."""
    shifted = y - 3.0 * identity.nose_tip * blob(0 * x, y, 0, -37, 1, 7)
    # Towards the wings the nose's lower edge rises.
    shifted = shifted - 2.6 * np.minimum((x / 12) ** 2, 1.4) * step(y, -30, -40)
    heights = np.array([-56.0, -50, -47.5, -45.5, -43, -40, -36, -32, -25, -15, -5, 4, 12, 24])
    ridge = np.array([0, 0, 1.2, 6.5, 15.0, 21.0, 23.6, 22.6, 18.0, 11.6, 6.0, 2.2, 0.4, 0])
    ridge = ridge + identity.nose_bridge * 2.4 * np.exp(-0.5 * ((heights + 15) / 7.5) ** 2)
    ridge *= 1 + 0.2 * identity.nose_size
    width = np.array([11, 12, 12.6, 12.6, 12.0, 11.2, 10.3, 9.8, 9.2, 8.6, 8.3, 8.9, 9, 9])
    width *= 1 + 0.16 * identity.nose_width
    at = np.clip(shifted, -56, 24)
    protrusion = np.maximum(spline(heights, ridge, at), 0.0)
    half_width = spline(heights, width, at)
    shape = np.exp(-((x / half_width) ** 2.1))
    widen = 1 + 0.2 * identity.nose_width
    ball = 3.0 * blob(x, shifted, 0, -36.5, 5.6, 4.6)
    wing = 9.5 * blob(x, shifted, 13.6 * widen, -39.8, 3.7, 4.2)
    groove = -2.4 * blob(x, shifted, 20.5 * widen, -37.5, 2.3, 5.0)
    side = -1.2 * blob(x, shifted, 9.0 * widen, -33.5, 2.6, 3.5)
    return protrusion * shape + ball + wing + groove + side


def _lips(x: Floats, grid: Grid, identity: Identity) -> tuple[Floats, Floats]:
    """Return forward and upward displacement of the lips, which touch at rest."""
    y = np.repeat(grid.height, grid.shape[1])
    upper = np.repeat(grid.upper, grid.shape[1])
    depth = np.repeat(np.where(grid.roll == 2, grid.depth, 0.0), grid.shape[1])
    lens = np.sqrt(np.clip(1 - (x / (MOUTH_HALF + 0.5)) ** 2, 0, 1))
    full = np.where(upper, 1 + 0.45 * identity.upper_lip, 1 + 0.45 * identity.lower_lip)
    d = np.abs(y - MOUTH_Y) / (0.25 + 0.75 * lens)
    top = blob(d, x, 4.0, 0, 2.7, 60) * 4.2 + blob(d, x, 7.4, 0, 0.9, 60) * 0.6
    bottom = blob(d, x, 4.6, 0, 3.0, 60) * 5.2 + blob(d, x, 8.8, 0, 1.0, 60) * 0.4
    out = np.where(upper, top, bottom) * lens * full
    out -= 1.5 * blob(d, x, 0, 0, 1.3, 16) * lens
    # The lips' inner sides: back towards the teeth, and a little apart again.
    out -= depth * 8.5 * lens
    corner = -2.4 * blob(x, y, MOUTH_HALF + 1.5, MOUTH_Y, 3.2, 3.2)
    bow = 0.9 * np.cos(x / 4.1) * blob(x, y, 0, MOUTH_Y, 7, 3)
    sag = -0.2 * blob(x, y, MOUTH_HALF, MOUTH_Y, 8, 6)
    rise = np.where(upper, 1.0, -1.0) * depth * 0.8 * lens - bow * 0.8 + sag
    return out + corner, rise


def features(grid: Grid, identity: Identity) -> Floats:
    """Return (N, 3): the base head with brow, sockets, nose, cheeks, lips and chin."""
    points = grid.points.copy()
    x, y = np.abs(points[:, 0]), points[:, 1]
    front = step(np.cos(np.radians(np.tile(grid.angle, grid.shape[0]))), 0.05, 0.45)
    z = (2.6 + 2.2 * identity.brow_ridge) * blob(x, y, 20, 17.5, 17, 5.5)
    z += (0.8 + 1.2 * identity.brow_ridge) * blob(x, y, 0, 17, 12, 7)
    z += (2.0 + 1.0 * identity.brow_ridge) * blob(x, y, 46, 13, 7, 7)
    z -= 10.5 * np.exp(-((np.abs(x - 31) / 17) ** 3.2) - (np.abs(y - 1.0) / 13.0) ** 2.6)
    z -= 5.0 * blob(x, y, 12.5, 2, 4.0, 8)
    z -= 3.5 * blob(x, y, 0, 3, 8, 7)
    z += 2.5 * blob(x, y, 40, -26, 13, 9)
    z -= 1.6 * blob(x, y, 22, -17, 8, 5)
    z += 1.5 * blob(x, y, 0, -62, 21, 14)
    fold = 21.5 + (-40 - y) * 0.55
    groove = (0.7 + 1.3 * identity.age) * np.exp(-0.5 * ((x - fold) / 2.3) ** 2)
    z -= groove * step(y, -70, -62) * step(y, -36, -43)
    z += (0.9 + 0.8 * identity.cheeks) * blob(x, y, 31, -47, 7, 11)
    z -= 1.3 * blob(x, y, 0, -53, 2.6, 4.5) - 0.5 * blob(x, y, 5, -53, 1.8, 5)
    z -= 3.6 * blob(x, y, 0, -81.5, 17, 3.8)
    z += 5.0 * blob(x, y, 0, -98, 13, 9)
    z += _nose(x, y, identity)
    lips, rise = _lips(x, grid, identity)
    points[:, 2] += (z + lips) * front
    points[:, 1] += rise * front
    # Nostrils: up into the nose from below.
    widen = 1 + 0.2 * identity.nose_width
    hole = blob(x, y, 6.8 * widen, -44.3, 2.6, 1.5)
    points[:, 1] += 4.0 * hole * front
    points[:, 2] -= 1.5 * hole * front
    under = blob(x, y, 0, -45.0, 4.0, 2.6) * front
    points[:, 1] -= 2.4 * under
    return points[grid.weld]


def _stretch(points: Floats, identity: Identity) -> Floats:
    """Return the displacement of the proportions in mm, without that of the eyes."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    a, side = np.abs(x), np.sign(x)
    front = step(z, 0, 40)
    move = np.zeros_like(points)
    move[:, 0] += x * (0.055 * identity.face_width)
    move[:, 1] += np.minimum(y, 0) * (0.07 * identity.face_length)
    move[:, 1] += np.maximum(y - 22, 0) * (0.1 * identity.forehead)
    bone = blob(a, y, 53, -24, 14, 12) * front * identity.cheekbones
    move[:, 0] += 2.4 * bone * side
    move[:, 2] += 1.8 * bone
    cheek = blob(a, y, 46, -52, 14, 17) * step(z, 5, 30) * identity.cheeks
    move[:, 0] += 5.0 * cheek * side
    move[:, 2] += 3.0 * cheek
    jaw = step(y, -45, -85) * step(y, -135, -112) * step(z, -40, 0) * step(a, 12, 45)
    move[:, 0] += 6.5 * jaw * side * identity.jaw_width
    chin_width = blob(a, y, 16, -102, 9, 9) * front
    move[:, 0] += 2.5 * chin_width * side * identity.jaw_width
    lower = step(y, -76, -100) * step(y, -150, -118)
    move[:, 1] -= 5.5 * identity.chin_length * lower * step(z, 0, 50)
    move[:, 2] += 5.5 * identity.chin_forward * blob(a, y, 0, -100, 22, 14) * front
    move[:, 1] += 3.2 * identity.brow_height * blob(a, y, 28, 19, 24, 8) * front
    nose = blob(a, y, 0, -40, 17, 12) * front
    move[:, 1] -= 4.5 * identity.nose_length * nose
    mouth = blob(a, y, 0, MOUTH_Y, 34, 13) * front
    move[:, 1] -= (3.0 * identity.mouth_height + 2.0 * identity.nose_length) * mouth
    move[:, 0] += x * 0.13 * identity.mouth_width * mouth
    for slider, sign in ((identity.upper_lip, 1), (identity.lower_lip, -1)):
        lip = blob(a, (y - MOUTH_Y) * sign, 0, 8, 22, 4) * front
        move[:, 1] += 1.9 * slider * sign * lip
    neck = step(y, -112, -135)
    move[:, 0] += x * 0.13 * identity.neck_width * neck
    move[:, 2] += z * 0.1 * identity.neck_width * neck
    return move


def eye_frame(identity: Identity) -> EyeFrame:
    """Return the eye placement of an identity; mirrored for the other eye."""
    centre = np.array([[EYE_X, 0.0, EYE_Z]])
    x, y, z = (centre + _stretch(centre, identity))[0]
    return EyeFrame(
        (float(x + 2.6 * identity.eye_spacing), float(y), float(z - 1.7 * identity.eye_depth)),
        1.05 + 0.08 * identity.eye_size,
        float(np.radians(5.0 * identity.eye_tilt)),
    )


def proportions(points: Floats, identity: Identity) -> Floats:
    """Map (N, 3) template points to one identity's proportions.

    Within 25 mm of an eye this is a similarity, so that lids keep fitting their eyeball.
    """
    frame = eye_frame(identity)
    moved = points + _stretch(points, identity)
    for side in (1.0, -1.0):
        offset = points - np.array([side * EYE_X, 0.0, EYE_Z])
        radius = np.hypot(offset[:, 0], offset[:, 1] * 1.25)
        core = step(radius, _EYE_RIM, _EYE_CORE) * step(points[:, 2], 20, 40)
        # Two cores must not overlap on the nose.
        core *= step(points[:, 0] * side, -1.0, 9.0)
        moved += core[:, None] * (frame.place(offset, side) - moved)
    return moved
