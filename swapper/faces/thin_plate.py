"""Thin-plate spline warps as a grid of displacements.

Source: Bookstein 1989, "Principal warps", doi:10.1109/34.24792.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def thin_plate_flow(
    destination: Floats, source: Floats, nodes: Floats, smoothing: float = 1e-3
) -> Floats:
    """Compute the backward flow that moves `source` to `destination`.

    Args:
        destination: (P, 2) points in the warped image, not all collinear.
        source: (P, 2) corresponding points in the input image.
        nodes: (M, 2) positions in the warped image at which to evaluate the flow.
        smoothing: Regularisation, in squared units of the points; 0 interpolates the points, which
            must then be distinct.

    Returns:
        (M, 2): source position minus node.
    """
    count = len(destination)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(destination, destination)
    system[:count, :count][np.diag_indices(count)] += smoothing
    system[:count, count:] = _affine(destination)
    system[count:, :count] = system[:count, count:].T
    moved = np.zeros((count + 3, 2))
    moved[:count] = source - destination
    weights = np.linalg.solve(system, moved)
    flow: Floats = _kernel(nodes, destination) @ weights[:count] + _affine(nodes) @ weights[count:]
    return flow


def _kernel(points: Floats, centres: Floats) -> Floats:
    """Return (P, Q) thin-plate kernel r² log r between points (P, 2) and (Q, 2)."""
    squared = np.square(points[:, None] - centres[None]).sum(axis=2)
    return np.asarray(squared * np.log(np.maximum(squared, 1e-300)) / 2)


def _affine(points: Floats) -> Floats:
    return np.column_stack([np.ones(len(points)), points])


def smallest_area(flow: Floats, spacing: float) -> Floats:
    """Compute the area scale of a warp in each cell of its grid.

    Args:
        flow: (G, G, 2) displacements (dx, dy) at the nodes.
        spacing: Distance of the nodes, in units of the displacements.

    Returns:
        (G - 1, G - 1) input area of each cell, in cells; negative where the warp folds.
    """
    across = np.diff(flow, axis=1)[:-1] / spacing
    down = np.diff(flow, axis=0)[:, :-1] / spacing
    return np.asarray((1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0])
