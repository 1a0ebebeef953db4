"""What light makes of a surface: skin that scatters, wet eyes, strands of hair, cloth.

One pixel at a time, compiled with numba. All colours are linear RGB.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from swapper.actors.lids import corner_line, edge
from swapper.actors.organs import BARE, ENAMEL, EYE, FLESH, HAIR, SKIN
from swapper.actors.surface import EYE_INNER, EYE_OUTER

Single = NDArray[np.float32]
IRIS = 0.45
"""Polar angle of the iris' edge on the eyeball, radians."""


class Mesh(NamedTuple):
    """A posed scene, ready to shade.

    Attributes:
        triangles: (T, 3) int32.
        material: (T,) int32.
        screen: (N, 3) float32, pixels and nearness.
        world, normals, soft, tangents: (N, 3) float32; `soft` are normals blurred as light blurs
            under skin, `tangents` run along strands.
        place: (N, 2) float32: texels for skin, polar and azimuth for eyes.
        local: (N, 2) float32: template x and y beside an eye's lids.
        colours: (N, 3) float32.
        open_sky: (N,) float32 in [0, 1].
        lit: (N, 3) float32, pixels and nearness in the shadow map.
    """

    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    screen: Single
    world: Single
    normals: Single
    soft: Single
    tangents: Single
    place: Single
    local: Single
    colours: Single
    open_sky: Single
    lit: Single


class Scene(NamedTuple):
    """What the mesh is seen under.

    Attributes:
        towards, light: (L, 3) lights; the first one casts `shadow`.
        sky, ground: (3,) ambient light.
        eye: (3,) where the lens is.
        shadow: (S, S) float32, nearness of what the key light sees.
        colour: (K, K, 3) float32, skin texture.
        relief, gloss: (K, K) float32.
        lids: (2, 2) heights of the upper and lower lid's edge, left and right.
        iris: (2, 3) colours of the iris' middle and rim.
        scatter: (3,) how far red, green and blue light wrap around the skin.
    """

    towards: NDArray[np.float64]
    light: NDArray[np.float64]
    sky: NDArray[np.float64]
    ground: NDArray[np.float64]
    eye: NDArray[np.float64]
    shadow: Single
    colour: Single
    relief: Single
    gloss: Single
    lids: NDArray[np.float64]
    iris: NDArray[np.float64]
    scatter: NDArray[np.float64]


@njit(cache=True, nogil=True)
def _mix(values: Any, a: int, b: int, c: int, wa: float, wb: float, wc: float) -> Any:
    return (
        wa * values[a, 0] + wb * values[b, 0] + wc * values[c, 0],
        wa * values[a, 1] + wb * values[b, 1] + wc * values[c, 1],
        wa * values[a, 2] + wb * values[b, 2] + wc * values[c, 2],
    )


@njit(cache=True, nogil=True)
def _unit(x: float, y: float, z: float) -> Any:
    inverse = 1.0 / math.sqrt(x * x + y * y + z * z + 1e-20)
    return x * inverse, y * inverse, z * inverse


@njit(cache=True, nogil=True)
def _lit_share(shadow: Single, x: float, y: float, near: float, facing: float) -> float:
    """Share of the key light that arrives: 5 by 5 comparisons, blurred as a soft box blurs.

    Args:
        shadow: What the light sees.
        x, y, near: The place in it.
        facing: Cosine between the surface and the light; steep ones need more tolerance.
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


@njit(cache=True, nogil=True)
def _texel(texture: Any, u: float, v: float, channel: int) -> float:
    size = texture.shape[0]
    j = min(max(int(u), 0), size - 2)
    i = min(max(int(v), 0), size - 2)
    fu, fv = u - j, v - i
    top = texture[i, j, channel] * (1 - fu) + texture[i, j + 1, channel] * fu
    low = texture[i + 1, j, channel] * (1 - fu) + texture[i + 1, j + 1, channel] * fu
    return top * (1 - fv) + low * fv


@njit(cache=True, nogil=True)
def _height(relief: Any, u: float, v: float) -> float:
    size = relief.shape[0]
    j = min(max(int(u), 0), size - 2)
    i = min(max(int(v), 0), size - 2)
    fu, fv = u - j, v - i
    top = relief[i, j] * (1 - fu) + relief[i, j + 1] * fu
    return top * (1 - fv) + (relief[i + 1, j] * (1 - fu) + relief[i + 1, j + 1] * fu) * fv


@njit(cache=True, nogil=True)
def _bumped(
    mesh: Any, scene: Any, t: int, u: float, v: float, nx: float, ny: float, nz: float
) -> Any:
    """The normal, tilted by the relief's slope (Mikkelsen, 2010)."""
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
    hu = 0.5 * (_height(scene.relief, u + 1, v) - _height(scene.relief, u - 1, v))
    hv = 0.5 * (_height(scene.relief, u, v + 1) - _height(scene.relief, u, v - 1))
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
    return _unit(nx - gx * limit, ny - gy * limit, nz - gz * limit)


