"""Shading: subsurface skin, wet eyes, hair strands, cloth.

Per pixel, compiled with numba. All colours are linear RGB.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import compiled, inlined
from swapper.head_renderer.materials import bumped, iris, lit_share, mix, texel, under_lids, unit
from swapper.head_renderer.organs import BARE, ENAMEL, EYE, FLESH, HAIR, SKIN

Single = NDArray[np.float32]
DIFFUSE = 1.25 / math.pi


class Mesh(NamedTuple):
    """A posed scene, ready to shade.

    Attributes:
        triangles: (T, 3) int32.
        material: (T,) int32.
        screen: (N, 3) float32, pixels and nearness.
        world, normals, soft, tangents: (N, 3) float32; `soft` are normals blurred as light blurs
            under skin, `tangents` run along strands.
        place: (N, 2) float32: texels for skin, polar and azimuth for eyes.
        local: (N, 2) float32: template x and y of the eyeballs' vertices.
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
    """Lights, camera and materials.

    Attributes:
        towards, light: (L, 3) directions and colours; the first light casts `shadow`.
        sky, ground: (3,) ambient light.
        eye: (3,) position of the lens.
        shadow: (S, S) float32, shadow map of the key light (nearness).
        colour: (K, K, 3) float32, skin texture.
        relief: (K, K, 1) float32.
        gloss: (K, K) float32.
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


@inlined
def _surface(mesh: Any, scene: Any, t: int, wa: float, wb: float, wc: float, normal: Any) -> Any:
    """Evaluate the material.

    Returns:
        Albedo (3), normal (3), gloss, wrap (3), wetness, share of the sky.
    """
    a, b, c = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
    material = mesh.material[t]
    colour = mix(mesh.colours, a, b, c, wa, wb, wc)
    sky = wa * mesh.open_sky[a] + wb * mesh.open_sky[b] + wc * mesh.open_sky[c]
    gloss, wet = 0.0, 0.0
    wrap = (0.0, 0.0, 0.0)
    if material in (SKIN, BARE):
        wrap = (scene.scatter[0], scene.scatter[1], scene.scatter[2])
        gloss = 0.25
    u = wa * mesh.place[a, 0] + wb * mesh.place[b, 0] + wc * mesh.place[c, 0]
    v = wa * mesh.place[a, 1] + wb * mesh.place[b, 1] + wc * mesh.place[c, 1]
    if material == SKIN:
        colour = (
            texel(scene.colour, u, v, 0), texel(scene.colour, u, v, 1),
            texel(scene.colour, u, v, 2),
        )  # fmt: skip
        last = scene.gloss.shape[0] - 1
        gloss = float(scene.gloss[min(int(v + 0.5), last), min(int(u + 0.5), last)])
        normal = bumped(mesh, scene, t, u, v, normal[0], normal[1], normal[2])
    elif material == EYE:
        colour = iris(scene, u, v)
        x = wa * mesh.local[a, 0] + wb * mesh.local[b, 0] + wc * mesh.local[c, 0]
        y = wa * mesh.local[a, 1] + wb * mesh.local[b, 1] + wc * mesh.local[c, 1]
        sky = under_lids(scene, x, y)
        wrap, wet = (0.3, 0.22, 0.2), 1.0
    elif material in (ENAMEL, FLESH):
        wrap = (0.4, 0.3, 0.3)
        wet = 0.25 if material == ENAMEL else 0.04
    return colour, normal, gloss, wrap, wet, sky


@inlined
def _strand(scene: Any, tangent: Any, normal: Any, view: Any, key: float, secondary: float) -> Any:
    """Hair shading: diffuse and two specular highlights (Kajiya-Kay, 1989).

    Returns:
        Light to be multiplied by the hair colour (3), and specular light (3).
    """
    red, green, blue = 0.0, 0.0, 0.0
    shine_red, shine_green, shine_blue = 0.0, 0.0, 0.0
    for k in range(scene.towards.shape[0]):
        dx, dy, dz = scene.towards[k, 0], scene.towards[k, 1], scene.towards[k, 2]
        share = key if k == 0 else secondary
        sharp = normal[0] * dx + normal[1] * dy + normal[2] * dz
        hx, hy, hz = unit(dx + view[0], dy + view[1], dz + view[2])
        along = tangent[0] * dx + tangent[1] * dy + tangent[2] * dz
        half = tangent[0] * hx + tangent[1] * hy + tangent[2] * hz
        around = math.sqrt(max(1 - along * along, 0.0)) * max(0.25 + 0.75 * sharp, 0.0)
        base = math.sqrt(max(1 - half * half, 0.0))
        shine = share * max(min(0.3 + sharp * 2, 1.0), 0.0)
        strand_light = around * share * 0.8 * DIFFUSE + 0.55 * base**22 * shine
        band = 0.05 * base**90 * shine
        red += scene.light[k, 0] * strand_light
        green += scene.light[k, 1] * strand_light
        blue += scene.light[k, 2] * strand_light
        shine_red += scene.light[k, 0] * band
        shine_green += scene.light[k, 1] * band
        shine_blue += scene.light[k, 2] * band
    return red, green, blue, shine_red, shine_green, shine_blue


@inlined
def _diffuse(scene: Any, normal: Any, soft: Any, wrap: Any, key: float, secondary: float) -> Any:
    """Diffuse light (3) with subsurface scattering: red scatters furthest, so it uses softer
    normals and wraps further around.
    """  # fmt: skip
    red, green, blue = 0.0, 0.0, 0.0
    wrap_r, wrap_g, wrap_b = wrap
    for k in range(scene.towards.shape[0]):
        dx, dy, dz = scene.towards[k, 0], scene.towards[k, 1], scene.towards[k, 2]
        share = key if k == 0 else secondary
        sharp = normal[0] * dx + normal[1] * dy + normal[2] * dz
        blunt = soft[0] * dx + soft[1] * dy + soft[2] * dz
        bent_r = max((0.3 * sharp + 0.7 * blunt + wrap_r) / (1 + wrap_r), 0.0)
        bent_g = max((0.65 * sharp + 0.35 * blunt + wrap_g) / (1 + wrap_g), 0.0)
        bent_b = max((0.8 * sharp + 0.2 * blunt + wrap_b) / (1 + wrap_b), 0.0)
        reddened = share if share >= 1.0 or wrap_r == 0.0 else share ** (1.0 - 0.6 * wrap_r)
        red += scene.light[k, 0] * bent_r * reddened
        green += scene.light[k, 1] * bent_g * share
        blue += scene.light[k, 2] * bent_b * share
    return red * DIFFUSE, green * DIFFUSE, blue * DIFFUSE


@inlined
def _mirrored(
    scene: Any, normal: Any, view: Any, gloss: float, wet: float, key: float, secondary: float
) -> Any:
    """Specular light (3) of oily skin or wet surfaces; two lobes, Schlick's Fresnel (1994)."""
    red, green, blue = 0.0, 0.0, 0.0
    for k in range(scene.towards.shape[0]):
        dx, dy, dz = scene.towards[k, 0], scene.towards[k, 1], scene.towards[k, 2]
        sharp = normal[0] * dx + normal[1] * dy + normal[2] * dz
        if sharp <= 0:
            continue
        hx, hy, hz = unit(dx + view[0], dy + view[1], dz + view[2])
        nh = max(normal[0] * hx + normal[1] * hy + normal[2] * hz, 0.0)
        away = 1.0 - max(hx * view[0] + hy * view[1] + hz * view[2], 0.0)
        grazing = away * away * away * away * away
        share = (key if k == 0 else secondary) * sharp
        if gloss > 0.0:
            shine = (0.03 + 0.97 * grazing) * gloss * (1.54 * nh**18 + 2.7 * nh**80) * share
        else:
            shine = wet * (0.03 + 0.9 * grazing) * (70.0 * nh**300 + nh**60) * share
        red += scene.light[k, 0] * shine
        green += scene.light[k, 1] * shine
        blue += scene.light[k, 2] * shine
    return red, green, blue


