"""Multi-scale DSSIM and L1 of two pictures.

Source: SSIM, Wang et al. 2004, doi:10.1109/TIP.2003.819861. Averaging DSSIM over scales (instead of
multiplying parts of SSIM as MS-SSIM does) keeps the gradient nonzero when one scale is hopeless.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from swapper.kernels.dispatch import dtype_limit, takes_kernel

C1 = 0.01**2
C2 = 0.03**2
MIN_WEIGHT = 1e-6
"""Least sum of weights of a picture: below it the picture counts as unweighted, its loss is 0."""
MAX_WINDOW = 15
"""Of the kernel, which keeps that many rows of sums in registers."""


def dssim_l1(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: int = 11,
    sigma: float = 1.5,
    scales: int = 3,
) -> tuple[Tensor, Tensor]:
    """Weighted multi-scale DSSIM and weighted L1 of each sample.

    Scale s sees both pictures (and the mask) shrunk s times by 2x2 averaging, odd sides rounded up,
    with the same window in pixels, so each scale looks at structure twice as large. At each pixel
    and channel ``DSSIM = (1 - SSIM) / 2``, weighted by the mask at the window's *centre*; a scale's
    value is the weighted mean, the result the plain mean over scales. L1 is the weighted mean of
    ``|pred - target|`` at full size.

    Border: windows that overhang the picture are cut off and renormalised to weight 1, so every
    pixel counts, nothing is invented outside, and any size fits, even 1x1.

    Pictures are centred by 0.5 before squaring, against cancellation in ``E[x^2] - E[x]^2``. The
    gaussian is separable and applied as two banded matrices: faster than a depthwise convolution.
    With TF32 matrix products switched on for float32 (torch's default is off) it loses precision.

    On CUDA devices a Triton kernel does it, see `swapper.kernels.dispatch`, unless `target` or
    `mask` requires a gradient, an input is of another dtype than float32, float16 and bfloat16, or
    `window` exceeds `MAX_WINDOW`. It copies no layout: it is made for channels_last pictures
    and reads others, contiguous and sliced ones too, by their strides, somewhat slower. Its
    gradient comes in the dtype of `pred` and has no gradient of its own. It always keeps float32's
    precision.

    Args:
        pred: (N, C, H, W), in [0, 1].
        target: (N, C, H, W), in [0, 1].
        mask: Weights >= 0, (N, 1, H, W), or None for 1 everywhere. Only their ratios matter.
        window: Taps of the gaussian, odd.
        sigma: Of the gaussian, in pixels.
        scales: How many, at least 1.

    Returns:
        DSSIM (N,) in [0, 1] (to rounding) and L1 (N,): float32, or float64 if an input is; computed
        so even under autocast. Both 0, with zero gradient, for a sample whose mask is all zero. The
        mean over samples is the loss.

    Raises:
        ValueError: A shape, the window, sigma or the number of scales does not fit.
    """
    _check(pred, target, mask, window, sigma, scales)
    if takes_kernel("dssim_l1", pred, target, mask, limit=_limit(pred, target, mask, window)):
        from swapper.kernels import triton_dssim

        needs_grad = pred.requires_grad and torch.is_grad_enabled()
        dssim, l1, *_ = triton_dssim.dssim_l1(pred, target, mask, window, sigma, scales, needs_grad)
        return dssim, l1
    return dssim_l1_reference(pred, target, mask, window=window, sigma=sigma, scales=scales)


def dssim_l1_reference(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: int = 11,
    sigma: float = 1.5,
    scales: int = 3,
) -> tuple[Tensor, Tensor]:
    """The same in plain torch, on any device: the specification."""
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    with torch.autocast(pred.device.type, enabled=False):
        x, y = pred.to(dtype), target.to(dtype)
        weight = torch.ones_like(x[:, :1]) if mask is None else mask.to(dtype)
        l1 = _weighted_mean((x - y).abs(), weight)
        x, y = x - 0.5, y - 0.5
        dssim = torch.zeros_like(l1)
        for scale in range(scales):
            if scale:
                x, y, weight = _halve(x), _halve(y), _halve(weight)
            dssim = dssim + _weighted_mean(_dssim_map(x, y, window, sigma), weight)
        return dssim / scales, l1


def _check(
    pred: Tensor, target: Tensor, mask: Tensor | None, window: int, sigma: float, scales: int
) -> None:
    if pred.ndim != 4:
        raise ValueError(f"pred must have 4 dimensions (N, C, H, W), got {tuple(pred.shape)}")
    if target.shape != pred.shape:
        raise ValueError(f"target must be {tuple(pred.shape)} like pred, got {tuple(target.shape)}")
    expected = (pred.shape[0], 1, *pred.shape[2:])
    if mask is not None and tuple(mask.shape) != expected:
        raise ValueError(f"mask must be {expected}, got {tuple(mask.shape)}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {window}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if scales < 1:
        raise ValueError(f"scales must be at least 1, got {scales}")


def _limit(pred: Tensor, target: Tensor, mask: Tensor | None, window: int) -> str:
    """Why the kernel cannot serve these arguments; "" if it can."""
    if limit := dtype_limit(pred, target, mask):
        return limit
    if torch.is_grad_enabled():
        for name, each in (("target", target), ("mask", mask)):
            if each is not None and each.requires_grad:
                return f"{name} requires a gradient, which only the reference gives"
    if window > MAX_WINDOW:
        return f"window above {MAX_WINDOW}"
    if 0 in pred.shape[1:]:
        return "pictures are empty"
    return ""


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (N, C, H, W) over channels and, by (N, 1, H, W), over pixels: (N,)."""
    weighted = (values.mean(dim=1, keepdim=True) * weight).sum(dim=(1, 2, 3))
    return weighted / weight.sum(dim=(1, 2, 3)).clamp_min(MIN_WEIGHT)


def _halve(x: Tensor) -> Tensor:
    """2x2 means; the last row and column of odd sides are means of what is there."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _blur_matrix(size: int, window: int, sigma: float, like: Tensor) -> Tensor:
    """(size, size) matrix: row i is the gaussian around i, cut at the ends, summing to 1."""
    position = torch.arange(size, dtype=torch.float64, device=like.device)
    distance = (position[:, None] - position[None, :]).abs()
    band = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance <= window // 2)
    return (band / band.sum(dim=1, keepdim=True)).to(like.dtype)


def _dssim_map(x: Tensor, y: Tensor, window: int, sigma: float) -> Tensor:
    """DSSIM at each pixel and channel of two pictures centred at 0.5, (N, C, H, W)."""
    rows = _blur_matrix(x.shape[2], window, sigma, x)
    columns = _blur_matrix(x.shape[3], window, sigma, x).T

    # Two stacks, so that the target's moments stay out of the graph.
    mean_x, mean_xx, mean_xy = (rows @ torch.stack((x, x * x, x * y)) @ columns).unbind()
    mean_y, mean_yy = (rows @ torch.stack((y, y * y)) @ columns).unbind()
    variances = (mean_xx - mean_x**2) + (mean_yy - mean_y**2)
    covariance = mean_xy - mean_x * mean_y
    light_x, light_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * light_x * light_y + C1) / (light_x**2 + light_y**2 + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return 0.5 - 0.5 * luminance * structure
