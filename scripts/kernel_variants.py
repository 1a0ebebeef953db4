"""Implementations of each hot operation, to compare with the kernels.

All variants take the keywords of `swapper.kernels`' public function and return the same. "naive" is
a straightforward implementation, "reference" the specification in plain torch, "inductor"
`torch.compile`, "kernel" the Triton kernel, on CUDA devices only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from swapper.kernels import dispatch
from swapper.kernels.dssim import C1, C2, dssim_l1
from swapper.kernels.film import film_lrelu
from swapper.kernels.warp import warp_pair

Form = Callable[..., Any]
Blur = Callable[[Tensor, Tensor], Tensor]
"""Blurs (N, C, H, W) along both sides by weights (taps,), as if zeros lay outside."""


@dataclass(frozen=True)
class Variant:
    """An implementation of an operation.

    Attributes:
        name: Name in the table.
        form: Callable with the operation's keywords.
        compiled: Whether to compile it with inductor.
        backend: Backend of `swapper.kernels` while it runs.
    """

    name: str
    form: Form
    compiled: bool = False
    backend: dispatch.Backend = "reference"

    def ready(self) -> Form:
        """Return the callable; compiles for the shapes of its first call."""
        if not self.compiled:
            return self.form
        compiled: Form = torch.compile(self.form, fullgraph=True, dynamic=False)
        return compiled


def variants_of(operation: str, names: Collection[str]) -> list[Variant]:
    """Return the variants of an operation in `names`, the baseline first."""
    return [each for each in OPERATIONS[operation] if each.name in names]


def absent(operation: str, variant: Variant, device: torch.device) -> str:
    """Return why a variant cannot run; "" if it can."""
    if variant.backend != "triton":
        return ""
    # On other devices only Triton's interpreter runs, whose times are meaningless.
    if device.type != "cuda":
        return "kernels are for CUDA devices"
    return "" if operation in dispatch.OPERATIONS else "it has no kernel"


# --- film_lrelu -----------------------------------------------------------------------------------


def composed_film(
    x: Tensor, gamma: Tensor | None, beta: Tensor, *, slope: float, upscale: int
) -> Tensor:
    """Compute operation by operation, each a pass over memory."""
    y = x if gamma is None else x * (1 + _channels(gamma))
    y = F.leaky_relu(y + _channels(beta), slope)
    n, c, h, w = y.shape
    r = upscale
    if r > 1:
        y = y.reshape(n, r, r, c // r**2, h, w).permute(0, 3, 4, 1, 5, 2)
        y = y.reshape(n, c // r**2, r * h, r * w)
    return y.to(x.dtype)


def _channels(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1], 1, 1)


# --- dssim_l1 -------------------------------------------------------------------------------------


def blurring_dssim(
    pred: Tensor,
    target: Tensor,
    mask: Tensor,
    *,
    window: int,
    sigma: float,
    scales: int,
    blur: Blur,
) -> tuple[Tensor, Tensor]:
    """Compute DSSIM with five separately blurred moments, and L1, for a given blur."""
    ramp = torch.arange(window, device=pred.device, dtype=pred.dtype) - window // 2
    taps = torch.exp(-0.5 * (ramp / sigma) ** 2)
    taps = taps / taps.sum()
    l1 = _mean((pred - target).abs(), mask)
    x, y, weight = pred - 0.5, target - 0.5, mask
    by_scale = []
    for scale in range(scales):
        if scale:
            x, y, weight = (
                F.avg_pool2d(each, 2, ceil_mode=True, count_include_pad=False)
                for each in (x, y, weight)
            )
        inside = blur(torch.ones_like(weight[:1]), taps)
        moments = (blur(each, taps) / inside for each in (x, y, x * x, y * y, x * y))
        by_scale.append(_mean(_dssim(*moments), weight))
    return torch.stack(by_scale).mean(dim=0), l1


def _dssim(x: Tensor, y: Tensor, xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    variances, covariance = xx - x**2 + yy - y**2, xy - x * y
    light_x, light_y = x + 0.5, y + 0.5
    luminance = (2 * light_x * light_y + C1) / (light_x**2 + light_y**2 + C1)
    return 0.5 - 0.5 * luminance * (2 * covariance + C2) / (variances + C2)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    shares = weight / weight.sum(dim=(2, 3), keepdim=True)
    return (values * shares).sum(dim=(2, 3)).mean(dim=1)


def square_blur(x: Tensor, taps: Tensor) -> Tensor:
    """Blur by one depthwise convolution of taps x taps, as common for SSIM."""
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, padding=len(taps) // 2, groups=x.shape[1])


def separable_blur(x: Tensor, taps: Tensor) -> Tensor:
    """Blur by a depthwise convolution along each axis."""
    channels, half = x.shape[1], len(taps) // 2
    down = taps[:, None].expand(channels, 1, -1, 1)
    across = taps.expand(channels, 1, 1, -1)
    y = F.conv2d(x, down, padding=(half, 0), groups=channels)
    return F.conv2d(y, across, padding=(0, half), groups=channels)


def shifted_blur(x: Tensor, taps: Tensor) -> Tensor:
    """Blur by sums of shifted copies along each axis, which inductor can fuse."""
    half = len(taps) // 2
    height, width = x.shape[2:]
    padded = F.pad(x, (0, 0, half, half))
    rows = _sum([padded[:, :, i : i + height] * taps[i] for i in range(len(taps))])
    padded = F.pad(rows, (half, half))
    return _sum([padded[..., i : i + width] * taps[i] for i in range(len(taps))])


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


# --- warp_pair ------------------------------------------------------------------------------------


def sampled_warp(
    faces: Tensor,
    faces_from_target: Tensor,
    grid: Tensor,
    gain: Tensor,
    *,
    size: int,
    index: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Warp by `grid_sample` after gathering images and converting them to float."""
    with torch.no_grad():
        pictures = faces[index].permute(0, 3, 1, 2).to(dtype) / 255
        ramp = torch.arange(size, device=faces.device, dtype=dtype)
        y, x = torch.meshgrid(ramp, ramp, indexing="ij")
        straight = torch.stack((x, y), dim=-1)
        moved = F.interpolate(
            grid.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=True
        )
        shifted = straight + moved.permute(0, 2, 3, 1)
        target = _sampled(pictures, straight.expand_as(shifted), faces_from_target)
        warped = _sampled(pictures[:, :3], shifted, faces_from_target)
        scale, shift = gain[..., None, None].unbind(2)
        return (warped * scale + shift).clamp(0, 1), target


