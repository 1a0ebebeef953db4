"""Sample the network's input and target from stored faces in one pass.

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

from collections.abc import Callable

import torch
from torch import Tensor

from swapper.kernels.dispatch import KERNEL_TYPES, takes_kernel

LAST = 2**31 - 1
_PIXELS = 1 << 15
"""Pixels of a plane processed at once on a CPU, so that intermediates stay in a core's cache."""


def warp_pair(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    *,
    size: int,
    degraded: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    index: Tensor | None = None,
    degraded_index: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read the warped input and the target; no gradient flows.

    Computed in float32 (float64 if that is `dtype`), value by value in a fixed order, so that a
    sample's result does not depend on the batch around it. A transform of identity without
    displacement returns ``faces / 255`` exactly.

    Args:
        faces: (N, S, S, C) uint8, C >= 3; the first three are red, green, blue. With `index`,
            (M, S, S, C): a whole faceset, of which nothing is copied if it is contiguous.
        faces_from_target: (N, 2, 3), target pixels to pixels of `faces`.
        grid: (N, G, G, 2), displacement (dx, dy) in target pixels, G >= 2; for `warped` only.
        gain: (N, 3, 2), scale and shift of each colour on [0, 1], then clipped; for `warped` only.
        size: Side of both outputs in pixels.
        degraded: (N, S, S, 3) uint8 to read `warped` from; None reads `faces`. With
            `degraded_index`, (K, S, S, 3), K >= 0.
        dtype: Of the outputs, floating.
        index: (N,) int64, the row of `faces` for each sample, 0 to M - 1; None takes them in turn.
            Values are not checked: on a GPU that would wait for the device, and one outside
            reads memory that is not the faceset's.
        degraded_index: (N,) int64, the row of `degraded` for each sample, or -1 for one that reads
            its own face; None takes them in turn. Values are not checked either.

    Returns:
        ``warped`` (N, 3, size, size) and ``target`` (N, C, size, size), both in [0, 1] and
        channels_last in memory.

    Raises:
        ValueError: A shape, dtype or size does not fit.
    """
    _check(faces, faces_from_target, grid, gain, size, dtype, index)
    degraded, degraded_index = _check_degraded(faces, len(grid), degraded, degraded_index)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    affine, grid, gain = (each.detach().to(exact) for each in (faces_from_target, grid, gain))
    read = faces, degraded, index, degraded_index, affine, grid, gain
    warp: Callable[..., tuple[Tensor, Tensor]] = warp_pair_reference
    if takes_kernel("warp_pair", *read, limit=_limit(faces, degraded, dtype)):
        from swapper.kernels.triton_warp import warp_pair as warp
    return warp(faces, affine, grid, gain, size, degraded, dtype, index, degraded_index)


def warp_pair_reference(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    size: int,
    degraded: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    index: Tensor | None = None,
    degraded_index: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`warp_pair` in plain torch, on any device: the specification. Arguments are not checked."""
    samples, channels = len(grid), faces.shape[3]
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    warped, target = (
        torch.empty((samples, size, size, c), device=faces.device, dtype=dtype)
        for c in (3, channels)
    )
    own_rows = torch.arange(samples, device=faces.device)
    rows = own_rows if index is None else index
    degraded_rows = own_rows if degraded_index is None else degraded_index
    step = samples if faces.is_cuda else max(1, _PIXELS // size**2)
    with torch.no_grad():
        for first in range(0, samples, step):
            batch = slice(first, first + step)
            affine, points, light = (
                part[batch].to(exact) for part in (faces_from_target, grid, gain)
            )
            straight, shifted = _places(affine, points, size)
            target[batch] = read_bilinear(faces, rows[batch], *straight) / 255
            values = read_bilinear(faces, rows[batch], *shifted, channels=3)
            if degraded is not None:
                away = torch.nonzero(degraded_rows[batch] >= 0)[:, 0]
                if len(away):
                    x, y = (each[away] for each in shifted)
                    values[away] = read_bilinear(degraded, degraded_rows[batch][away], x, y)
            scale, shift = light[:, None, None].unbind(-1)
            warped[batch] = (values / 255 * scale + shift).clamp(0, 1)
    return warped.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)


def _places(affine: Tensor, grid: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Where the pixels of the target are read, and those of the input: x and y of each."""
    ramp = torch.arange(size, device=affine.device, dtype=affine.dtype)
    x, y = ramp[None, None, :], ramp[None, :, None]
    displacement = spread(grid, size)
    shifted = x + displacement[..., 0], y + displacement[..., 1]
    return transform(affine, x, y), transform(affine, *shifted)


def transform(affine: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`affine` (N, 2, 3) applied to points, (N or 1, size or 1, size or 1) each."""
    a = affine[:, :, :, None, None]
    return (
        a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2],
        a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2],
    )


