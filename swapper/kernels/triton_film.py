"""The Triton kernel of `swapper.kernels.film.film_lrelu`, forward and backward.

Each program takes one sub-pixel (i, j) of a tile of pixels and channels: the sub-pixel order makes
its channels one contiguous run of x and one of the output, so channels_last tensors move by 128
bits wherever C and their place in memory allow it. Any other layout is read and written by its
strides, without a copy and slower. The backward pass reads x again instead of a saved mask. Sums
over pixels stay in a program; torch adds up the programs in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

WIDEST = 8
"""Elements of the widest access: 128 bits of a half type."""
TILES = (4096, 2048, 1024)
"""Elements of a program's tile, forward: the first that gives enough programs."""
BACKWARD_TILE = 2048
"""Fewer, as two sums live in registers beside it."""
ENOUGH_PROGRAMS = 1024
"""About eight for each multiprocessor of the largest devices."""
MAX_STEPS = 16
"""Tiles that a program of the backward pass sums over at most, one after the other."""
RUN = 128
"""Channels of a tile unless the picture is too small to fill it: 256 bytes of a half type."""
WARPS = 4


@triton.jit  # type: ignore[untyped-decorator]
def _program(
    channels: tl.tensor, pixels: tl.tensor, r: tl.constexpr, block: tl.tensor, run: tl.constexpr
) -> tl.tuple:
    """Sample, its block of pixels, first channel and sub-pixel, the last varying fastest."""
    pid = tl.program_id(0)
    sub = pid % (r * r)
    pid = pid // (r * r)
    runs = tl.cdiv(channels, run)
    first = (pid % runs) * run
    pid = pid // runs
    blocks = tl.cdiv(pixels, block)
    return (pid // blocks).to(tl.int64), pid % blocks, first, sub


@triton.jit  # type: ignore[untyped-decorator]
def _at(
    strides: tl.tuple, unit: tl.constexpr, n: tl.tensor, y: tl.tensor, x: tl.tensor, c: tl.tensor
) -> tl.tensor:
    """Offsets of a tile (rows, channels); `unit` divides all strides but the channels'."""
    rows = (n * strides[0] + y.to(tl.int64) * strides[1] + x.to(tl.int64) * strides[2]) * unit
    return rows[:, None] + (c.to(tl.int64) * strides[3])[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _modulate(x: tl.tensor, gamma: tl.tensor, beta: tl.tensor, scaled: tl.constexpr) -> tl.tensor:
    """``x * (1 + gamma) + beta``, to the last bit the same in both passes."""
    z = x + beta[None, :]
    if scaled:
        z = tl.fma(x, gamma[None, :], z)
    return z


@triton.jit  # type: ignore[untyped-decorator]
def _film(
    pointer: tl.tensor, strides: tl.tuple, n: tl.tensor, q: tl.tensor, inside: tl.tensor
) -> tl.tensor:
    """Values of gamma or beta at channels `q` of sample `n`."""
    at = n * strides[0] + q.to(tl.int64) * strides[1]
    return tl.load(pointer + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, residual_ptr: tl.tensor,
    out_ptr: tl.tensor, slope: tl.tensor, size: tl.tuple,
    x_strides: tl.tuple, gamma_strides: tl.tuple, beta_strides: tl.tuple,
    residual_strides: tl.tuple, out_strides: tl.tuple,
    r: tl.constexpr, unit: tl.constexpr, residual_unit: tl.constexpr, block: tl.constexpr,
    run: tl.constexpr,
) -> None:  # fmt: skip
    channels, width, pixels = size[0] * unit, size[1], size[2]
    n, place, first, sub = _program(channels, pixels, r, block, run)
    c = first + tl.arange(0, run)
    p = place * block + tl.arange(0, block)
    valid = c < channels
    inside = (p < pixels)[:, None] & valid[None, :]
    y, x = p // width, p % width
    q = sub * channels + c

    here = _at(x_strides, unit, n, y, x, q)
    value = tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32)
    beta = _film(beta_ptr, beta_strides, n, q, valid)
    gamma = beta
    if gamma_ptr is not None:
        gamma = _film(gamma_ptr, gamma_strides, n, q, valid)
    z = _modulate(value, gamma, beta, gamma_ptr is not None)
    z = tl.where(z > 0, z, z * slope)

    y, x = y * r + sub // r, x * r + sub % r
    if residual_ptr is not None:
        there = _at(residual_strides, residual_unit, n, y, x, c)
        z += tl.load(residual_ptr + there, mask=inside, other=0.0).to(tl.float32)
    there = _at(out_strides, unit, n, y, x, c)
    tl.store(out_ptr + there, z.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(
    grad_ptr: tl.tensor, x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor,
    dx_ptr: tl.tensor, dgamma_ptr: tl.tensor, dbeta_ptr: tl.tensor, slope: tl.tensor,
    size: tl.tuple, grad_strides: tl.tuple, x_strides: tl.tuple, gamma_strides: tl.tuple,
    beta_strides: tl.tuple, dx_strides: tl.tuple,
    r: tl.constexpr, unit: tl.constexpr, grad_unit: tl.constexpr, block: tl.constexpr,
    run: tl.constexpr, steps: tl.constexpr,
) -> None:  # fmt: skip
    channels, width, pixels = size[0] * unit, size[1], size[2]
    n, place, first, sub = _program(channels, pixels, r, block * steps, run)
    c = first + tl.arange(0, run)
    valid = c < channels
    q = sub * channels + c
    beta = _film(beta_ptr, beta_strides, n, q, valid)
    gamma = beta
    if gamma_ptr is not None:
        gamma = _film(gamma_ptr, gamma_strides, n, q, valid)

    shift = tl.zeros((block, run), tl.float32)
    scale = tl.zeros((block, run), tl.float32)
    for step in range(steps):
        p = (place * steps + step) * block + tl.arange(0, block)
        inside = (p < pixels)[:, None] & valid[None, :]
        y, x = p // width, p % width
        there = _at(grad_strides, grad_unit, n, y * r + sub // r, x * r + sub % r, c)
        grad = tl.load(grad_ptr + there, mask=inside, other=0.0).to(tl.float32)
        here = _at(x_strides, unit, n, y, x, q)
        value = tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32)
        z = _modulate(value, gamma, beta, gamma_ptr is not None)
        # The last choice is for a slope that is not finite.
        grad = tl.where(inside, tl.where(z > 0, grad, grad * slope), 0.0)
        if dbeta_ptr is not None:
            shift += grad
        if dgamma_ptr is not None:
            scale += grad * value
        if dx_ptr is not None:
            if gamma_ptr is not None:
                grad = tl.fma(grad, gamma[None, :], grad)
            here = _at(dx_strides, unit, n, y, x, q)
            tl.store(dx_ptr + here, grad.to(dx_ptr.dtype.element_ty), mask=inside)

    blocks = tl.cdiv(pixels, block * steps)
    row = (n * blocks + place) * channels * (r * r) + q
    if dbeta_ptr is not None:
        tl.store(dbeta_ptr + row, tl.sum(shift, axis=0), mask=valid)
    if dgamma_ptr is not None:
        tl.store(dgamma_ptr + row, tl.sum(scale, axis=0), mask=valid)


def parts(whole: int, part: int) -> int:
    """How many parts cover the whole."""
    return -(-whole // part)


def _power_of_two(least: int) -> int:
    size = 1
    while size < least:
        size *= 2
    return size


def _tile(elements: int, channels: int, pixels: int) -> tuple[int, int]:
    """Pixels and channels of a tile of at most `elements`, both powers of two."""
    block = _power_of_two(pixels)
    run = min(_power_of_two(channels), max(RUN, elements // block))
    return min(block, max(1, elements // run)), run


def _programs(x: Tensor, upscale: int, block: int, run: int) -> int:
    """How many there are if each takes `block` pixels and `run` channels."""
    n, channels, h, w = x.shape
    c = channels // (upscale * upscale)
    return n * parts(h * w, block) * parts(c, run) * upscale * upscale


def _forward_tile(x: Tensor, upscale: int) -> tuple[int, int]:
    """Pixels and channels of a program."""
    c, pixels = x.shape[1] // (upscale * upscale), x.shape[2] * x.shape[3]
    tiles = [_tile(elements, c, pixels) for elements in TILES]
    enough = (each for each in tiles if _programs(x, upscale, *each) >= ENOUGH_PROGRAMS)
    return next(enough, tiles[-1])


def _backward_tile(x: Tensor, upscale: int) -> tuple[int, int, int]:
    """Pixels and channels of a tile, and tiles of a program."""
    block, run = _tile(BACKWARD_TILE, x.shape[1] // (upscale * upscale), x.shape[2] * x.shape[3])
    steps = 1
    while steps < MAX_STEPS and _programs(x, upscale, 2 * steps * block, run) >= ENOUGH_PROGRAMS:
        steps *= 2
    return block, run, steps


def strides_of(tensor: Tensor | None) -> tuple[int, int, int, int]:
    """Of sample, row, column and channel. Where there is but one, its stride is of no account."""
    if tensor is None:
        return 0, 0, 0, 0
    n, c, y, x = (
        stride if size > 1 else 0
        for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )
    return n, y, x, c


def _unit(channels: int, *tensors: Tensor) -> int:
    """What divides the channels and all strides but the channels' own, so that Triton knows it."""
    return math.gcd(WIDEST, channels, *(s for each in tensors for s in strides_of(each)[:3]))


def _in_units(tensor: Tensor | None, unit: int) -> tuple[int, int, int, int]:
    n, y, x, c = strides_of(tensor)
    return n // unit, y // unit, x // unit, c


def _film_strides(values: Tensor | None) -> tuple[int, int]:
    """Of sample and channel; one vector for all samples has none of the first."""
    if values is None:
        return 0, 0
    return (values.stride(0) if values.ndim == 2 else 0), values.stride(-1)


def _result(x: Tensor, upscale: int) -> Tensor:
    """An empty output of the shape and memory format that the reference gives."""
    if upscale == 1:
        return torch.empty_like(x)
    n, channels, h, w = x.shape
    last = torch.empty_like(x, device="meta").is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (n, channels // (upscale * upscale), h * upscale, w * upscale),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )


@torch.library.custom_op(
    "swapper::film_lrelu",
    mutates_args=(),
    schema="(Tensor x, Tensor? gamma, Tensor beta, float slope, int upscale, Tensor? residual)"
    " -> Tensor",
)
def film_lrelu(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor,
    slope: float,
    upscale: int,
    residual: Tensor | None,
) -> Tensor:
    """As `swapper.kernels.film.film_lrelu`, of checked arguments; differentiable once."""
    out = _result(x, upscale)
    if not out.numel():
        return out
    c, pixels = out.shape[1], x.shape[2] * x.shape[3]
    block, run = _forward_tile(x, upscale)
    unit = _unit(c, x, out)
    residual_unit = 1 if residual is None else _unit(WIDEST, residual)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _forward[(_programs(x, upscale, block, run),)](
            *(x, gamma, beta, residual, out, slope),
            (c // unit, x.shape[3], pixels),
            _in_units(x, unit),
            _film_strides(gamma),
            _film_strides(beta),
            _in_units(residual, residual_unit),
            _in_units(out, unit),
            r=upscale,
            unit=unit,
            residual_unit=residual_unit,
            block=block,
            run=run,
            num_warps=WARPS,
            enable_fp_fusion=False,
        )
    return out


def _sums(x: Tensor, block: int, needed: bool) -> Tensor:
    """Empty partial sums, float32 (N, blocks, channels); of no elements where not needed."""
    blocks = parts(x.shape[2] * x.shape[3], block) if needed else 0
    return torch.empty((x.shape[0], blocks, x.shape[1]), dtype=torch.float32, device=x.device)


@torch.library.custom_op(
    "swapper::film_lrelu_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor? gamma, Tensor beta, float slope, int upscale,"
    " bool[] needed) -> (Tensor, Tensor, Tensor)",
)
def _film_lrelu_backward(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor,
    slope: float,
    upscale: int,
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of x, and sums for gamma and beta still apart by block; empty if not `needed`."""
    dx, dgamma, dbeta = _empty_gradients(x, upscale, needed)
    if not x.numel():
        return dx, dgamma, dbeta
    block, run, steps = _backward_tile(x, upscale)
    c, pixels = grad.shape[1], x.shape[2] * x.shape[3]
    unit = _unit(c, x, dx) if needed[0] else _unit(c, x)
    grad_unit = _unit(WIDEST, grad)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _backward[(_programs(x, upscale, steps * block, run),)](
            *(grad, x, gamma, beta),
            *(each if use else None for each, use in zip((dx, dgamma, dbeta), needed, strict=True)),
            slope,
            (c // unit, x.shape[3], pixels),
            _in_units(grad, grad_unit),
            _in_units(x, unit),
            _film_strides(gamma),
            _film_strides(beta),
            _in_units(dx if needed[0] else None, unit),
            r=upscale,
            unit=unit,
            grad_unit=grad_unit,
            block=block,
            run=run,
            steps=steps,
            num_warps=WARPS,
            enable_fp_fusion=False,
        )
    return dx, dgamma, dbeta


def _empty_gradients(x: Tensor, upscale: int, needed: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    block, _, steps = _backward_tile(x, upscale)
    dx = torch.empty_like(x) if needed[0] else x.new_empty(0)
    return dx, _sums(x, steps * block, needed[1]), _sums(x, steps * block, needed[2])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, gamma, beta, ctx.slope, ctx.upscale, residual = inputs
    ctx.save_for_backward(x, gamma, beta)
    ctx.residual_dtype = None if residual is None else residual.dtype


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, gamma, beta = ctx.saved_tensors
    needed = [bool(each) for each in ctx.needs_input_grad[:3]]
    dx = dgamma = dbeta = dresidual = None
    if any(needed):
        dx, *sums = _film_lrelu_backward(grad, x, gamma, beta, ctx.slope, ctx.upscale, needed)
        dgamma, dbeta = (
            _total(each, values) if use else None
            for each, values, use in zip(sums, (gamma, beta), needed[1:], strict=True)
        )
    if ctx.needs_input_grad[5]:
        dresidual = grad.to(ctx.residual_dtype)
    return dx if needed[0] else None, dgamma, dbeta, None, None, dresidual


def _total(sums: Tensor, like: Tensor) -> Tensor:
    """Partial sums to a gradient of gamma or beta."""
    return sums.sum(dim=1 if like.ndim == 2 else (0, 1)).to(like.dtype)


film_lrelu.register_fake(lambda x, gamma, beta, slope, upscale, residual: _result(x, upscale))
_film_lrelu_backward.register_fake(
    lambda grad, x, gamma, beta, slope, upscale, needed: _empty_gradients(x, upscale, needed)
)
film_lrelu.register_autograd(_gradients, setup_context=_keep)
