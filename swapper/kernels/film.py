"""FiLM, leaky ReLU and pixel shuffle, which follow nearly every convolution of a decoder.

Source: FiLM, Perez et al. 2018, arXiv:1709.07871; sub-pixel convolution, Shi et al. 2016,
arXiv:1609.05158.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from swapper.kernels.dispatch import dtype_limit, takes_kernel

HALF_TYPES = (torch.float16, torch.bfloat16)


def pixel_shuffle(x: Tensor, upscale: int) -> Tensor:
    """Turn channels into pixels, sub-pixel order (i, j, c).

    Output pixel ``(y * r + i, x * r + j)`` of channel ``c`` is the input at ``(y, x)``, channel
    ``(i * r + j) * C + c``. (`torch.nn.functional.pixel_shuffle` has the order (c, i, j).) So each
    output pixel's channels are one contiguous run of a channels_last tensor.

    Args:
        x: (N, r * r * C, H, W).
        upscale: r, at least 1.

    Returns:
        (N, C, r * H, r * W), in the memory format of `x`.

    Raises:
        ValueError: Not four dimensions, or the channels are no multiple of r * r.
    """
    n, c, height, width = _shuffled(x, upscale)
    r, (h, w) = upscale, x.shape[2:]
    if r == 1:
        return x
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, r, r, c).permute(0, 1, 3, 2, 4, 5)
        return pixels.reshape(n, height, width, c).permute(0, 3, 1, 2)
    return x.reshape(n, r, r, c, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c, height, width)


def _shuffled(x: Tensor, upscale: int) -> tuple[int, int, int, int]:
    """Shape of `x` after `pixel_shuffle`, which may fail."""
    if x.ndim != 4:
        raise ValueError(f"x must have 4 dimensions (N, r*r*C, H, W), got {tuple(x.shape)}")
    if upscale < 1:
        raise ValueError(f"upscale must be at least 1, got {upscale}")
    n, channels, h, w = x.shape
    parts = upscale * upscale
    if channels % parts:
        raise ValueError(f"x dimension 1 must be a multiple of {parts}, got {channels}")
    return n, channels // parts, h * upscale, w * upscale


def film_lrelu(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor,
    *,
    slope: float = 0.1,
    upscale: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    """Scale and shift channels, activate, upsample: ``shuffle(lrelu(x * (1 + gamma) + beta))``.

    The convolution before it needs no bias: `beta` is its bias. On CUDA devices a Triton kernel
    does it, if the values are of at most float32; see `swapper.kernels.dispatch`. It is made for
    channels_last tensors; other layouts, contiguous ones too, it reads and writes by their strides,
    slower but without a copy. Its gradients come in the dtype of their inputs and have no
    gradients of their own.

    Args:
        x: Features, (N, r * r * C, H, W); sub-pixel order (i, j, c), see `pixel_shuffle`.
        gamma: Scale offset, (N, r * r * C) or (r * r * C,); 0 is identity, None the same for free.
        beta: Shift, (N, r * r * C) or (r * r * C,).
        slope: Of the leaky ReLU below zero; 1 is no activation.
        upscale: r: each side grows by this factor.
        residual: Added at the end, (N, C, r * H, r * W), or None.

    Returns:
        (N, C, r * H, r * W), dtype and memory format of `x`; float16 and bfloat16 are computed in
        float32.

    Raises:
        ValueError: A shape does not fit.
    """
    _check(x, gamma, beta, upscale, residual)
    tensors = x, gamma, beta, residual
    if takes_kernel("film_lrelu", *tensors, limit=dtype_limit(*tensors)):
        from swapper.kernels import triton_film

        result: Tensor = triton_film.film_lrelu(x, gamma, beta, slope, upscale, residual)
        return result
    return film_lrelu_reference(x, gamma, beta, slope=slope, upscale=upscale, residual=residual)


def film_lrelu_reference(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor,
    *,
    slope: float = 0.1,
    upscale: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    """The same in plain torch, on any device: the specification."""
    y = x.float() if x.dtype in HALF_TYPES else x
    shifted = y + _per_channel(beta).to(y.dtype)
    if gamma is not None:
        shifted = torch.addcmul(shifted, y, _per_channel(gamma).to(y.dtype))
    y = pixel_shuffle(F.leaky_relu(shifted, slope), upscale)
    if residual is not None:
        y = y + residual.to(y.dtype)
    return y.to(x.dtype)


def _per_channel(values: Tensor) -> Tensor:
    """(N, channels) or (channels,) to (N or 1, channels, 1, 1)."""
    return values.reshape(-1, values.shape[-1], 1, 1)


def _check(
    x: Tensor, gamma: Tensor | None, beta: Tensor, upscale: int, residual: Tensor | None
) -> None:
    n, c, h, w = _shuffled(x, upscale)
    for name, values in (("beta", beta), ("gamma", gamma)):
        if values is None:
            continue
        if values.ndim not in (1, 2):
            raise ValueError(f"{name} must have 1 or 2 dimensions, got {tuple(values.shape)}")
        if values.shape[-1] != x.shape[1]:
            raise ValueError(
                f"{name} dimension {values.ndim - 1} must be {x.shape[1]} like x dimension 1, "
                f"got {values.shape[-1]}"
            )
        if values.ndim == 2 and values.shape[0] != n:
            raise ValueError(f"{name} dimension 0 must be {n} like x, got {values.shape[0]}")
    if residual is not None and residual.shape != (n, c, h, w):
        raise ValueError(
            f"residual must be {(n, c, h, w)} like the output, got {tuple(residual.shape)}"
        )