def spread(grid: Tensor, size: int) -> Tensor:
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


def read_bilinear(
    images: Tensor, rows: Tensor, x: Tensor, y: Tensor, channels: int | None = None
) -> Tensor:
    """Bilinear values of rows (N,) of uint8 `images` (M, H, W, C) at (N, h, w) places, unscaled.

    Border held; the first `channels` only, or all.
    """
    height, width = images.shape[1:3]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    dx, dy = (x - left)[..., None], (y - top)[..., None]
    x0, y0 = left.long(), top.long()
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    first = rows[:, None, None] * height
    upper, lower = (first + y0) * width, (first + y1) * width
    pixels = images.reshape(-1, images.shape[3])

    def at(place: Tensor) -> Tensor:
        read = pixels.index_select(0, place.reshape(-1)).reshape(*place.shape, -1)
        return read[..., :channels].to(x.dtype)

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
    dtype: torch.dtype,
    index: Tensor | None,
) -> None:
    if faces.ndim != 4 or faces.shape[3] < 3 or faces.dtype != torch.uint8:
        raise ValueError(
            f"faces must be uint8 (N, S, S, C >= 3), got {faces.dtype} {tuple(faces.shape)}"
        )
    if 0 in faces.shape:
        raise ValueError(f"faces must not be empty, got {tuple(faces.shape)}")
    n = faces.shape[0]
    if index is not None:
        n = faces_from_target.shape[0] if faces_from_target.ndim else 0
        if tuple(index.shape) != (n,) or index.dtype != torch.int64 or not n:
            raise ValueError(
                f"index must be int64 (N,), N >= 1 like the rows of faces_from_target, "
                f"got {index.dtype} {tuple(index.shape)}"
            )
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


def _check_degraded(
    faces: Tensor, samples: int, degraded: Tensor | None, index: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Both as given, or neither where no picture is there to be read."""
    if degraded is None:
        if index is not None:
            raise ValueError("degraded_index needs degraded")
        return None, None
    count = samples if index is None else len(degraded)
    expected = (count, *faces.shape[1:3], 3)
    if tuple(degraded.shape) != expected or degraded.dtype != torch.uint8:
        raise ValueError(
            f"degraded must be uint8 {expected}, got {degraded.dtype} {tuple(degraded.shape)}"
        )
    if index is not None and (tuple(index.shape) != (samples,) or index.dtype != torch.int64):
        raise ValueError(
            f"degraded_index must be int64 ({samples},), got {index.dtype} {tuple(index.shape)}"
        )
    return (degraded, index) if count else (None, None)


def _limit(faces: Tensor, degraded: Tensor | None, dtype: torch.dtype) -> str:
    """Why the kernel cannot serve these arguments; "" if it can."""
    if dtype == torch.float64:
        return "float64 is for the reference"
    if dtype not in KERNEL_TYPES:
        return f"it writes no {dtype}"
    # The kernel counts in int32 within a picture.
    for picture in (faces, degraded):
        if picture is not None and sum(map(_span, picture.shape[1:], picture.stride()[1:])) > LAST:
            return "a picture spans 2^31 bytes"
    return ""


def _span(length: int, stride: int) -> int:
    return (length - 1) * stride
