"""Deterministic noise of position and seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.surface import Floats


def lattice_noise(x: NDArray[np.int64], y: NDArray[np.int64], seed: int) -> Floats:
    """Return a hash in [0, 1) of each lattice point."""
    with np.errstate(over="ignore"):
        h = x.astype(np.uint32) * np.uint32(374761393) + y.astype(np.uint32) * np.uint32(668265263)
        h = h + np.uint32(seed & 0xFFFFFFFF) * np.uint32(2246822519)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(2654435761)
        h ^= h >> np.uint32(15)
    return np.asarray(h.astype(np.float64) / 2**32)


def value_noise(x: Floats, y: Floats, seed: int) -> Floats:
    """Value noise in [0, 1]; one feature a unit of x and y."""
    left, top = np.floor(x), np.floor(y)
    fx, fy = x - left, y - top
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = left.astype(np.int64), top.astype(np.int64)
    upper = lattice_noise(i, j, seed) * (1 - fx) + lattice_noise(i + 1, j, seed) * fx
    lower = lattice_noise(i, j + 1, seed) * (1 - fx) + lattice_noise(i + 1, j + 1, seed) * fx
    return np.asarray(upper * (1 - fy) + lower * fy)


def fbm(x: Floats, y: Floats, seed: int, octaves: int = 4) -> Floats:
    """Return fractal noise (fBm) in [-1, 1] with mean about 0."""
    total, weight = np.zeros_like(x), 0.0
    for octave in range(octaves):
        share = 0.5**octave
        total += share * (2 * value_noise(x * 2**octave, y * 2**octave, seed + octave) - 1)
        weight += share
    return total / weight


def speckles(x: Floats, y: Floats, seed: int, density: float, size: float) -> Floats:
    """Return round spots, at most one per unit cell: 1 at a spot's centre, 0 outside.

    `density` is the share of cells with a spot, `size` the largest radius in cells, up to 0.5.
    """
    left, top = np.floor(x), np.floor(y)
    total = np.zeros_like(x)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            i, j = (left + dx).astype(np.int64), (top + dy).astype(np.int64)
            cx, cy = left + dx + lattice_noise(i, j, seed), top + dy + lattice_noise(i, j, seed + 1)
            radius = size * (0.35 + 0.65 * lattice_noise(i, j, seed + 2))
            far = np.hypot(x - cx, y - cy) / radius
            spot = np.clip(1.3 - far, 0, 1) * (lattice_noise(i, j, seed + 3) < density)
            total = np.maximum(total, np.clip(spot * 1.6, 0, 1))
    return total
