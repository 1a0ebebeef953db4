"""Hair as a thick textured shell over the scalp, extended downwards for long cuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.identity import Identity
from swapper.head_renderer.noise import fbm, lattice_noise
from swapper.head_renderer.organs import HAIR, Part, grid_part
from swapper.head_renderer.sculpt import proportions, step
from swapper.head_renderer.skin_texture import hair_tone, hairline, skin_tone
from swapper.head_renderer.surface import Floats, plain_radius


@dataclass(frozen=True)
class Cut:
    """Parameters of a haircut.

    Attributes:
        top, front, side: Thickness in mm over the crown, the forehead and the ears.
        rough: Height of its clumps in mm.
        curl: Size of its curls; 0 combs it straight.
        falls_to: Height in mm down to which it hangs, None if it does not.
        sweep: Degrees by which strands lean sideways on their way down.
    """

    top: float
    front: float
    side: float
    rough: float
    curl: float = 0.0
    falls_to: float | None = None
    sweep: float = 0.0


CUTS: Final = {
    "buzz": Cut(3.5, 3.0, 2.6, 0.5),
    "crop": Cut(13.0, 12.0, 5.5, 4.5),
    "side part": Cut(15.0, 15.0, 7.0, 3.5, sweep=38.0),
    "swept": Cut(17.0, 21.0, 7.0, 4.5),
    "curly": Cut(27.0, 21.0, 17.0, 4.0, curl=1.0),
    "bob": Cut(14.0, 8.0, 12.0, 1.6, falls_to=-84.0, sweep=14.0),
    "long": Cut(13.0, 7.0, 12.0, 1.8, falls_to=-178.0, sweep=10.0),
    "bun": Cut(8.0, 6.5, 6.0, 1.2),
}
_PARTS_AT: Final = 64.0
"""Degrees from the nose beyond which long hair hangs down."""


def _strands(u: Floats, v: Floats, seed: int) -> Floats:
    """Return streaks in [-1, 1] across u (degrees), varying slowly along v (mm)."""
    return 0.65 * fbm(u / 8.0, v / 60, seed, 2) + 0.35 * fbm(u / 2.2, v / 40, seed + 7, 2)


def _colours(u: Floats, v: Floats, identity: Identity) -> Floats:
    streak = 0.5 * fbm(u / 1.9, v / 55, identity.seed + 31, 3) + 0.5 * fbm(
        u / 6, v / 80, identity.seed + 37, 2
    )
    tone = hair_tone(identity) * np.exp(0.75 * streak)[..., None]
    sunlit = np.exp(0.35 * fbm(u / 9, v / 90, identity.seed + 41, 2))[..., None]
    return np.asarray(tone * sunlit ** np.array([1.0, 0.95, 0.85]))


@dataclass(frozen=True, eq=False)
class _Scalp:
    """Grid of the hair: columns run from the crown down to the hairline or to the tips.

    Attributes:
        angle: (1, C) degrees around the head.
        crown: (R, 1) 0 at the crown, 1 at the lower end.
        height: (R, C) mm.
        low: (1, C) height of each column's lower end.
        hangs: (C,) whether a column falls past the head.
        base: (R, C, 3) the skull below, template points.
        front: (R, C) 1 above the forehead.
    """

    angle: Floats
    crown: Floats
    height: Floats
    low: Floats
    hangs: NDArray[np.bool_]
    base: Floats
    front: Floats


def _scalp(identity: Identity, cut: Cut, detail: int) -> _Scalp:
    angle = np.linspace(-180, 180, 240 // detail + 1)
    count = len(angle)
    jitter = 9.0 * (lattice_noise(np.arange(count), np.zeros(count, int), identity.seed) - 0.5)
    jitter += 6.0 * fbm(angle / 7.0, 0 * angle, identity.seed + 3)
    jitter[-1] = jitter[0]
    ragged = (0.3 if cut.side < 4 else 0.6) * step(np.cos(np.radians(angle)), 0.75, 0.3) + 0.12
    low = hairline(angle, identity) + jitter * ragged
    hangs = np.zeros(count, dtype=bool)
    if cut.falls_to is not None:
        hangs = np.abs(angle) > _PARTS_AT
        low = np.where(hangs, cut.falls_to + jitter, low)
    crown = np.linspace(0, 1, 64 // detail)[:, None]
    height = 115.0 - (115.0 - low[None, :]) * crown**1.35
    radius = np.stack([plain_radius(height[:, j], angle[j : j + 1])[:, 0] for j in range(count)], 1)
    theta = np.radians(angle)[None, :]
    # Hair that hangs keeps the skull's width on its way down, drawn in a little towards its tips.
    draped = np.maximum.accumulate(radius, axis=0) - 10 * step(height, -10, -130)
    radius = np.where(hangs, draped, radius)
    base = np.stack([radius * np.sin(theta), height, radius * np.cos(theta)], -1)
    front = step(np.cos(theta), 0.0, 0.85) * step(height, 112, 70)
    return _Scalp(angle[None, :], crown, height, low[None, :], hangs, base, front)


def _thickness(on: _Scalp, identity: Identity, cut: Cut) -> Floats:
    """Return (R, C) hair thickness over the skull in mm."""
    theta = np.radians(on.angle)
    v = 115 - on.height
    thick = cut.top + (cut.front - cut.top) * on.front
    thick = thick + (cut.side - thick) * step(on.height, 88, 40) * (1 - 0.75 * on.front)
    # At the forehead hair rises slowly from its roots; around the ears it ends bluntly.
    roots = step(on.crown, 1.0, 0.88 if cut.side > 4 else 0.7) ** 0.55
    rise = np.clip((on.height - on.low) / 42, 0, 1) ** 0.75
    roots = roots + (rise - roots) * step(np.cos(theta), 0.25, 0.7) * ~on.hangs
    thick = thick * np.where(on.hangs, 1.0, roots)
    wave = 3.0 * np.sin(on.height / 17 + 2 * np.sin(theta * 3)) * step(on.height, 30, -40)
    thick = thick + on.hangs * wave
    if identity.hair_style == "side part":
        away = on.angle - 28
        thick = thick * (1 - 0.75 * np.exp(-((away / 7) ** 2)) * on.front)
        thick = thick + 5 * np.exp(-(((away + 26) / 18) ** 2)) * on.front
    if cut.curl:
        around = on.angle + 0 * v
        thick = thick * (1 + 0.28 * cut.curl * fbm(around / 9, v / 11, identity.seed + 11, 3))
        clump = 2.2 * cut.curl * fbm(around / 2.6, v / 4, identity.seed + 13, 2)
    else:
        clump = cut.rough * _strands(_combed(on, cut), v, identity.seed)
    clump = clump * step(on.crown, 1.0, 0.8) * step(on.crown, 0.0, 0.15)
    return np.asarray(np.maximum(thick + clump, 0.25))


def _combed(on: _Scalp, cut: Cut) -> Floats:
    """Return (R, C) angles at the crown of the strand through each point, in degrees."""
    return on.angle + cut.sweep * (on.crown - 0.3) + 0 * on.height


def _cap(identity: Identity, cut: Cut, detail: int) -> Part:
    on = _scalp(identity, cut, detail)
    theta = np.radians(on.angle)
    thick = _thickness(on, identity, cut)
    points = proportions(on.base.reshape(-1, 3), identity).reshape(on.base.shape)
    flat = np.ones_like(on.height)
    outward = np.stack(
        [np.sin(theta) * flat, 0.35 + 1.5 * step(on.height, 80, 114), np.cos(theta) * flat], -1
    )
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    points = points + outward * thick[..., None]
    if identity.hair_style == "swept":
        points[..., 2] -= 7 * on.front * on.crown * step(on.crown, 1.0, 0.8)
    u, v = _combed(on, cut), 115 - on.height
    colours = _colours(u, v, identity) * (0.55 + 0.45 * step(thick, 0.3, 5.0))[..., None]
    # The first millimetres are thin enough for the skin to show between the roots.
    thin = step(on.height - on.low, 5, 0) * 0.45 * ~on.hangs
    thin = np.clip(thin * (0.6 + 0.5 * fbm(u / 1.3, v / 9, identity.seed + 51, 2)), 0, 1)
    colours = colours + thin[..., None] * (0.8 * skin_tone(identity) - colours)
    return grid_part(points, colours, HAIR)


def _bun(identity: Identity) -> Part:
    p, a = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, 26), np.linspace(0, 2 * np.pi, 53), indexing="ij"
    )
    r = 27 + 1.6 * fbm(a * 9, p * 2 + a, identity.seed + 19, 2)
    points = np.stack(
        [r * np.sin(p) * np.cos(a), 74 + r * np.cos(p), -92 + r * np.sin(p) * np.sin(a)], -1
    )
    colours = _colours(np.degrees(a) + 40 * p, 30 * p, identity)
    return grid_part(points, colours, HAIR, flip=True)


def covers_ears(identity: Identity) -> bool:
    """Return whether the hair covers the ears."""
    cut = CUTS.get(identity.hair_style)
    return cut is not None and cut.falls_to is not None


def hair(identity: Identity, detail: int = 1) -> list[Part]:
    """Return the hair meshes of an identity in head space; empty if shaved."""
    cut = CUTS.get(identity.hair_style)
    if cut is None:
        return []
    parts = [_cap(identity, cut, detail)]
    if identity.hair_style == "bun":
        parts.append(_bun(identity))
    return parts
