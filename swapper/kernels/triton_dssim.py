"""The Triton kernel of `swapper.kernels.dssim.dssim_l1`, forward and backward.

Forward is one pass a scale (L1 rides on the first) and a small one that halves both pictures; it
leaves the sums of each program, added up by torch in a fixed order, and what backward needs: three
float32 planes a scale, the derivatives by the window's moments. Backward is one pass a scale,
coarsest first: the planes blurred by the transposed window, and the coarser scale's gradient spread
over its 2x2 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from swapper.kernels.dssim import MIN_WEIGHT
from swapper.kernels.triton_dssim_passes import _backward, _forward, _halve
from swapper.kernels.triton_film import parts, strides_of

STRIPS = 4
"""Of a program, one for each warp."""
COLUMNS = 32
"""Of a strip, one for each thread."""
OWN = (64, 32, 16, 8)
"""Rows of a strip: the first that gives enough strips. Each also reads a window's rows around."""
ENOUGH_STRIPS = 4096
"""About eight for each scheduler of the largest devices."""
UNROLLED = 2
"""Rows of a strip that become straight code; many more take a minute to compile."""
HALVED = 1024
"""Values that a program of the halving makes."""
HALVING_WARPS = 4
ALIGNED = 64
"""Values to which each part of a buffer is aligned."""
MIN_FALLOFF = -1e30
"""Of a gaussian without width: 0 beside the centre, and still finite."""


def _aligned(values: int) -> int:
    return (values + ALIGNED - 1) // ALIGNED * ALIGNED


def _without_pixel(tensor: Tensor) -> tuple[int, int, int]:
    n, y, _, c = strides_of(tensor)
    return n, y, c


@dataclass(frozen=True)
class _Scale:
    """Pictures (N, C, H, W) and weights (N, 1, H, W) of one scale, with any strides."""

    x: Tensor
    y: Tensor
    weight: Tensor | None
    centre: float
    """What is still to be subtracted from both pictures."""

    @property
    def plane(self) -> int:
        """Values from one plane of derivatives to the next."""
        return _aligned(self.x.numel())

    def own(self) -> int:
        """Rows of a strip."""
        n, c, h, w = self.x.shape
        runs = n * parts(w * c, COLUMNS)
        enough = (own for own in OWN if runs * parts(h, own) >= ENOUGH_STRIPS)
        return next(enough, OWN[-1])

    def programs(self) -> int:
        """Of a sample."""
        _, c, h, w = self.x.shape
        return parts(w * c, COLUMNS) * parts(h, self.own() * STRIPS)

    def options(self, window: int) -> dict[str, Any]:
        """What both passes are compiled for."""
        return {
            "x_step": strides_of(self.x)[2],
            "y_step": strides_of(self.y)[2],
            "channels": self.x.shape[1],
            "own": self.own(),
            "strips": STRIPS,
            "columns": COLUMNS,
            "window": window,
            "centre": self.centre,
            "unroll": UNROLLED,
            "num_warps": STRIPS,
            "enable_fp_fusion": False,
        }


def _falloff(sigma: float) -> float:
    return max(-0.5 / max(sigma * sigma, 1e-40), MIN_FALLOFF)


def _shapes(like: Tensor, scales: int) -> list[tuple[int, int, int, int]]:
    n, c, h, w = like.shape
    shapes = [(n, h, w, c)]
    for _ in range(scales - 1):
        h, w = (h + 1) // 2, (w + 1) // 2
        shapes.append((n, h, w, c))
    return shapes


def _scales(
    pred: Tensor, target: Tensor, mask: Tensor | None, halved: Tensor, scales: int
) -> list[_Scale]:
    """All scales, the smaller ones as parts of `halved`."""
    levels, start = [_Scale(pred, target, mask, 0.5)], 0
    for n, h, w, c in _shapes(pred, scales)[1:]:
        views = []
        for channels in (c, c) if mask is None else (c, c, 1):
            values = n * h * w * channels
            view = halved[start : start + values].view(n, h, w, channels)
            views.append(view.permute(0, 3, 1, 2))
            start += _aligned(values)
        levels.append(_Scale(views[0], views[1], None if mask is None else views[2], 0.0))
    return levels


