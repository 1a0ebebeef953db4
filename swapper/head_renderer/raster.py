"""Rasteriser: a z-buffer of triangle indices.

Compiled with numba, single-threaded and without the GIL, so that frames can be rendered in
parallel. Sums run in a fixed order: the same input gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.jit import compiled

NO_TRIANGLE = -1


@compiled
def rasterise(
    points: NDArray[np.float32],
    triangles: NDArray[np.int32],
    one_sided: NDArray[np.bool_],
    triangle_ids: NDArray[np.int32],
    nearness: NDArray[np.float32],
) -> None:
    """Rasterise triangles into a visibility buffer.

    Args:
        points: (N, 3) float32: x and y in pixels (centres at integers), and nearness, which grows
            towards the viewer and is linear on the screen (1/z of a lens, -z of parallel rays).
            A nearness of zero or less lies behind the viewer: such triangles are dropped.
        triangles: (T, 3) int32 into `points`.
        one_sided: (T,) whether to cull a triangle whose winding is clockwise (back face).
        triangle_ids: (H, W) int32, written: index of the nearest triangle, or `NO_TRIANGLE`.
        nearness: (H, W) float32, written: nearness there, 0 where nothing is.
    """
    height, width = triangle_ids.shape
    triangle_ids[:] = NO_TRIANGLE
    nearness[:] = 0.0
    for t in range(triangles.shape[0]):
        ia, ib, ic = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[ia, 0], points[ia, 1], points[ia, 2]
        bx, by, bz = points[ib, 0], points[ib, 1], points[ib, 2]
        cx, cy, cz = points[ic, 0], points[ic, 1], points[ic, 2]
        # y grows downwards, so counter-clockwise in space has a negative area here.
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area > -1e-9 and (one_sided[t] or area < 1e-9):
            continue
        if az <= 0.0 or bz <= 0.0 or cz <= 0.0:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx))))
        right = min(width - 1, int(np.floor(max(ax, bx, cx))))
        top = max(0, int(np.ceil(min(ay, by, cy))))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy))))
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
                wa = 1.0 - wb - wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                near = wa * az + wb * bz + wc * cz
                if near > nearness[y, x]:
                    nearness[y, x] = near
                    triangle_ids[y, x] = t


@compiled
def vertex_normals(
    points: NDArray[np.float64], triangles: NDArray[np.int32], weld: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return unit normals of points (N, 3), the area-weighted mean over a vertex's triangles.

    These are (T, 3), counter-clockwise from outside; `weld` (N,) is the vertex whose normal each
    one shares.
    """
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = (points[b, 0] - points[a, 0], points[b, 1] - points[a, 1],
                      points[b, 2] - points[a, 2])  # fmt: skip
        vx, vy, vz = (points[c, 0] - points[a, 0], points[c, 1] - points[a, 1],
                      points[c, 2] - points[a, 2])  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (weld[a], weld[b], weld[c]):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for n in range(points.shape[0]):
        if weld[n] == n:
            x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
            length = np.sqrt(x * x + y * y + z * z) + 1e-12
            normals[n, 0] = x / length
            normals[n, 1] = y / length
            normals[n, 2] = z / length
    for n in range(points.shape[0]):
        if weld[n] != n:
            for axis in range(3):
                normals[n, axis] = normals[weld[n], axis]
    return normals
