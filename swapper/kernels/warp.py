"""Make the network's input and its target from stored faces in one pass.

Conventions, binding for every implementation:

- Pixel centres are at integers, x to the right, y down; a transform (2, 3) acts on (x, y, 1).
- ``target(x, y) = faces(faces_from_target @ (x, y, 1))``, read bilinearly.
- ``warped(x, y) = degraded(faces_from_target @ (x + dx, y + dy, 1))``: the displacement is in
  target pixels and comes before the transform. (dx, dy) is interpolated bilinearly between G × G
  control points that span the picture: point (i, j) of the grid, row i, stands at
  ``x = j * (size - 1) / (G - 1)``, ``y = i * (size - 1) / (G - 1)``.
- Places outside the stored picture read its nearest border pixel.

Four neighbours are read for each pixel. At twice the target's side and no rotation they are exactly
the 2 × 2 box that the pixel covers; store faces at up to about twice the target's side, not more,
or fine detail aliases.
"""

from __future__ import annotations

import torch
from torch import Tensor


def warp_pair(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    *,
    size: int,
    degraded: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Read the warped input and the target; no gradient flows.

    This is the reference, in plain torch, on any device. It computes in float32 (float64 if that is
    `dtype`), value by value in a fixed order, so that a sample's result does not depend on the
    batch around it. A transform of identity without displacement returns ``faces / 255`` exactly.

    Args:
        faces: (N, S, S, C) uint8, C >= 3; the first three are red, green, blue.
        faces_from_target: (N, 2, 3), target pixels to pixels of `faces`.
        grid: (N, G, G, 2), displacement (dx, dy) in target pixels, G >= 2; for `warped` only.
        gain: (N, 3, 2), scale and shift of each colour on [0, 1], then clipped; for `warped` only.
        size: Side of both outputs in pixels.
        degraded: (N, S, S, 3) uint8 to read `warped` from; None reads `faces`.
        dtype: Of the outputs, floating.

    Returns:
        ``warped`` (N, 3, size, size) and ``target`` (N, C, size, size), both in [0, 1] and
        channels_last in memory.

    Raises:
        ValueError: A shape, dtype or size does not fit.
    """
    _check(faces, faces_from_target, grid, gain, size, degraded, dtype)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.no_grad():
        affine = faces_from_target.to(exact)
        ramp = torch.arange(size, device=faces.device, dtype=exact)
        x, y = ramp[None, None, :], ramp[None, :, None]
        target = _read(faces, *_transform(affine, x, y)) / 255
        source = faces[..., :3] if degraded is None else degraded
        displacement = _spread(grid.to(exact), size)
        shifted = _transform(affine, x + displacement[..., 0], y + displacement[..., 1])
        scale, shift = gain.to(exact)[:, None, None].unbind(-1)
        warped = (_read(source, *shifted) / 255 * scale + shift).clamp(0, 1)
        return warped.permute(0, 3, 1, 2).to(dtype), target.permute(0, 3, 1, 2).to(dtype)


def _transform(affine: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`affine` (N, 2, 3) applied to points, (N or 1, size or 1, size or 1) each."""
    a = affine[:, :, :, None, None]
    return (
        a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2],
        a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2],
    )


def _spread(grid: Tensor, size: int) -> Tensor:
    """Control points (N, G, G, 2) to a displacement for every pixel, (N, size, size, 2)."""
    cells = grid.shape[1] - 1
    # The last pixel lies on the last point; with one pixel only, on the first.
    place = torch.arange(size, device=grid.device, dtype=grid.dtype) * (cells / max(size - 1, 1))
    low = place.floor().clamp(max=cells - 1)
    part = place - low
    index = low.long()
    upper, lower = grid[:, index], grid[:, index + 1]
    # Not torch.lerp: its fused multiply-add rounds differently at a vector's odd end.
    rows = upper + (lower - upper) * part[None, :, None, None]
    left, right = rows[:, :, index], rows[:, :, index + 1]
    return left + (right - left) * part[None, None, :, None]


def _read(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear values of `image` (N, H, W, C) uint8 at (N, h, w) places, unscaled, border held."""
    n, height, width, channels = image.shape
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    dx, dy = (x - left)[..., None], (y - top)[..., None]
    x0, y0 = left.long(), top.long()
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    first = torch.arange(n, device=image.device)[:, None, None] * height
    upper, lower = (first + y0) * width, (first + y1) * width
    pixels = image.reshape(-1, channels)

    def at(index: Tensor) -> Tensor:
        return pixels.index_select(0, index.reshape(-1)).reshape(*index.shape, channels).to(x.dtype)

    above = at(upper + x0)
    above += (at(upper + x1) - above) * dx
    below = at(lower + x0)
    below += (at(lower + x1) - below) * dx
    return above + (below - above) * dy


def _check(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    size: int,
    degraded: Tensor | None,
    dtype: torch.dtype,
) -> None:
    if faces.ndim != 4 or faces.shape[3] < 3 or faces.dtype != torch.uint8:
        raise ValueError(
            f"faces must be uint8 (N, S, S, C >= 3), got {faces.dtype} {tuple(faces.shape)}"
        )
    if 0 in faces.shape:
        raise ValueError(f"faces must not be empty, got {tuple(faces.shape)}")
    n = faces.shape[0]
    if tuple(faces_from_target.shape) != (n, 2, 3):
        raise ValueError(
            f"faces_from_target must be ({n}, 2, 3), got {tuple(faces_from_target.shape)}"
        )
    points = grid.shape[1] if grid.ndim == 4 else 0
    if points < 2 or tuple(grid.shape) != (n, points, points, 2):
        raise ValueError(f"grid must be ({n}, G, G, 2) with G >= 2, got {tuple(grid.shape)}")
    if tuple(gain.shape) != (n, 3, 2):
        raise ValueError(f"gain must be ({n}, 3, 2), got {tuple(gain.shape)}")
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be floating, got {dtype}")
    if degraded is None:
        return
    expected = (*faces.shape[:3], 3)
    if tuple(degraded.shape) != expected or degraded.dtype != torch.uint8:
        raise ValueError(
            f"degraded must be uint8 {expected}, got {degraded.dtype} {tuple(degraded.shape)}"
        )
