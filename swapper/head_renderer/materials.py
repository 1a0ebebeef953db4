"""Lookups of the shader: textures, relief, irises, lids and shadows.

Compiled with numba; called for each pixel by `shade`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import inlined
from swapper.head_renderer.lids import corner_line, edge
from swapper.head_renderer.surface import EYE_INNER, EYE_OUTER

Single = NDArray[np.float32]
IRIS = 0.45
"""Polar angle of the iris' edge on the eyeball, radians."""


@inlined
def mix(values: Any, a: int, b: int, c: int, wa: float, wb: float, wc: float) -> Any:
    """Interpolate three components of the vertices a, b and c by their weights."""
    return (
        wa * values[a, 0] + wb * values[b, 0] + wc * values[c, 0],
        wa * values[a, 1] + wb * values[b, 1] + wc * values[c, 1],
        wa * values[a, 2] + wb * values[b, 2] + wc * values[c, 2],
    )


@inlined
def unit(x: float, y: float, z: float) -> Any:
    """Return the vector normalised to length 1."""
    inverse = 1.0 / math.sqrt(x * x + y * y + z * z + 1e-20)
    return x * inverse, y * inverse, z * inverse


@inlined
def lit_share(shadow: Single, x: float, y: float, near: float, facing: float) -> float:
    """Return the visible share of the key light: 5 x 5 percentage-closer filtering.

    The point lies at column x and row y of the shadow map with nearness `near`; `facing` is the
    cosine between the surface and the light, steep ones need more tolerance.
    """
    facing = max(facing, 0.2)
    bias = 1.2 + 2.4 * math.sqrt(1 - facing * facing) / facing
    size = shadow.shape[0]
    total = 0.0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            u, v = x + 1.15 * dx, y + 1.15 * dy
            i, j = int(v), int(u)
            if i < 0 or j < 0 or i >= size - 1 or j >= size - 1:
                total += 1.0
                continue
            gap = shadow[int(v + 0.5), int(u + 0.5)] - near
            total += 1.0 - min(max((gap - bias) / 2.2, 0.0), 1.0)
    return total / 25.0


@inlined
def texel(texture: Any, u: float, v: float, channel: int) -> Any:
    """Sample one channel of a texture bilinearly; u is the column."""
    size = texture.shape[0]
    j = min(max(int(u), 0), size - 2)
    i = min(max(int(v), 0), size - 2)
    fu, fv = u - j, v - i
    top = texture[i, j, channel] * (1 - fu) + texture[i, j + 1, channel] * fu
    low = texture[i + 1, j, channel] * (1 - fu) + texture[i + 1, j + 1, channel] * fu
    return top * (1 - fv) + low * fv


