"""Building blocks of encoders and decoders, and their initialisation.

Convolutions that are followed by an activation carry no bias of their own: it is the ``beta`` of
`swapper.kernels.film.film_lrelu`. All initial values come from torch's global generator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from swapper.kernels.film import HALF_TYPES, film_lrelu, pixel_shuffle

SLOPE = 0.1
"""Negative slope of every leaky ReLU, as in the public 64 px reference."""


def init_icnr_(weight: Tensor, upscale: int = 2, gain: float = math.sqrt(2.0)) -> None:
    """Initialise a sub-pixel convolution as nearest-neighbour upsampling (ICNR).

    All r * r sub-kernels of an output channel start equal, which avoids checkerboard artefacts.

    Args:
        weight: (r * r * C, C_in, k, k), sub-pixel order (i, j, c).
        upscale: r.
        gain: Of the normal distribution, sqrt(2) before a ReLU.

    Source: Aitken et al. 2017, arXiv:1707.02937; He et al. 2015, arXiv:1502.01852.
    """
    with torch.no_grad():
        base = torch.empty_like(weight[: weight.shape[0] // upscale**2])
        base.normal_(0.0, gain / math.sqrt(base[0].numel()))
        weight.copy_(base.repeat(upscale**2, 1, 1, 1))


def rms_norm(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Divide by the root mean square over `dim`; computed in float32, dtype kept.

    Source: the pixel norm of Karras et al. 2018, arXiv:1710.10196.
    """
    y = x.float() if x.dtype in HALF_TYPES else x
    y = y * torch.rsqrt(y.square().mean(dim=dim, keepdim=True) + 1e-8)
    return y.to(x.dtype)


def zero_(layer: nn.Module) -> None:
    """Set weight and bias to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Down(nn.Module):
    """Halve each side: 5x5 convolution of stride 2, bias, leaky ReLU."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 5, stride=2, padding=2, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.conv.weight, a=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 2h, 2w) to (N, C_out, h, w)."""
        return film_lrelu(self.conv(x), None, self.bias, slope=SLOPE)


class Up(nn.Module):
    """Double each side: 3x3 convolution to 4x the channels, FiLM, leaky ReLU, pixel shuffle."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(4 * out_channels))
        init_icnr_(self.conv.weight)

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """Upsample and modulate.

        Args:
            x: (N, C, h, w).
            gamma: Scale offset of each *output* channel, (C_out,) or (N, C_out), or None.
            beta: Shift of each output channel besides the bias, likewise.

        Returns:
            (N, C_out, 2h, 2w).
        """
        # One value for all four sub-pixels, so that modulation cannot cause checkerboards.
        scale = None if gamma is None else torch.cat([gamma] * 4, dim=-1)
        shift = self.bias if beta is None else self.bias + torch.cat([beta] * 4, dim=-1)
        return film_lrelu(self.conv(x), scale, shift, slope=SLOPE, upscale=2)


class Residual(nn.Module):
    """Residual block: ``x + conv(lrelu(conv(norm(x))))``, both 3x3; initialised as identity.

    The norm makes each pixel's channels of unit size. Unlike a group norm it needs no statistics of
    the picture and keeps channels_last; it learns as fast (docs/LOG.md).

    Args:
        channels: In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, a=SLOPE)
        zero_(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        features = self.first(rms_norm(x, 1))
        refined: Tensor = self.second(film_lrelu(features, None, self.bias, slope=SLOPE))
        return x + refined


class Head(nn.Module):
    """Output head at twice the side: 3x3 convolution to four sub-pixels, pixel shuffle, sigmoid.

    Much cheaper than a convolution at full size with few channels.

    Args:
        channels: In.
        out_channels: 3 for colour, 1 for a mask.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, 3, padding=1)
        zero_(self.conv)
        init_icnr_(self.conv.weight, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C_out, 2h, 2w) in [0, 1], at least float32."""
        return sigmoid(pixel_shuffle(self.conv(x), 2))


def sigmoid(logits: Tensor) -> Tensor:
    """Sigmoid in float32 at least: in bfloat16 its upper half has only 128 steps."""
    return torch.sigmoid(logits.float() if logits.dtype in HALF_TYPES else logits)
