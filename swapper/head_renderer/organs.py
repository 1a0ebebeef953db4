"""Meshes other than the skin: eyes, teeth, tongue, ears, shoulders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.identity import Identity
from swapper.head_renderer.sculpt import EYE_RADIUS, blob, step
from swapper.head_renderer.surface import Floats, grid_triangles

SKIN, EYE, ENAMEL, FLESH, HAIR, CLOTH, LASH, BARE = range(8)
"""Materials; BARE is skin with vertex colours and no texture (ears)."""


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh of one material.

    Attributes:
        points: (N, 3) mm in head space.
        triangles: (T, 3) int32, counter-clockwise from outside.
        colours: (N, 3) linear RGB.
        material: One of the constants above.
        one_sided: Whether its back faces are culled.
        columns: Points per row; strands of hair run down the columns.
    """

    points: Floats
    triangles: NDArray[np.int32]
    colours: Floats
    material: int
    one_sided: bool
    columns: int


def grid_part(
    points: Floats, colours: Floats, material: int, *, flip: bool = False, one_sided: bool = False
) -> Part:
    """Build a part from a grid of points (R, C, 3) with colours; `flip` reverses the winding."""
    rows, columns = points.shape[:2]
    triangles = grid_triangles(np.ones((rows - 1, columns - 1), bool))
    return Part(
        points.reshape(-1, 3), np.ascontiguousarray(triangles[:, ::-1] if flip else triangles),
        colours.reshape(-1, 3), material, one_sided, columns,
    )  # fmt: skip


def linear(colour: tuple[float, float, float]) -> Floats:
    """(3,) linear RGB of an sRGB colour in 0..255."""
    srgb = np.asarray(colour, dtype=np.float64) / 255
    return np.asarray(np.where(srgb < 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))


def eyeball() -> tuple[Part, Floats]:
    """Return an eyeball with a cornea, centred at 0 and facing z, and (N, 2) polar coordinates.

    These are the polar angle and azimuth of its points in radians.
    """
    polar = np.concatenate([np.linspace(0, 0.62, 16), np.linspace(0.68, 2.0, 16)])
    around = np.linspace(0, 2 * np.pi, 37)
    p, a = np.meshgrid(polar, around, indexing="ij")
    radius = EYE_RADIUS + 0.75 * np.exp(-((p / 0.4) ** 4))
    points = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], -1)
    ball = grid_part(points * radius[..., None], np.ones_like(points), EYE, one_sided=True)
    return ball, np.stack([p.ravel(), a.ravel()], 1)


_WIDTHS: Final = (8.6, 6.8, 7.8, 7.0, 6.8, 9.5)
"""Of the upper teeth from the midline, mm; near the means of textbooks of dental anatomy."""


def _arch(radius: float, ratio: float, top: float, edge: float, gum: float) -> Part:
    """Return a row of teeth with its gum; `ratio` scales the width of the upper teeth."""
    columns, rows = 121, 15
    half_length = sum(_WIDTHS) * ratio
    along = np.linspace(-half_length, half_length, columns)
    borders = np.cumsum((0.0, *_WIDTHS)) * ratio
    tooth = np.clip(np.searchsorted(borders, np.abs(along), side="right") - 1, 0, 5)
    width = np.asarray(_WIDTHS)[tooth] * ratio
    place = np.clip((np.abs(along) - borders[tooth]) / width, 0, 1)
    belly = np.clip(1 - (2 * place - 1) ** 4, 0, 1)
    v = np.linspace(0, 1, rows)[:, None]
    long = np.array([0.0, -0.9, 0.2, -0.5, -0.9, -1.2])[tooth]
    long = long * (1.0 if ratio == 1 else 0.35)
    down = np.sign(edge - top)
    tip = edge + down * (long + 0.8 * (belly - 1))
    y = np.where(v < 0.3, gum + (top - gum) * v / 0.3, top + (tip - top) * (v - 0.3) / 0.7)
    # The arch: a half ellipse, parametrised by arc length.
    angle = along / (radius * 1.08)
    enamel = step(v - 0.05 * belly, 0.24, 0.3)
    out = enamel * (1.1 * belly + 0.5 * np.sin(np.pi * np.clip((v - 0.2) / 0.8, 0, 1)) - 0.4)
    out += (1 - enamel) * 0.5 - 2.4 * step(v, 0.9, 1.0) * 0.6
    r = radius + out
    points = np.stack([r * np.sin(angle), y + 0 * r, 59.5 + 1.02 * r * np.cos(angle)], -1)
    white = linear((236, 228, 208)) * (1 - 0.05 * tooth)[:, None]
    pink = linear((190, 105, 105))
    shade = (0.35 + 0.65 * belly**0.5)[None, :, None]
    colours = (enamel[..., None] * white * shade) + (1 - enamel[..., None]) * pink
    back = np.exp(-np.maximum(np.abs(along) - 12, 0) / 14)[None, :, None]
    colours = np.broadcast_to(colours * (0.25 + 0.75 * back), points.shape)
    return grid_part(points, colours, ENAMEL, flip=down > 0)


def teeth() -> tuple[Part, Part]:
    """Return the upper and the lower row."""
    return _arch(24.6, 1.0, -55.5, -67.0, -47.0), _arch(22.6, 0.9, -79.0, -69.6, -87.0)