def _sampled(pictures: Tensor, places: Tensor, affine: Tensor) -> Tensor:
    """Sample bilinearly at `affine` of (N, h, w, 2) positions in pixels, with border padding."""
    linear, move = affine[:, None, None, :, :2], affine[:, None, None, :, 2]
    positions = (linear * places[..., None, :]).sum(-1) + move
    return F.grid_sample(
        pictures,
        positions * (2 / (pictures.shape[-1] - 1)) - 1,
        padding_mode="border",
        align_corners=True,
    )


OPERATIONS: dict[str, list[Variant]] = {
    "film_lrelu": [
        Variant("naive", composed_film),
        Variant("reference", film_lrelu),
        Variant("inductor", film_lrelu, compiled=True),
        Variant("kernel", film_lrelu, backend="triton"),
    ],
    "dssim_l1": [
        Variant("naive", partial(blurring_dssim, blur=square_blur)),
        Variant("separable", partial(blurring_dssim, blur=separable_blur)),
        Variant("reference", dssim_l1),
        Variant("inductor", dssim_l1, compiled=True),
        Variant("inductor shifted", partial(blurring_dssim, blur=shifted_blur), compiled=True),
        Variant("kernel", dssim_l1, backend="triton"),
    ],
    "warp_pair": [
        Variant("naive", sampled_warp),
        Variant("reference", warp_pair),
        Variant("inductor", warp_pair, compiled=True),
        Variant("kernel", warp_pair, backend="triton"),
    ],
}
NAMES = tuple(dict.fromkeys(each.name for forms in OPERATIONS.values() for each in forms))
