"""Skin texture: colour, relief of pores and hairs, and gloss, in grid coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.identity import Identity
from swapper.head_renderer.noise import fbm, lattice_noise, speckles
from swapper.head_renderer.organs import linear
from swapper.head_renderer.sculpt import blob, step
from swapper.head_renderer.surface import (
    EYE_INNER,
    EYE_OUTER,
    EYE_ROLL,
    MOUTH_HALF,
    MOUTH_ROLL,
    MOUTH_Y,
    Floats,
    Grid,
    spline,
)  # fmt: skip

SIZE: Final = 512
_TONES: Final = (
    (0.0, (236, 206, 192)), (0.15, (228, 190, 170)), (0.3, (213, 169, 144)),
    (0.45, (187, 142, 115)), (0.6, (156, 113, 90)), (0.75, (122, 87, 70)),
    (0.88, (94, 67, 56)), (1.0, (70, 50, 44)),
)  # fmt: skip
_HAIR: Final = {
    "black": (24, 20, 20), "dark brown": (48, 33, 25), "brown": (82, 56, 38),
    "auburn": (104, 56, 36), "red": (150, 78, 40), "blond": (186, 148, 96),
    "grey": (140, 137, 134), "white": (214, 211, 206),
}  # fmt: skip
# Hairline: height over which hair grows, by degrees around the head.
_HAIRLINE_AT: Final = (0, 18, 34, 48, 58, 65, 72, 79, 85, 92, 104, 118, 140, 180)
_HAIRLINE: Final = (66, 67, 62, 53, 43, 28, 10, -2, -2, 6, -8, -34, -56, -60)


@dataclass(frozen=True, eq=False)
class Texture:
    """(512, 512) maps over the grid: rows go with its rows, columns with its columns.

    Attributes:
        colour: (512, 512, 3) float32 linear RGB.
        relief: (512, 512) float32, height in mm.
        gloss: (512, 512) float32 in [0, 1].
    """

    colour: NDArray[np.float32]
    relief: NDArray[np.float32]
    gloss: NDArray[np.float32]


def skin_tone(identity: Identity) -> Floats:
    """Return (3,) linear RGB of the base skin tone."""
    knots = np.array([k for k, _ in _TONES])
    tones = np.array([linear(c) for _, c in _TONES])
    tone = np.array([np.interp(identity.melanin, knots, tones[:, i]) for i in range(3)])
    ruddy = identity.redness - 0.4
    return tone * np.exp(ruddy * np.array([0.12, -0.16, -0.12]))


def hair_tone(identity: Identity) -> Floats:
    """Return (3,) linear RGB of the hair."""
    return linear(_HAIR[identity.hair_colour])


def hairline(degrees: Floats, identity: Identity) -> Floats:
    """Return the template height of the hairline."""
    line = spline(
        np.array(_HAIRLINE_AT, dtype=np.float64), np.array(_HAIRLINE, dtype=np.float64),
        np.abs(degrees).ravel(),
    ).reshape(degrees.shape)  # fmt: skip
    most = 14 * max(identity.age - 0.5, 0) * (identity.stubble > 0)
    receding = most * np.exp(-(((np.abs(degrees) - 32) / 18) ** 2))
    return np.asarray(line + 2 * identity.forehead * (np.abs(degrees) < 60) + receding)


@dataclass(frozen=True, eq=False)
class _TexelCoordinates:
    """Coordinates of each texel on the base head; all (512, 512).

    Attributes:
        along: mm around the head, measured on the skin, 0 at the nose.
        a: Template |x|.
        y, z: Template height and depth.
        angle: Degrees around the head.
        front: 1 on the face, 0 on the back of the head.
        upper: Whether above the slit that is nearest.
        lid, lip: How far a row rolls into the eye or the mouth.
    """

    along: Floats
    a: Floats
    y: Floats
    z: Floats
    angle: Floats
    front: Floats
    upper: NDArray[np.bool_]
    lid: Floats
    lip: Floats


def _between(values: Floats, axis: int, at: Floats) -> Floats:
    """Interpolate (R, C, 3) values at fractional rows (axis 0) or columns (axis 1)."""
    low = np.minimum(at.astype(int), values.shape[axis] - 2)
    f = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return np.asarray(np.take(values, low, axis) * (1 - f) + np.take(values, low + 1, axis) * f)


def _places(grid: Grid) -> _TexelCoordinates:
    rows = np.linspace(0, grid.shape[0] - 1, SIZE)
    columns = np.linspace(0, grid.shape[1] - 1, SIZE)
    points = _between(_between(grid.points.reshape(*grid.shape, 3), 0, rows), 1, columns)
    nearest = np.clip(np.round(rows).astype(int), 0, grid.shape[0] - 1)
    angle = np.interp(columns, np.arange(grid.shape[1]), grid.angle)
    shape = (SIZE, SIZE)

    def over(row_values: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(row_values[nearest][:, None], shape)

    return _TexelCoordinates(
        along=np.broadcast_to(np.radians(angle) * 86, shape),
        a=np.abs(points[..., 0]), y=points[..., 1], z=points[..., 2],
        angle=np.broadcast_to(angle, shape),
        front=step(np.cos(np.radians(np.broadcast_to(angle, shape))), 0.0, 0.35),
        upper=over(grid.upper),
        lid=over((grid.roll == EYE_ROLL) * grid.depth),
        lip=over((grid.roll == MOUTH_ROLL) * grid.depth),
    )  # fmt: skip


def lip_mask(a: Floats, y: Floats, upper: NDArray[np.bool_], identity: Identity) -> Floats:
    """Return a mask that is 1 on the lips."""
    lens = np.sqrt(np.clip(1 - (a / (MOUTH_HALF + 0.5)) ** 2, 0, 1))
    bow = 1.1 * np.exp(-0.5 * ((a - 5.0) / 3.2) ** 2) - 0.9 * np.exp(-0.5 * (a / 2.3) ** 2)
    top = (7.2 + bow) * lens**1.05 * (1 + 0.12 * identity.upper_lip)
    bottom = 8.8 * lens**0.85 * (1 + 0.12 * identity.lower_lip)
    off = np.where(upper, (y - MOUTH_Y) / np.maximum(top, 0.01),
                   (MOUTH_Y - y) / np.maximum(bottom, 0.01))  # fmt: skip
    return step(off, 1.12, 0.88) * (off > -0.3) * (a < MOUTH_HALF + 0.5)


def _brows(at: _TexelCoordinates, identity: Identity) -> Floats:
    a, y = at.a, at.y
    t = np.clip((a - 9.5) / 43, 0, 1)
    arch = 1.0 + 0.9 * identity.brow_arch
    line = 17.2 + 4.3 * arch * np.sin(np.pi * t**1.1) ** 1.2 - 0.8 * t
    half = (1 + 0.42 * identity.brow_thickness) * (
        3.9 * (1 - t) ** 0.55 * step(t, -0.04, 0.1) + 0.7
    )
    off = np.abs(y - line) / half
    # Hairs fan from upright near the nose to lying near the temple.
    slant = 0.5 + 1.6 * t
    across = (a - (y - line) / slant * 0.9) * 1.25
    hairs = 0.5 + 0.5 * fbm(across * 1.6, y * 0.35 * (1 - t) + t * y * 1.2, identity.seed + 71, 2)
    ends = step(a, 8.0, 13.0) * step(a, 54, 47)
    density = step(off, 1.35, 0.35) * ends
    grey = 1.0 + 0.35 * identity.brow_thickness
    return np.clip(density * (0.25 + 1.15 * hairs) * grey, 0, 1) * at.front


def _beard(at: _TexelCoordinates, identity: Identity) -> Floats:
    if identity.stubble == 0:
        return np.zeros_like(at.y)
    a, y, z = at.a, at.y, at.z
    jaw = step(y, -44 + 0.0, -70) * step(a, 22, 34) * step(z, 2, 22)
    chin = step(y, -74, -84) * step(a, 60, 40)
    soul = 0.5 * blob(a, y, 0, -80, 4, 5)
    moustache = step(y, -47, -51) * step(y, MOUTH_Y + 4, MOUTH_Y + 8) * step(a, 33, 24)
    area = np.clip(np.maximum(np.maximum(jaw, chin), np.maximum(0.9 * moustache, soul)), 0, 1)
    area *= step(y, -138, -112) * (1 - 1.0 * lip_mask(a, y, at.upper, identity)) * at.front
    patchy = 0.75 + 0.35 * fbm(a / 9, y / 9, identity.seed + 5)
    return np.clip(area * patchy, 0, 1)


def _grainy(seed: int) -> Floats:
    """Return pores: slightly blurred white noise over the texels, about [-1, 1]."""
    i, j = np.mgrid[0:SIZE, 0:SIZE]
    white = 2 * lattice_noise(i, j, seed) - 1
    for axis in (0, 1):
        white = 0.5 * white + 0.25 * (np.roll(white, 1, axis) + np.roll(white, -1, axis))
    return 2.0 * white


def _tinted(colour: Floats, weight: Floats, factors: tuple[float, float, float]) -> Floats:
    """Multiply (..., 3) colour by factors ** weight."""
    return np.asarray(colour * np.exp(weight[..., None] * np.log(np.array(factors))))


def _complexion(at: _TexelCoordinates, identity: Identity, lips: Floats) -> Floats:
    """Return (512, 512, 3) linear RGB of skin and lips, without spots and hair."""
    a, y, front = at.a, at.y, at.front
    colour = np.ones((SIZE, SIZE, 3)) * skin_tone(identity)
    dark = 1 - 0.55 * identity.melanin
    blotch = fbm(at.along / 13, y / 13, identity.seed)
    colour = _tinted(colour, blotch * 0.5, (1.06, 0.93, 0.93))
    warm = blob(a, y, 38, -30, 16, 13) + 0.9 * blob(a, y, 0, -37, 12, 9)
    warm = (warm + 0.3 * blob(a, y, 0, -98, 12, 8)) * front * (0.5 + identity.redness) * dark
    colour = _tinted(colour, warm, (1.05, 0.8, 0.8))
    socket = blob(a, y, 27, -9.5, 11, 5) + 0.7 * blob(a, y, 20, 5, 7, 6)
    socket = (socket + 0.4 * blob(a, y, 33, 8, 12, 4)) * front * (0.4 + 0.6 * identity.age)
    colour = _tinted(colour, socket, (0.9, 0.83, 0.85))
    rim = np.exp(-((y / 2.2) ** 2)) * step(a, EYE_INNER - 3, EYE_INNER) * front
    rim = rim * step(a, EYE_OUTER + 3, EYE_OUTER)
    colour = _tinted(colour, rim * at.upper, (0.55, 0.5, 0.5))
    colour = _tinted(colour, rim * ~at.upper * 0.5, (0.8, 0.62, 0.6))
    colour = _tinted(colour, at.lid, (1.25, 0.95, 0.95))
    fold = np.exp(-0.5 * ((a - 20.8 - (-40 - y) * 0.5) / 2.2) ** 2) * front
    fold = fold * step(y, -68, -58) * step(y, -34, -42) * 0.8 * (0.3 + 0.7 * identity.age)
    colour = _tinted(colour, fold, (0.9, 0.8, 0.8))
    hole = blob(a, y, 6.8 * (1 + 0.16 * identity.nose_width), -44.6, 2.9, 1.6) * front
    colour = _tinted(colour, np.clip(hole * 1.5, 0, 1), (0.13, 0.06, 0.06))
    deep = lips * (0.35 + 0.75 * identity.lip_colour)
    dark = identity.melanin
    red = (0.92 - 0.1 * dark, 0.52 + 0.12 * dark, 0.56 + 0.1 * dark)
    colour = _tinted(colour, deep, red)
    return _tinted(colour, at.lip, (0.55, 0.35, 0.36))


def _spots(colour: Floats, at: _TexelCoordinates, identity: Identity, lips: Floats) -> Floats:
    """Add freckles, moles and age spots."""
    along, y = at.along, at.y
    if identity.freckles > 0:
        spots = speckles(along / 2.6, y / 2.6, identity.seed + 9, 0.75 * identity.freckles, 0.42)
        where = np.clip(blob(at.a, y, 24, -22, 24, 15) + 0.35, 0, 1) * at.front * (1 - lips)
        where = where * (0.5 + 0.5 * identity.freckles)
        colour = _tinted(colour, spots * where, (0.72, 0.55, 0.45))
    moles = speckles(along / 21, y / 21, identity.seed + 29, 0.07, 0.045)
    colour = _tinted(colour, moles * at.front * (1 - lips), (0.4, 0.3, 0.28))
    patches = np.clip(fbm(along / 7, y / 7, identity.seed + 47) - 0.25, 0, 1)
    return _tinted(colour, patches * identity.age**2 * 1.2, (0.75, 0.62, 0.55))


def paint_skin(grid: Grid, identity: Identity) -> Texture:
    """Return the skin texture of an identity."""
    at = _places(grid)
    a, y, front = at.a, at.y, at.front
    lips = lip_mask(a, y, at.upper, identity) * front
    colour = _spots(_complexion(at, identity, lips), at, identity, lips)
    brow, hair = _brows(at, identity), hair_tone(identity)
    bristle = np.clip(0.55 + 0.6 * fbm(at.along / 0.8, y / 1.3, identity.seed + 17, 2), 0, 1)
    growth = _beard(at, identity) * identity.stubble * (0.35 + 0.65 * bristle)
    edge = 4 * fbm(at.angle / 1.1, y / 9, identity.seed + 23, 3)
    line = hairline(at.angle, identity)
    scalp = step(y + edge, line - 8, line + 7)
    scalp = scalp * (0.45 + 0.25 * bristle if identity.hair_style == "shaved" else 0.92)
    for weight in (np.clip(growth, 0, 0.85), scalp):
        colour = colour * (1 - weight[..., None]) + 0.8 * hair * weight[..., None]
    brow_colour = hair * np.array([0.62, 0.6, 0.6]) + 0.06 * skin_tone(identity)
    colour = colour * (1 - 0.93 * brow[..., None]) + 0.93 * brow_colour * brow[..., None]
    relief = (0.035 + 0.05 * identity.age) * _grainy(identity.seed + 3) * front
    relief = (relief + 0.35 * brow + 0.12 * growth * bristle) * (1 - 0.7 * lips)
    wander = 2.5 * fbm(a / 5, y / 4, identity.seed + 61, 2)
    relief = relief + np.cos(a * 3.3 + wander) * 0.07 * lips
    oil = blob(a, y, 0, -30, 9, 14) + 0.7 * blob(a, y, 0, 42, 26, 16)
    oil = oil + 0.4 * blob(a, y, 36, -20, 12, 8)
    gloss = 0.28 + 0.22 * np.clip(oil, 0, 1) + 0.34 * lips - 0.2 * brow + 0.5 * at.lid
    gloss = np.clip(gloss * (1 - 0.6 * scalp) * (1 - 0.5 * growth), 0.05, 1)
    return Texture(colour.astype(np.float32), relief.astype(np.float32), gloss.astype(np.float32))