@njit(cache=True, nogil=True)
def _iris(scene: Any, polar: float, azimuth: float) -> Any:
    """Colour of the eyeball at a place on it."""
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


@njit(cache=True, nogil=True)
def _under_lids(scene: Any, x: float, y: float) -> float:
    """How much light gets past lids and lashes to the eyeball."""
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


@njit(cache=True, nogil=True)
def _pixel(mesh: Any, scene: Any, t: int, wa: float, wb: float, wc: float) -> Any:
    """Linear RGB of one place on triangle t."""
    a, b, c = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
    material = mesh.material[t]
    x, y, z = _mix(mesh.world, a, b, c, wa, wb, wc)
    vx, vy, vz = _unit(scene.eye[0] - x, scene.eye[1] - y, scene.eye[2] - z)
    nx, ny, nz = _unit(*_mix(mesh.normals, a, b, c, wa, wb, wc))
    if nx * vx + ny * vy + nz * vz < 0 and material != SKIN:
        nx, ny, nz = -nx, -ny, -nz
    red, green, blue = _mix(mesh.colours, a, b, c, wa, wb, wc)
    sky = wa * mesh.open_sky[a] + wb * mesh.open_sky[b] + wc * mesh.open_sky[c]
    sx, sy, sz = nx, ny, nz
    gloss, wrap_r, wrap_g, wrap_b, wet = 0.0, 0.0, 0.0, 0.0, 0.0
    if material == SKIN or material == BARE:
        sx, sy, sz = _unit(*_mix(mesh.soft, a, b, c, wa, wb, wc))
        wrap_r, wrap_g, wrap_b = scene.scatter[0], scene.scatter[1], scene.scatter[2]
        gloss = 0.25
    if material == SKIN:
        u = wa * mesh.place[a, 0] + wb * mesh.place[b, 0] + wc * mesh.place[c, 0]
        v = wa * mesh.place[a, 1] + wb * mesh.place[b, 1] + wc * mesh.place[c, 1]
        red, green, blue = (_texel(scene.colour, u, v, 0), _texel(scene.colour, u, v, 1),
                            _texel(scene.colour, u, v, 2))  # fmt: skip
        gloss = scene.gloss[min(int(v + 0.5), scene.gloss.shape[0] - 1),
                            min(int(u + 0.5), scene.gloss.shape[0] - 1)]  # fmt: skip
        nx, ny, nz = _bumped(mesh, scene, t, u, v, nx, ny, nz)
    elif material == EYE:
        polar = wa * mesh.place[a, 0] + wb * mesh.place[b, 0] + wc * mesh.place[c, 0]
        azimuth = wa * mesh.place[a, 1] + wb * mesh.place[b, 1] + wc * mesh.place[c, 1]
        red, green, blue = _iris(scene, polar, azimuth)
        ex = wa * mesh.local[a, 0] + wb * mesh.local[b, 0] + wc * mesh.local[c, 0]
        ey = wa * mesh.local[a, 1] + wb * mesh.local[b, 1] + wc * mesh.local[c, 1]
        sky = _under_lids(scene, ex, ey)
        wrap_r, wrap_g, wrap_b, wet = 0.3, 0.22, 0.2, 1.0
    elif material == ENAMEL or material == FLESH:
        wrap_r, wrap_g, wrap_b = 0.4, 0.3, 0.3
        wet = 0.25 if material == ENAMEL else 0.04
    up = 0.5 + 0.5 * sy
    r = (scene.ground[0] * (1 - up) + scene.sky[0] * up) * sky
    g = (scene.ground[1] * (1 - up) + scene.sky[1] * up) * sky
    bl = (scene.ground[2] * (1 - up) + scene.sky[2] * up) * sky
    shine_r, shine_g, shine_b = 0.0, 0.0, 0.0
    lx, ly, near = _mix(mesh.lit, a, b, c, wa, wb, wc)
    tx, ty, tz = 0.0, 0.0, 0.0
    if material == HAIR:
        tx, ty, tz = _unit(*_mix(mesh.tangents, a, b, c, wa, wb, wc))
    facing = max(nx * vx + ny * vy + nz * vz, 0.0)
    for k in range(scene.towards.shape[0]):
        dx, dy, dz = scene.towards[k, 0], scene.towards[k, 1], scene.towards[k, 2]
        arrives = 1.0
        if k == 0:
            arrives = _lit_share(scene.shadow, lx, ly, near, sx * dx + sy * dy + sz * dz)
        else:
            arrives = 0.35 + 0.65 * sky
        if material == EYE:
            arrives *= sky
        elif material == ENAMEL:
            arrives = 0.4 + 0.6 * arrives
        sharp = nx * dx + ny * dy + nz * dz
        blunt = sx * dx + sy * dy + sz * dz
        hx, hy, hz = _unit(dx + vx, dy + vy, dz + vz)
        nh = max(nx * hx + ny * hy + nz * hz, 0.0)
        if material == HAIR:
            along = tx * dx + ty * dy + tz * dz
            th = tx * hx + ty * hy + tz * hz
            diffuse = math.sqrt(max(1 - along * along, 0.0)) * max(0.25 + 0.75 * sharp, 0.0)
            base = math.sqrt(max(1 - th * th, 0.0))
            light = diffuse * arrives
            r += scene.light[k, 0] * light * 0.8
            g += scene.light[k, 1] * light * 0.8
            bl += scene.light[k, 2] * light * 0.8
            shine = arrives * max(min(0.3 + sharp * 2, 1.0), 0.0)
            band = 0.05 * base**90 * shine
            glow = 0.55 * base**22 * shine
            shine_r += scene.light[k, 0] * (band + glow * red)
            shine_g += scene.light[k, 1] * (band + glow * green)
            shine_b += scene.light[k, 2] * (band + glow * blue)
            continue
        # Red light travels furthest under the skin: softer normals, wider wrap.
        dr = max((0.3 * sharp + 0.7 * blunt + wrap_r) / (1 + wrap_r), 0.0)
        dg = max((0.65 * sharp + 0.35 * blunt + wrap_g) / (1 + wrap_g), 0.0)
        db = max((0.8 * sharp + 0.2 * blunt + wrap_b) / (1 + wrap_b), 0.0)
        reddened = arrives ** (1.0 - 0.6 * wrap_r)
        r += scene.light[k, 0] * dr * reddened
        g += scene.light[k, 1] * dg * arrives
        bl += scene.light[k, 2] * db * arrives
        if sharp <= 0:
            continue
        grazing = (1.0 - max(hx * vx + hy * vy + hz * vz, 0.0)) ** 5
        if gloss > 0.0:
            mirror = (0.03 + 0.97 * grazing) * gloss
            lobes = 0.7 * 2.2 * nh**18 + 0.3 * 9.0 * nh**80
            shine = mirror * lobes * sharp * arrives
        else:
            shine = wet * (0.03 + 0.9 * grazing) * (70.0 * nh**300 + 1.0 * nh**60) * sharp
            shine *= arrives
        shine_r += scene.light[k, 0] * shine
        shine_g += scene.light[k, 1] * shine
        shine_b += scene.light[k, 2] * shine
    rim = 0.0
    if gloss > 0.0 or wet > 0.0:
        rim = (1.0 - facing) ** 4 * 0.12 * sky
    return (
        red * r * 0.3183 * 1.25 + shine_r + rim * scene.sky[0],
        green * g * 0.3183 * 1.25 + shine_g + rim * scene.sky[1],
        blue * bl * 0.3183 * 1.25 + shine_b + rim * scene.sky[2],
    )


