"""`warp_pair` as one Triton kernel: each program makes a run of pixels of one sample, all channels.

Order and rounding of every operation are the reference's on the CPU (no fused multiply-add, a
division by 255 that rounds as a true one), so that in float32 the two agree to the bit. Any strides
of the pictures are served without a copy; a sample's place in memory is counted in int64, places
within a picture in int32.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

PIXELS = 256
"""Of the output, made by one program."""
WARPS = 4


@triton.jit  # type: ignore[untyped-decorator]
def _mix(grid, i, j, part, points: tl.constexpr, inside):  # type: ignore[no-untyped-def]
    """The grid's component at `grid`, column j, between its rows i and i + 1."""
    place = grid + (i * points + j) * 2
    upper = tl.load(place, mask=inside, other=0.0)
    lower = tl.load(place + points * 2, mask=inside, other=0.0)
    return upper + (lower - upper) * part


@triton.jit  # type: ignore[untyped-decorator]
def _spread(grid, x, y, inside, cells: tl.constexpr, points: tl.constexpr):  # type: ignore[no-untyped-def]
    """Displacement (dx, dy) of the target's pixels x, y; `cells` of the grid to a pixel."""
    along, down = x * cells, y * cells
    # The last pixel lies on the last point.
    left = tl.minimum(tl.floor(along), points - 2.0)
    top = tl.minimum(tl.floor(down), points - 2.0)
    across, part = along - left, down - top
    j, i = left.to(tl.int32), top.to(tl.int32)
    dx = _mix(grid, i, j, part, points, inside)
    dx += (_mix(grid, i, j + 1, part, points, inside) - dx) * across
    dy = _mix(grid + 1, i, j, part, points, inside)
    dy += (_mix(grid + 1, i, j + 1, part, points, inside) - dy) * across
    return dx, dy


@triton.jit
def _transform(affine, x, y):  # type: ignore[no-untyped-def]
    """The six numbers at `affine`, row by row, applied to points of the target."""
    a, b, c = tl.load(affine), tl.load(affine + 1), tl.load(affine + 2)
    d, e, f = tl.load(affine + 3), tl.load(affine + 4), tl.load(affine + 5)
    return a * x + b * y + c, d * x + e * y + f


@triton.jit
def _by_255(x):  # type: ignore[no-untyped-def]
    """Divide by 255, rounded as a true division is, for a third of its instructions.

    The residual is exact: both subtractions are of numbers within a factor of two (Sterbenz).
    """
    quotient = x * (1.0 / 255.0)
    residual = (x - quotient * 256.0) + quotient
    return quotient + residual * (1.0 / 255.0)