@inlined
def _pixel(mesh: Any, scene: Any, t: int, wa: float, wb: float, wc: float) -> Any:
    """Return linear RGB at barycentric weights on triangle t."""
    a, b, c = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
    material = mesh.material[t]
    x, y, z = mix(mesh.world, a, b, c, wa, wb, wc)
    view = unit(scene.eye[0] - x, scene.eye[1] - y, scene.eye[2] - z)
    nx, ny, nz = mix(mesh.normals, a, b, c, wa, wb, wc)
    normal = unit(nx, ny, nz)
    facing = normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2]
    if facing < 0 and material != SKIN:
        normal = (-normal[0], -normal[1], -normal[2])
    soft = normal
    if material in (SKIN, BARE):
        sx, sy, sz = mix(mesh.soft, a, b, c, wa, wb, wc)
        soft = unit(sx, sy, sz)
    colour, normal, gloss, wrap, wet, sky = _surface(mesh, scene, t, wa, wb, wc, normal)
    u, v, near = mix(mesh.lit, a, b, c, wa, wb, wc)
    towards = scene.towards
    lit = soft[0] * towards[0, 0] + soft[1] * towards[0, 1] + soft[2] * towards[0, 2]
    key, secondary = lit_share(scene.shadow, u, v, near, lit), 0.35 + 0.65 * sky
    if material == EYE:
        key, secondary = key * sky, secondary * sky
    elif material == ENAMEL:
        key, secondary = 0.4 + 0.6 * key, 0.4 + 0.6 * secondary
    up = 0.5 + 0.5 * soft[1]
    around = (
        (scene.ground[0] * (1 - up) + scene.sky[0] * up) * sky * DIFFUSE,
        (scene.ground[1] * (1 - up) + scene.sky[1] * up) * sky * DIFFUSE,
        (scene.ground[2] * (1 - up) + scene.sky[2] * up) * sky * DIFFUSE,
    )
    if material == HAIR:
        tx, ty, tz = mix(mesh.tangents, a, b, c, wa, wb, wc)
        r, g, bl, mr, mg, mb = _strand(scene, unit(tx, ty, tz), normal, view, key, secondary)
    else:
        r, g, bl = _diffuse(scene, normal, soft, wrap, key, secondary)
        mr, mg, mb = 0.0, 0.0, 0.0
        if gloss > 0.0 or wet > 0.0:
            mr, mg, mb = _mirrored(scene, normal, view, gloss, wet, key, secondary)
            facing = max(normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2], 0.0)
            rim = (1.0 - facing) ** 4 * 0.12 * sky
            mr, mg, mb = mr + rim * scene.sky[0], mg + rim * scene.sky[1], mb + rim * scene.sky[2]
    return (
        colour[0] * (r + around[0]) + mr, colour[1] * (g + around[1]) + mg,
        colour[2] * (bl + around[2]) + mb,
    )  # fmt: skip


@compiled
def shade(
    mesh: Mesh, scene: Scene, triangle_ids: NDArray[np.int32], backdrop: Single, picture: Single
) -> None:
    """Shade a picture (H, W, 3) float32, which is written.

    `triangle_ids` (H, W) come from `rasterise`; where nothing is seen `backdrop` (H, W, 3), linear
    RGB, is copied.
    """
    height, width = triangle_ids.shape
    for i in range(height):
        for j in range(width):
            t = triangle_ids[i, j]
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
            # Perspective-correct interpolation: weights are scaled by nearness.
            wa = (1.0 - wb - wc) * s[a, 2]
            wb, wc = wb * s[b, 2], wc * s[c, 2]
            total = wa + wb + wc
            red, green, blue = _pixel(mesh, scene, t, wa / total, wb / total, wc / total)
            picture[i, j, 0], picture[i, j, 1], picture[i, j, 2] = red, green, blue