@njit(cache=True, nogil=True)
def shade(
    mesh: Mesh, scene: Scene, seen: NDArray[np.int32], backdrop: Single, picture: Single
) -> None:
    """Fill a picture.

    Args:
        mesh: The posed scene.
        scene: Its light.
        seen: (H, W) int32 from `rasterise`.
        backdrop: (H, W, 3) float32 linear RGB where nothing is seen.
        picture: (H, W, 3) float32, written.
    """
    height, width = seen.shape
    for i in range(height):
        for j in range(width):
            t = seen[i, j]
            if t < 0:
                for k in range(3):
                    picture[i, j, k] = backdrop[i, j, k]
                continue
            a, b, c = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
            s = mesh.screen
            area = (s[b, 0] - s[a, 0]) * (s[c, 1] - s[a, 1]) - (s[b, 1] - s[a, 1]) * (
                s[c, 0] - s[a, 0]
            )
            wb = ((j - s[a, 0]) * (s[c, 1] - s[a, 1]) - (i - s[a, 1]) * (s[c, 0] - s[a, 0])) / area
            wc = ((s[b, 0] - s[a, 0]) * (i - s[a, 1]) - (s[b, 1] - s[a, 1]) * (j - s[a, 0])) / area
            # Straight on the screen is not straight in space: weights count by nearness.
            wa = (1.0 - wb - wc) * s[a, 2]
            wb, wc = wb * s[b, 2], wc * s[c, 2]
            total = wa + wb + wc
            red, green, blue = _pixel(mesh, scene, t, wa / total, wb / total, wc / total)
            picture[i, j, 0], picture[i, j, 1], picture[i, j, 2] = red, green, blue
