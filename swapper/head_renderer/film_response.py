"""Linear light to image: tone mapping, motion blur, lens blur and grain; and the backdrop."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import compiled
from swapper.head_renderer.noise import fbm
from swapper.head_renderer.stage import FilmStock, Stage

Single = NDArray[np.float32]


@lru_cache(maxsize=8)
def backdrop(stage: Stage, size: int) -> Single:
    """Return (size, size, 3) linear RGB of an out-of-focus wall."""
    y, x = np.mgrid[0:size, 0:size] / size
    hue = stage.backdrop_hue * 2 * np.pi
    tint = 1 + 0.35 * np.cos(hue - np.array([0.0, 2.094, 4.189]))
    light = stage.backdrop_light**2 * 0.9 + 0.004
    soft = 0.75 + 0.5 * fbm(x * 2.1 + 7, y * 2.1, stage.seed + 101, 2)
    fall = 1.15 - 0.5 * y + 0.25 * np.sign(stage.key_azimuth) * (x - 0.5)
    spots = np.zeros_like(x)
    rng = np.random.default_rng([stage.seed, 0xB0])
    for _ in range(int(rng.integers(0, 7))):
        cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 0.8), rng.uniform(0.03, 0.14)
        spots += rng.uniform(0.2, 0.9) / (1 + np.exp((np.hypot(x - cx, y - cy) / radius - 1) * 9))
    wall = (soft * fall + spots)[..., None] * light * tint
    return np.ascontiguousarray(np.maximum(wall, 0).astype(np.float32))


def tone_map(picture: Single) -> Single:
    """Map linear light to sRGB in [0, 1], compressing highlights.

    The curve is Narkowicz's fit of ACES (2015).
    """
    x = np.maximum(picture, 0.0) * np.float32(0.66)
    mapped = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    mapped = np.clip(mapped, 0, 1)
    return np.where(
        mapped < 0.0031308, mapped * 12.92, 1.055 * np.power(mapped, 1 / 2.4) - 0.055
    ).astype(np.float32)


def downsample(values: Single, factor: int) -> Single:
    """Average blocks of factor x factor pixels."""
    if factor == 1:
        return values
    height, width = values.shape[0] // factor, values.shape[1] // factor
    small = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


@compiled
def motion_blur(picture: Single, motion: Single, shutter: float, result: Single) -> None:
    """Blur a picture (H, W, 3) along each pixel's motion since the last frame, (H, W, 2) pixels.

    `shutter` is the exposed share of the frame; `result` (H, W, 3) is written.
    """
    height, width = picture.shape[0], picture.shape[1]
    for i in range(height):
        for j in range(width):
            dx, dy = motion[i, j, 0] * shutter, motion[i, j, 1] * shutter
            far = np.sqrt(dx * dx + dy * dy)
            taps = min(int(far * 1.5) + 1, 9)
            for k in range(3):
                result[i, j, k] = 0.0
            for n in range(taps):
                f = (n + 0.5) / taps - 0.5
                x = min(max(j + f * dx, 0.0), width - 1.001)
                y = min(max(i + f * dy, 0.0), height - 1.001)
                a, b = int(x), int(y)
                fx, fy = x - a, y - b
                for k in range(3):
                    top = picture[b, a, k] * (1 - fx) + picture[b, a + 1, k] * fx
                    low = picture[b + 1, a, k] * (1 - fx) + picture[b + 1, a + 1, k] * fx
                    result[i, j, k] += (top * (1 - fy) + low * fy) / taps


def apply_film(picture: Single, film: FilmStock, seed: int, index: int) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 from (S, S, 3) sRGB in [0, 1]: lens blur, vignette and grain.

    The stage's seed and the number of the frame select the grain.
    """
    size = picture.shape[0]
    sigma = film.softness * size
    if sigma > 0.15:
        taps = (2 * max(1, int(np.ceil(3 * sigma))) + 1,) * 2
        blurred = cv2.GaussianBlur(picture, taps, sigma, borderType=cv2.BORDER_REPLICATE)
        picture = blurred.astype(np.float32, copy=False)
    if film.vignette:
        y, x = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
        fall = 1 - film.vignette * np.clip(2 * (x * x + y * y), 0, 1) ** 1.5
        picture = picture * fall.astype(np.float32)[..., None]
    if film.grain:
        rng = np.random.default_rng([seed, 0xF1, index])
        grain = rng.normal(0, 1, (size, size, 1)) + 0.35 * rng.normal(0, 1, (size, size, 3))
        middle = 0.5 + picture * (1 - picture) * 2
        picture = picture + (grain * film.grain * middle).astype(np.float32)
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