def _empty(
    pred: Tensor, mask: Tensor | None, scales: int, derivative: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """DSSIM, L1, shares, smaller scales, planes: of the right sizes and empty."""
    shapes = _shapes(pred, scales)
    smaller = planes = 0
    for place, (n, h, w, c) in enumerate(shapes):
        values, pixels = _aligned(n * h * w * c), _aligned(n * h * w)
        smaller += (2 * values + (0 if mask is None else pixels)) if place else 0
        planes += 3 * values if derivative else 0
    n = pred.shape[0]

    def empty(*size: int) -> Tensor:
        return torch.empty(size, dtype=torch.float32, device=pred.device)

    return empty(n), empty(n), empty(n, scales), empty(smaller), empty(planes)


def _halve_all(scales: list[_Scale]) -> None:
    """Fill every scale but the first from the one before."""
    for large, small in pairwise(scales):
        n, c, h, w = small.x.shape
        _halve[(n * parts(h * w * c, HALVED),)](
            *(large.x, large.y, large.weight, small.x, small.y, small.weight),
            large.x.shape[2:],
            strides_of(large.x),
            strides_of(large.y),
            strides_of(large.weight),
            channels=c,
            centre=large.centre,
            block=HALVED,
            num_warps=HALVING_WARPS,
            enable_fp_fusion=False,
        )


@torch.library.custom_op("swapper::dssim_l1", mutates_args=())
def dssim_l1(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None,
    window: int,
    sigma: float,
    scales: int,
    derivative: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `swapper.kernels.dssim.dssim_l1`, of checked arguments; differentiable once, by `pred`.

    Returns:
        DSSIM (N,) and L1 (N,); and, for backward: one over the weights' sum of each sample and
        scale (N, scales), the smaller scales' pictures and weights, and with `derivative` the
        planes of derivatives, else none. All float32.
    """
    dssim, l1, share, halved, planes = _empty(pred, mask, scales, derivative)
    given = _scales(pred, target, mask, halved, scales)
    most = max(each.programs() for each in given)
    sums = torch.zeros((len(pred), scales, most, 3), dtype=torch.float32, device=pred.device)
    rest = planes
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(pred):  # type: ignore[no-untyped-call]
        _halve_all(given)
        for number, each in enumerate(given):
            _forward[(len(pred) * each.programs(),)](
                *(each.x, each.y, each.weight, rest if derivative else None, sums),
                *(number, _falloff(sigma), each.x.shape[2:]),
                _without_pixel(each.x),
                _without_pixel(each.y),
                strides_of(each.weight)[:3],
                each.plane,
                sums.stride()[:2],
                **each.options(window),
            )
            rest = rest[3 * each.plane :]
    # The weights are counted once for each channel.
    total = sums.sum(dim=2)
    torch.reciprocal(total[..., 2].clamp_min(pred.shape[1] * MIN_WEIGHT), out=share)
    torch.mean(total[..., 0] * share, dim=1, out=dssim)
    torch.mul(total[:, 0, 1], share[:, 0], out=l1)
    return dssim, l1, share, halved, planes


@torch.library.custom_op("swapper::dssim_l1_backward", mutates_args=())
def _dssim_l1_backward(
    dssim: Tensor,
    l1: Tensor,
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None,
    share: Tensor,
    halved: Tensor,
    planes: Tensor,
    window: int,
    sigma: float,
    scales: int,
) -> Tensor:
    """Gradient by `pred`, given those by `dssim` and `l1`, float32 (N,)."""
    given = _scales(pred, target, mask, halved, scales)
    end, grad = 3 * sum(each.plane for each in given), None
    with torch.cuda.device_of(pred):  # type: ignore[no-untyped-call]
        for number, each in reversed(list(enumerate(given))):
            end -= 3 * each.plane
            coarser, grad = grad, _gradient(each.x)
            _backward[(len(pred) * each.programs(),)](
                *(planes[end:], each.x, each.y, each.weight, coarser, dssim, l1, share, grad),
                *(number, _falloff(sigma), each.x.shape[2:]),
                _without_pixel(each.x),
                _without_pixel(each.y),
                strides_of(each.weight)[:3],
                _without_pixel(grad),
                *(each.plane, *dssim.stride(), *l1.stride()),
                scales=scales,
                grad_step=strides_of(grad)[2],
                **each.options(window),
            )
    assert grad is not None, "there is one scale at least"
    return grad


def _gradient(x: Tensor) -> Tensor:
    """Memory for the gradient by `x`, laid out as it is where that leaves no gaps."""
    return torch.empty_like(x)


def _save_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    pred, target, mask, ctx.window, ctx.sigma, ctx.scales, ctx.derivative = inputs
    _, _, *planes = output
    ctx.save_for_backward(pred, target, mask, *planes)
    ctx.mark_non_differentiable(*planes)
    ctx.set_materialize_grads(False)  # the planes are large


def _gradients(
    ctx: Any, dssim: Tensor | None, l1: Tensor | None, *_: Tensor | None
) -> tuple[Tensor | None, ...]:
    nothing = (None,) * 6
    if not ctx.needs_input_grad[0] or (dssim is None and l1 is None):
        return None, *nothing
    assert ctx.derivative, "asked for no derivative"
    pred, target, mask, share, halved, planes = ctx.saved_tensors
    dssim, l1 = (share.new_zeros(len(pred)) if each is None else each for each in (dssim, l1))
    options = ctx.window, ctx.sigma, ctx.scales
    grad = _dssim_l1_backward(dssim, l1, pred, target, mask, share, halved, planes, *options)
    return grad, *nothing


dssim_l1.register_fake(
    lambda pred, target, mask, window, sigma, scales, derivative: _empty(
        pred, mask, scales, derivative
    )
)
_dssim_l1_backward.register_fake(lambda dssim, l1, pred, *_: torch.empty_like(pred))
dssim_l1.register_autograd(_gradients, setup_context=_save_context)
