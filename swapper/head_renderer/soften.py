"""Blurred normals for subsurface scattering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import compiled


@compiled
def soften(normals: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return (R, C, 3) unit normals averaged over `radius` rows and columns on each side."""
    rows, columns = normals.shape[0], normals.shape[1]
    half = np.empty_like(normals)
    result = np.empty_like(normals)
    for i in range(rows):
        for j in range(columns):
            low, high = max(j - radius, 0), min(j + radius, columns - 1)
            for k in range(3):
                total = 0.0
                for n in range(low, high + 1):
                    total += normals[i, n, k]
                half[i, j, k] = total
    for i in range(rows):
        low, high = max(i - radius, 0), min(i + radius, rows - 1)
        for j in range(columns):
            length = 1e-12
            for k in range(3):
                total = 0.0
                for n in range(low, high + 1):
                    total += half[n, j, k]
                result[i, j, k] = total
                length += total * total
            inverse = 1.0 / np.sqrt(length)
            for k in range(3):
                result[i, j, k] *= inverse
    return result
