"""Encoder from a performer's face to the latent shared by all decoders."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from swapper.models.blocks import Down, rms_norm

Neck = Literal["dense", "local"]
NECKS: tuple[Neck, ...] = ("dense", "local")

MIN_DOWNS = 4
LATENT_GAIN = 0.25
"""Initial scale of the latent: the decoders learn faster from a small one (docs/LOG.md)."""


def latent_side(resolution: int) -> int:
    """Side of the latent: 4 for 64 px, 8 for 128, 256 and 512 px, between 5 and 15 for others."""
    return resolution >> num_downs(resolution)


def num_downs(resolution: int) -> int:
    """Halvings from picture to latent: at least four, then while the side is even and above 8."""
    downs = MIN_DOWNS
    while resolution >> downs > 8 and (resolution >> downs) % 2 == 0:
        downs += 1
    return downs


class Encoder(nn.Module):
    """Strided convolutions and a bottleneck.

    Args:
        resolution: Of the pictures, a multiple of 32.
        width: Channels are 2, 4, 8, 16, 16, ... times this.
        latent: Size of the bottleneck.
        channels: Of the map that it returns.
        neck: "dense": fully connected. "local": each number belongs to one cell of the map, which
            needs far fewer faces to learn positions (docs/LOG.md).

    Raises:
        ValueError: `latent` is not a multiple of the number of cells with a local neck.
    """

    def __init__(
        self, resolution: int, width: int, latent: int, channels: int, neck: Neck = "dense"
    ) -> None:
        super().__init__()
        downs = num_downs(resolution)
        widths = [3, *(width * min(2 << level, 16) for level in range(downs))]
        self.downs = nn.Sequential(*(Down(a, b) for a, b in itertools.pairwise(widths)))
        self.side = latent_side(resolution)
        cells = self.side**2
        self.squeeze: nn.Module
        self.spread: nn.Module
        if neck == "dense":
            self.squeeze = nn.Linear(widths[-1] * cells, latent)
            self.spread = nn.Linear(latent, channels * cells)
        else:
            if latent % cells:
                raise ValueError(
                    f"latent must be a multiple of {cells} with neck=local at resolution "
                    f"{resolution}, got {latent}"
                )
            self.squeeze = nn.Conv2d(widths[-1], latent // cells, 1)
            self.spread = nn.Conv2d(latent // cells, channels, 3, padding=1)
        self.neck = neck
        for layer in (self.squeeze, self.spread):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.spread.weight *= LATENT_GAIN

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, R, R) in [0, 1] to (N, channels, side, side)."""
        features = self.downs(2 * x - 1)
        # Normalised at the bottleneck, another person's face stays close to what the decoder was
        # trained on: swaps converge earlier (docs/LOG.md), and half precision is safe.
        if self.neck == "dense":
            numbers = rms_norm(self.squeeze(rms_norm(features.flatten(1), 1)), 1)
        else:
            numbers = rms_norm(self.squeeze(rms_norm(features, 1)), (1, 2, 3))
        spread: Tensor = self.spread(numbers)
        return spread.reshape(x.shape[0], -1, self.side, self.side)
