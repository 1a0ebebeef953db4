"""Thin-plate spline warps as a grid of displacements.

Source: Bookstein 1989, "Principal warps", doi:10.1109/34.24792.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

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
    spline = RBFInterpolator(
        destination, source - destination, kernel="thin_plate_spline", smoothing=smoothing
    )
    return np.asarray(spline(nodes))


def smallest_area(flow: Floats, spacing: float) -> Floats:
    """Compute the area scale of a warp: (G - 1, G - 1), negative where it folds.

    `flow` (G, G, 2) are displacements (dx, dy) at nodes that lie `spacing` apart, in its units.
    """
    across = np.diff(flow, axis=1)[:-1] / spacing
    down = np.diff(flow, axis=0)[:, :-1] / spacing
    return np.asarray((1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0])
