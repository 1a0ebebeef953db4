"""Decoder from the shared latent to one identity's face."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from swapper.models.blocks import Head, Residual, Up
from swapper.models.conditioning import CodeFilm, Film, IdentityFilm
from swapper.types import SwapOutput

MIN_MASK_CHANNELS = 8


def stage_widths(num_stages: int, width: int) -> list[int]:
    """Channels after each stage, coarsest first: ..., 8w, 8w, 4w, 2w, w."""
    return [width * min(1 << (num_stages - 1 - stage), 8) for stage in range(num_stages)]


def current_weight_name(name: str) -> str:
    """Translate the name of a weight as swapper wrote it before December 2026."""
    return name.replace(".listen.", ".code_film.")


class DecoderStage(nn.Module):
    """Upsampling stage: double the side, modulate, refine.

    Args:
        channels: In.
        out_channels: Out.
        code_dim: Length of the code that conditions it; 0 = none.
    """

    def __init__(self, channels: int, out_channels: int, code_dim: int = 0) -> None:
        super().__init__()
        self.up = Up(channels, out_channels)
        self.refine = Residual(out_channels)
        self.code_film = CodeFilm(code_dim, out_channels) if code_dim else None

    def forward(self, x: Tensor, code: Tensor | None = None, film: Film | None = None) -> Tensor:
        """Upsample.

        Args:
            x: (N, C, h, w).
            code: (N, code_dim), or None for the unconditioned result.
            film: Of an identity, where the stage is shared.

        Returns:
            (N, C_out, 2h, 2w).
        """
        if self.code_film is not None and code is not None:
            modulation: Film = self.code_film(code)
            film = modulation if film is None else film + modulation
        larger = self.up(x) if film is None else self.up(x, film.gamma, film.beta)
        refined: Tensor = self.refine(larger)
        return refined


def make_stages(
    channels: int, widths: Sequence[int], code_dim: int, levels: range
) -> list[DecoderStage]:
    """Build the stages of a decoder at `levels`, coarsest first.

    All but the finest are conditioned on the code: expression is shape, and a code must not change
    texture.
    """
    pairs = list(itertools.pairwise([channels, *widths]))
    return [DecoderStage(*pairs[each], code_dim if each < len(pairs) - 1 else 0) for each in levels]


class Decoder(nn.Module):
    """One identity's layers: its own stages, its heads, its modulation of the shared stages.

    Args:
        stages: Its own, finer than the trunk's; may be empty.
        channels: After its last stage, or the trunk's if it has none.
        trunk_widths: Channels of each shared stage.
    """

    def __init__(
        self, stages: Sequence[DecoderStage], channels: int, trunk_widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.films = nn.ModuleList(IdentityFilm(width) for width in trunk_widths)
        self.stages = nn.ModuleList(stages)
        self.colour = Head(channels, 3)
        narrow = max(channels // 4, MIN_MASK_CHANNELS)
        self.mask = nn.Sequential(
            nn.Conv2d(channels, narrow, 3, padding=1), nn.LeakyReLU(0.1), Head(narrow, 1)
        )

    def forward(self, latent: Tensor, trunk: nn.ModuleList, code: Tensor | None) -> SwapOutput:
        """Decode the face.

        Args:
            latent: (N, C, h, w).
            trunk: The shared stages, as many as `trunk_widths`; they come first.
            code: (N, code_dim), or None.
        """
        x = latent
        for stage, film in zip(trunk, self.films, strict=True):
            x = stage(x, code, film())
        for stage in self.stages:
            x = stage(x, code)
        return SwapOutput(image=self.colour(x), mask=self.mask(x))
