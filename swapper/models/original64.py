"""Layers of the public 64 px reference, for comparison.

Source: the 'original' model of the deepfakes community, rebuilt from its published layer list.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swapper.kernels.film import film_lrelu
from swapper.models.blocks import SLOPE, sigmoid
from swapper.types import SwapOutput

LATENT_SIDE = 4


class OriginalDown(nn.Module):
    """5x5 convolution of stride 2, leaky ReLU; padded as Keras' "same": one left, two right."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = he_uniform(nn.Conv2d(channels, out_channels, 5, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 2h, 2w) to (N, C_out, h, w)."""
        return F.leaky_relu(self.conv(F.pad(x, (1, 2, 1, 2))), SLOPE)


class OriginalUp(nn.Module):
    """3x3 convolution to four times the channels, leaky ReLU, pixel shuffle."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = he_uniform(nn.Conv2d(channels, 4 * out_channels, 3, padding=1, bias=False))
        self.bias = nn.Parameter(torch.zeros(4 * out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C_out, 2h, 2w)."""
        return film_lrelu(self.conv(x), None, self.bias, slope=SLOPE, upscale=2)


class OriginalEncoder(nn.Module):
    """64 px to 8x8x512 through a dense bottleneck of 1024; 69.66 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = itertools.pairwise((3, 128, 256, 512, 1024))
        self.downs = nn.Sequential(*(OriginalDown(a, b) for a, b in widths))
        self.squeeze = glorot_uniform(nn.Linear(1024 * LATENT_SIDE**2, 1024))
        self.spread = glorot_uniform(nn.Linear(1024, 1024 * LATENT_SIDE**2))
        self.up = OriginalUp(1024, 512)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 64, 64) in [0, 1] to (N, 512, 8, 8)."""
        code = self.spread(self.squeeze(self.downs(x).flatten(1)))
        latent: Tensor = self.up(code.reshape(-1, 1024, LATENT_SIDE, LATENT_SIDE))
        return latent


class OriginalDecoder(nn.Module):
    """8x8x512 to a 64 px face; 6.20 M parameters, 577 of them for the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.ups = nn.Sequential(OriginalUp(512, 256), OriginalUp(256, 128), OriginalUp(128, 64))
        self.colour = he_uniform(nn.Conv2d(64, 3, 5, padding=2))
        self.mask = he_uniform(nn.Conv2d(64, 1, 3, padding=1))

    def forward(self, latent: Tensor) -> SwapOutput:
        """(N, 512, 8, 8) to image and mask."""
        x = self.ups(latent)
        return SwapOutput(image=sigmoid(self.colour(x)), mask=sigmoid(self.mask(x)))


def he_uniform(conv: nn.Conv2d) -> nn.Conv2d:
    """Initialise as Keras' HeUniform; bias 0."""
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def glorot_uniform(dense: nn.Linear) -> nn.Linear:
    """Initialise as Keras' default; bias 0."""
    nn.init.xavier_uniform_(dense.weight)
    nn.init.zeros_(dense.bias)
    return dense