def mouth_inside() -> tuple[Part, Part]:
    """Return the tongue, and the inside of cheeks and palate."""
    s, t = np.meshgrid(np.linspace(0, 1, 20), np.linspace(-1, 1, 21), indexing="ij")
    half = 16 * np.sqrt(np.clip(1 - np.clip((s - 0.55) / 0.45, 0, 1) ** 2, 0, 1)) + 0.01
    tongue = np.stack([half * t, -71.5 - 3 * s - 5 * t**2 - 1.2 * np.exp(-((t / 0.3) ** 2))
                       - 9 * np.clip((s - 0.8) / 0.2, 0, 1) ** 3, 48 + 33 * s], -1)  # fmt: skip
    dark = (0.2 + 0.8 * s**1.5)[..., None]
    colour = linear((196, 100, 100)) * dark * np.ones_like(tongue)
    p, a = np.meshgrid(np.linspace(0.12, 1, 14), np.linspace(0, 2 * np.pi, 33), indexing="ij")
    wide = np.sin(p * np.pi / 2)
    bag = np.stack([27 * wide * np.cos(a), -66 + 20 * wide * np.sin(a),
                    30 + (50 - 20 * np.cos(a) ** 2) * (1 - np.cos(p * np.pi / 2))], -1)  # fmt: skip
    deep = (0.015 + 0.3 * p**3)[..., None]
    shade = linear((150, 60, 60)) * deep * np.ones_like(bag)
    return grid_part(tongue, colour, FLESH), grid_part(bag, shade, FLESH)


def ear(identity: Identity, side: float, skin: Floats) -> Part:
    """An ear in template space: helix, scapha, antihelix, concha, tragus and lobe.

    `side` is 1 left, -1 right; `skin` (3,) linear RGB.
    """
    rho = np.concatenate([np.linspace(0, 1, 22), [1.03, 1.0, 0.85, 0.6, 0.3]])[:, None]
    behind = np.concatenate([np.zeros(22), [0.3, 0.6, 0.8, 0.9, 1.0]])[:, None]
    phi = np.linspace(0, 2 * np.pi, 49)[None, :]
    back, up = -np.cos(phi), np.sin(phi)
    back_extent = np.where(back > 0, 18.5, 12.0) * np.where(up < 0, 1 - 0.28 * up**2, 1)
    p = rho * back * back_extent
    q = rho * up * 31.0
    r = np.hypot(p / np.where(p > 0, 18.5, 13), q / 31)
    rim = step(-back, 0.85, 0.45) * step(up, -0.75, -0.3)
    relief = 4.6 * np.exp(-(((r - 0.92) / 0.075) ** 2)) * rim
    relief += (
        3.4 * np.exp(-(((r - 0.56) / 0.11) ** 2)) * step(back, -0.25, 0.3) * step(up, -0.9, -0.5)
    )
    relief -= 8.0 * blob(p, q, 1.0, -4, 6.0, 9.0)
    relief -= 1.6 * np.exp(-(((r - 0.76) / 0.07) ** 2)) * rim
    relief -= 2.0 * blob(p, q, 1.0, 13, 6, 4)
    relief += 4.0 * blob(p, q, -8.5, -5, 3.2, 5.5)
    relief += 2.5 * blob(p, q, 5.5, -15.5, 4, 3)
    relief += 1.5 * blob(p, q, -1, -25, 7, 5)
    thick = behind * 8.0
    lift = 0.36 * (1 + 0.8 * identity.ear_flare) * (p + 9) * step(p, -16, -4)
    w = relief + 1.0 + lift - thick * np.clip((p + 14) / 16, 0.25, 1)
    size = 0.93 + 0.13 * identity.ear_size
    lean = np.radians(-14)
    y = size * (np.cos(lean) * q + np.sin(lean) * p) - 11.0
    z = size * (-np.cos(lean) * p + np.sin(lean) * q) - 9.0
    points = np.stack([side * (70.5 + w - 0.07 * np.maximum(-10 - y, 0)), y, z], -1)
    dark = 1 - 0.55 * blob(p, q, -1, -4, 5.5, 8) - 0.2 * np.exp(-(((r - 0.78) / 0.07) ** 2)) * rim
    dark = dark * (1 - 0.5 * behind)
    red = np.array([1.0, 0.86, 0.84]) ** (0.6 + 0.8 * step(r, 0.6, 1.0))[..., None]
    colours = skin * red * dark[..., None]
    return grid_part(points, colours, BARE, flip=side > 0)


def shoulders(colour: Floats) -> Part:
    """Return a plain shirt, which does not follow the head."""
    t, a = np.meshgrid(np.linspace(0, 1, 26), np.linspace(-np.pi, np.pi, 73), indexing="ij")
    wide = 53 + 158 * step(t, 0.06, 0.85) ** 0.8
    deep = 60 + 39 * step(t, 0.0, 0.7)
    down = -138 - 40 * t - 190 * np.clip(t - 0.25, 0, 1) ** 1.6
    front = np.cos(a)
    y = down - 17 * np.clip(front, 0, 1) * (1 - t) - 25 * np.abs(np.sin(a)) ** 3 * (1 - t) * 0.3
    points = np.stack([wide * np.sin(a), y, -16 + deep * front * (1 + 0.12 * step(t, 0, 0.3))], -1)
    collar = 1 - 0.3 * np.exp(-(((t - 0.09) / 0.02) ** 2))
    colours = colour * collar[..., None] * np.ones_like(points)
    return grid_part(points, colours, CLOTH)
