"""Modulate, activate and enlarge: what follows nearly every convolution of a decoder.

Source: FiLM, Perez et al. 2018, arXiv:1709.07871; sub-pixel convolution, Shi et al. 2016,
arXiv:1609.05158.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
    if x.ndim != 4:
        raise ValueError(f"x must have 4 dimensions (N, r*r*C, H, W), got {tuple(x.shape)}")
    r = upscale
    if r < 1:
        raise ValueError(f"upscale must be at least 1, got {r}")
    n, channels, h, w = x.shape
    if channels % (r * r):
        raise ValueError(f"x dimension 1 must be a multiple of {r * r}, got {channels}")
    if r == 1:
        return x
    c = channels // (r * r)
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, r, r, c).permute(0, 1, 3, 2, 4, 5)
        return pixels.reshape(n, h * r, w * r, c).permute(0, 3, 1, 2)
    return x.reshape(n, r, r, c, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c, h * r, w * r)


def film_lrelu(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor,
    *,
    slope: float = 0.1,
    upscale: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    """Scale and shift channels, activate, enlarge: ``shuffle(lrelu(x * (1 + gamma) + beta))``.

    The convolution before it needs no bias: `beta` is its bias. This is the reference, in plain
    torch, on any device.

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
    if x.ndim != 4:
        raise ValueError(f"x must have 4 dimensions (N, r*r*C, H, W), got {tuple(x.shape)}")
    y = x.float() if x.dtype in HALF_TYPES else x
    shift = _per_channel("beta", beta, x).to(y.dtype)
    if gamma is None:
        y = y + shift
    else:
        y = torch.addcmul(y + shift, y, _per_channel("gamma", gamma, x).to(y.dtype))
    y = pixel_shuffle(F.leaky_relu(y, slope), upscale)
    if residual is not None:
        if residual.shape != y.shape:
            raise ValueError(
                f"residual must be {tuple(y.shape)} like the output, got {tuple(residual.shape)}"
            )
        y = y + residual.to(y.dtype)
    return y.to(x.dtype)


def _per_channel(name: str, value: Tensor, x: Tensor) -> Tensor:
    """`value` as (N or 1, channels, 1, 1), checked against `x`."""
    n, channels = x.shape[:2]
    if value.ndim not in (1, 2):
        raise ValueError(f"{name} must have 1 or 2 dimensions, got {tuple(value.shape)}")
    if value.shape[-1] != channels:
        raise ValueError(
            f"{name} dimension {value.ndim - 1} must be {channels} like x dimension 1, "
            f"got {value.shape[-1]}"
        )
    if value.ndim == 2 and value.shape[0] != n:
        raise ValueError(f"{name} dimension 0 must be {n} like x, got {value.shape[0]}")
    return value.reshape(-1, channels, 1, 1)
