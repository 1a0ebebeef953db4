"""Three-point lighting, shadow maps and ambient occlusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.raster import rasterise
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.surface import Floats

SHADOW_SIZE = 384
_HALF_EXTENT = 165.0
"""Half the side of the shadow map's cube around the head, mm."""


def _direction(azimuth: float, elevation: float) -> Floats:
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def lights_of(stage: Stage) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the lights of a stage.

    Returns:
        (L, 3) unit vectors to the directional lights: key, fill, two rims; their (L, 3) linear RGB;
        (3,) ambient light from above and from below.
    """
    warm = np.array([1.0, 0.0, -1.0]) * 0.16 * stage.warmth
    side = 1.0 if stage.key_azimuth >= 0 else -1.0
    towards = np.stack([
        _direction(stage.key_azimuth, stage.key_elevation),
        _direction(-side * max(25.0, 75 - abs(stage.key_azimuth)), 8.0),
        _direction(-side * 138.0, 28.0),
        _direction(side * 150.0, 35.0),
    ])  # fmt: skip
    colour = np.stack([
        2.55 * stage.key_strength * np.exp(warm),
        1.5 * stage.fill_strength * np.exp(-0.8 * warm),
        2.4 * stage.rim_strength * np.exp(-0.5 * warm),
        1.2 * stage.rim_strength * np.exp(-0.5 * warm),
    ])  # fmt: skip
    gain = 2.0**stage.exposure
    sky = 1.15 * stage.ambient * np.exp(-0.3 * warm)
    ground = 0.65 * stage.ambient * np.exp(0.5 * warm + np.array([0.06, 0, -0.06]))
    return towards, colour * gain, sky * gain, ground * gain


def light_space(towards: Floats) -> Floats:
    """Return (3, 3) rows: right, up and towards the light."""
    helper = np.array([0.0, 1.0, 0.0]) if abs(towards[1]) < 0.95 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def depth_map(
    points: Floats, triangles: NDArray[np.int32], axes: Floats, size: int = SHADOW_SIZE
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Render a shadow map of a directional light.

    Returns:
        (size, size) float32 nearness in mm + 1000, 0 where nothing is; and the (N, 3) float32
        points in that map's pixels and nearness.
    """
    light_points = points @ axes.T
    scale = size / (2 * _HALF_EXTENT)
    flat = np.stack([
        (light_points[:, 0] + _HALF_EXTENT) * scale,
        (_HALF_EXTENT - light_points[:, 1] - 15) * scale,
        light_points[:, 2] + 1000.0,
    ], axis=1).astype(np.float32)  # fmt: skip
    triangle_ids = np.empty((size, size), np.int32)
    near = np.empty((size, size), np.float32)
    rasterise(flat, triangles, np.zeros(len(triangles), np.bool_), triangle_ids, near)
    return near, flat


def sky_visibility(
    points: Floats, normals: Floats, triangles: NDArray[np.int32], rays: int = 48
) -> Floats:
    """Return (N,) cosine-weighted visible share of the sky (ambient occlusion)."""
    k = np.arange(rays) + 0.5
    polar, around = np.arccos(1 - 2 * k / rays), np.pi * (1 + 5**0.5) * k
    directions = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], 1
    )
    total, weight = np.zeros(len(points)), np.zeros(len(points))
    for towards in directions:
        near, flat = depth_map(points, triangles, light_space(towards), 160)
        x = np.clip(np.round(flat[:, 0]).astype(int), 0, 159)
        y = np.clip(np.round(flat[:, 1]).astype(int), 0, 159)
        open_sky = near[y, x] < flat[:, 2] + 3.0
        cosine = np.maximum(normals @ towards, 0.0)
        total += cosine * open_sky
        weight += cosine
    return np.asarray(total / np.maximum(weight, 1e-6))