@triton.jit  # type: ignore[untyped-decorator]
def _corners(  # type: ignore[no-untyped-def]
    image, x, y, row, pixel, height: tl.constexpr, width: tl.constexpr
):  # fmt: skip
    """Where the four neighbours of each place lie, line by line, and the parts right and below."""
    # A place that is no number becomes 0 here, so it cannot lead outside the picture.
    x = tl.minimum(tl.maximum(x, 0.0), width - 1.0)
    y = tl.minimum(tl.maximum(y, 0.0), height - 1.0)
    left, top = tl.floor(x), tl.floor(y)
    x0, y0 = left.to(tl.int32), top.to(tl.int32)
    x1, y1 = tl.minimum(x0 + 1, width - 1) * pixel, tl.minimum(y0 + 1, height - 1) * row
    x0, y0 = x0 * pixel, y0 * row
    return (
        image + (y0 + x0), image + (y0 + x1), image + (y1 + x0), image + (y1 + x1),
        x - left, y - top,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _channel(  # type: ignore[no-untyped-def]
    corners, inside, step, gain, c: tl.constexpr, channels: tl.constexpr, lit: tl.constexpr
):  # fmt: skip
    """Channel c of the picture at each place, on [0, 1]; a channel beyond the last is nothing."""
    p, q, r, s, dx, dy = corners
    value = dx
    if c < channels:
        above = tl.load(p + c * step, mask=inside, other=0).to(tl.float32)
        above += (tl.load(q + c * step, mask=inside, other=0).to(tl.float32) - above) * dx
        below = tl.load(r + c * step, mask=inside, other=0).to(tl.float32)
        below += (tl.load(s + c * step, mask=inside, other=0).to(tl.float32) - below) * dx
        value = _by_255(above + (below - above) * dy)
        if lit:
            value = value * tl.load(gain + c * 2) + tl.load(gain + c * 2 + 1)
            value = tl.clamp(value, 0.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
    return value


@triton.jit  # type: ignore[untyped-decorator]
def _four(  # type: ignore[no-untyped-def]
    corners, inside, step, gain, c: tl.constexpr, spacing: tl.constexpr, channels: tl.constexpr,
    lit: tl.constexpr,
):  # fmt: skip
    """Channels c, c + spacing, ...: (pixels, 2, 2), in order."""
    first = _channel(corners, inside, step, gain, c, channels, lit)
    second = _channel(corners, inside, step, gain, c + spacing, channels, lit)
    third = _channel(corners, inside, step, gain, c + spacing * 2, channels, lit)
    fourth = _channel(corners, inside, step, gain, c + spacing * 3, channels, lit)
    return tl.join(tl.join(first, third), tl.join(second, fourth))


@triton.jit  # type: ignore[untyped-decorator]
def _copy(  # type: ignore[no-untyped-def]
    output, corners, number, inside, step, gain,
    channels: tl.constexpr, lit: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Read all channels and write them to channels_last memory, as one contiguous run."""
    # Together per pixel when read, side by side when written: few addresses, whole sectors.
    lanes: tl.constexpr = 4 if channels <= 4 else 8
    for first in tl.static_range(0, channels, lanes):
        if lanes == 4:
            values = _four(corners, inside, step, gain, first, 1, channels, lit)
        else:
            values = tl.join(
                _four(corners, inside, step, gain, first, 2, channels, lit),
                _four(corners, inside, step, gain, first + 1, 2, channels, lit),
            )
        values = tl.reshape(values, (block, lanes))
        channel = first + tl.arange(0, lanes)[None, :]
        place = output + (number[:, None] * channels + channel)
        mask = inside[:, None] & (channel < channels)
        tl.store(place, values.to(output.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _warp_pair(  # type: ignore[no-untyped-def]
    faces, degraded, index, degraded_index, affine, grid, gain, warped, target,
    face, face_row, face_pixel, face_step, other, other_row, other_pixel, other_step,
    size: tl.constexpr, height: tl.constexpr, width: tl.constexpr, channels: tl.constexpr,
    points: tl.constexpr, cells: tl.constexpr, has_index: tl.constexpr, has_degraded: tl.constexpr,
    has_degraded_index: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """`face`, `other` and what starts with them are strides of `faces` and of `degraded`."""
    blocks: tl.constexpr = (size * size + block - 1) // block
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    number = tl.program_id(0) % blocks * block + tl.arange(0, block)
    inside = number < size * size
    x, y = (number % size).to(tl.float32), (number // size).to(tl.float32)
    affine += sample * 6
    gain += sample * 6
    source = faces + (tl.load(index + sample) if has_index else sample) * face

    u, v = _transform(affine, x, y)
    corners = _corners(source, u, v, face_row, face_pixel, height, width)
    output = target + sample * (size * size * channels)
    _copy(output, corners, number, inside, face_step, gain, channels, False, block)

    dx, dy = _spread(grid + sample * (points * points * 2), x, y, inside, cells, points)
    u, v = _transform(affine, x + dx, y + dy)
    output = warped + sample * (size * size * 3)
    row, pixel, step = face_row, face_pixel, face_step
    if has_degraded:
        if has_degraded_index:
            place = tl.load(degraded_index + sample)
            own = place < 0
            source = tl.where(own, source, degraded + place * other)
            row = tl.where(own, row, other_row)
            pixel = tl.where(own, pixel, other_pixel)
            step = tl.where(own, step, other_step)
        else:
            source = degraded + sample * other
            row, pixel, step = other_row, other_pixel, other_step
    corners = _corners(source, u, v, row, pixel, height, width)
    _copy(output, corners, number, inside, step, gain, 3, True, block)


def _empty(faces: Tensor, samples: int, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Memory for `warped` and `target`, channels_last."""
    # As a permuted view, so that the strides are the reference's even where a side is 1.
    shape = samples, size, size
    warped, target = (
        torch.empty((*shape, channels), dtype=dtype, device=faces.device).permute(0, 3, 1, 2)
        for channels in (3, faces.shape[3])
    )
    return warped, target


@torch.library.custom_op("swapper::warp_pair", mutates_args=())
def warp_pair(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    size: int,
    degraded: Tensor | None,
    dtype: torch.dtype,
    index: Tensor | None,
    degraded_index: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As `swapper.kernels.warp.warp_pair`, of checked arguments.

    Pictures have any strides; the transforms, the grid and the gain are float32.
    """
    samples, points = grid.shape[:2]
    height, width, channels = faces.shape[1:]
    warped, target = _empty(faces, samples, size, dtype)
    other = faces if degraded is None else degraded
    rows, degraded_rows = (
        faces if each is None else each.contiguous() for each in (index, degraded_index)
    )
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(faces):  # type: ignore[no-untyped-call]
        _warp_pair[(samples * triton.cdiv(size * size, PIXELS),)](
            *(faces, other, rows, degraded_rows),
            *(each.contiguous() for each in (faces_from_target, grid, gain)),
            *(warped, target, *faces.stride(), *other.stride()),
            size=size,
            height=height,
            width=width,
            channels=channels,
            points=points,
            cells=(points - 1) / max(size - 1, 1),
            has_index=index is not None,
            has_degraded=degraded is not None,
            has_degraded_index=degraded_index is not None,
            block=PIXELS,
            num_warps=WARPS,
            enable_fp_fusion=False,
        )
    return warped, target


warp_pair.register_fake(
    lambda faces, faces_from_target, grid, gain, size, degraded, dtype, index, degraded_index: (
        _empty(faces, len(faces_from_target), size, dtype)
    )
)