@inlined
def bumped(
    mesh: Any, scene: Any, t: int, u: float, v: float, nx: float, ny: float, nz: float
) -> Any:
    """Return the normal perturbed by the relief (bump mapping; Mikkelsen, 2010)."""
    a, b, c = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
    u1, v1 = mesh.place[b, 0] - mesh.place[a, 0], mesh.place[b, 1] - mesh.place[a, 1]
    u2, v2 = mesh.place[c, 0] - mesh.place[a, 0], mesh.place[c, 1] - mesh.place[a, 1]
    det = u1 * v2 - u2 * v1
    if abs(det) < 1e-6:
        return nx, ny, nz
    world = mesh.world
    e1x, e1y, e1z = (world[b, 0] - world[a, 0], world[b, 1] - world[a, 1],
                     world[b, 2] - world[a, 2])  # fmt: skip
    e2x, e2y, e2z = (world[c, 0] - world[a, 0], world[c, 1] - world[a, 1],
                     world[c, 2] - world[a, 2])  # fmt: skip
    px, py, pz = ((v2 * e1x - v1 * e2x) / det, (v2 * e1y - v1 * e2y) / det,
                  (v2 * e1z - v1 * e2z) / det)  # fmt: skip
    qx, qy, qz = ((u1 * e2x - u2 * e1x) / det, (u1 * e2y - u2 * e1y) / det,
                  (u1 * e2z - u2 * e1z) / det)  # fmt: skip
    hu = 0.5 * (texel(scene.relief, u + 1, v, 0) - texel(scene.relief, u - 1, v, 0))
    hv = 0.5 * (texel(scene.relief, u, v + 1, 0) - texel(scene.relief, u, v - 1, 0))
    # Gradients of u and v over the surface.
    cx, cy, cz = qy * nz - qz * ny, qz * nx - qx * nz, qx * ny - qy * nx
    dx, dy, dz = ny * pz - nz * py, nz * px - nx * pz, nx * py - ny * px
    volume = px * cx + py * cy + pz * cz
    if abs(volume) < 1e-4:
        return nx, ny, nz
    gx, gy, gz = ((hu * cx + hv * dx) / volume, (hu * cy + hv * dy) / volume,
                  (hu * cz + hv * dz) / volume)  # fmt: skip
    steep = math.sqrt(gx * gx + gy * gy + gz * gz)
    limit = min(1.0, 0.6 / (steep + 1e-9))
    return unit(nx - gx * limit, ny - gy * limit, nz - gz * limit)


@inlined
def iris(scene: Any, polar: float, azimuth: float) -> Any:
    """Return the colour of the eyeball at polar coordinates."""
    if polar < IRIS + 0.03:
        r = polar / IRIS
        fibre = math.sin(azimuth * 23 + 3 * math.sin(azimuth * 5)) * math.sin(azimuth * 41 + 1.7)
        k = min(max((r - 0.38) / 0.55, 0.0), 1.0)
        shade = 1.0 + 0.28 * fibre
        shade *= 1.0 - 0.75 * min(max((r - 0.8) / 0.2, 0.0), 1.0) ** 2
        pupil = min(max((r - 0.34) / 0.08, 0.0), 1.0)
        rim = min(max((r - 0.97) / 0.09, 0.0), 1.0)
        shade *= 0.03 + 0.97 * pupil
        red = (scene.iris[0, 0] * (1 - k) + scene.iris[1, 0] * k) * shade
        green = (scene.iris[0, 1] * (1 - k) + scene.iris[1, 1] * k) * shade
        blue = (scene.iris[0, 2] * (1 - k) + scene.iris[1, 2] * k) * shade
        return (red * (1 - rim) + 0.55 * rim, green * (1 - rim) + 0.51 * rim,
                blue * (1 - rim) + 0.49 * rim)  # fmt: skip
    veins = 0.04 * math.sin(azimuth * 9 + polar * 31) * math.sin(azimuth * 17 - polar * 13)
    flush = min(max((polar - 0.6) / 0.6, 0.0), 1.0)
    return (0.70 - 0.06 * flush, 0.655 - 0.16 * flush - max(veins, 0.0),
            0.63 - 0.17 * flush - max(veins, 0.0))  # fmt: skip


@inlined
def under_lids(scene: Any, x: float, y: float) -> float:
    """Return the share of light that reaches the eyeball past lids and lashes."""
    side = 0 if x > 0 else 1
    a = abs(x)
    t = (a - EYE_INNER) / (EYE_OUTER - EYE_INNER)
    line = corner_line(a)
    top = line + edge(t, scene.lids[side, 0]) - y
    low = y - line - edge(t, scene.lids[side, 1])
    shade = min(max((top + 0.4) / 4.2, 0.0), 1.0)
    shade = 0.22 + 0.78 * shade * (2 - shade)
    shade *= 0.6 + 0.4 * min(max((low + 0.3) / 1.6, 0.0), 1.0)
    corner = min(max(min(t, 1.0 - t) / 0.16, 0.0), 1.0)
    return shade * (0.55 + 0.45 * corner)
