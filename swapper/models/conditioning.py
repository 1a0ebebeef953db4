"""Conditioning of decoder stages on identity and affect code.

Source: FiLM, Perez et al. 2018, arXiv:1709.07871.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Modulation of a stage's channels: ``x * (1 + gamma) + beta``.

    Attributes:
        gamma: (C,) or (N, C).
        beta: (C,) or (N, C).
    """

    gamma: Tensor
    beta: Tensor

    def __add__(self, other: Film) -> Film:
        """Combine two modulations: offsets add."""
        return Film(self.gamma + other.gamma, self.beta + other.beta)


class IdentityFilm(nn.Module):
    """One identity's learnt scale and shift of a shared stage; initialised as identity.

    Args:
        channels: Of the stage's output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self) -> Film:
        """The modulation, (C,) each."""
        return Film(self.gamma, self.beta)


class CodeShift(nn.Module):
    """Linear map from a code to an offset of the latent; initialised at zero, without bias.

    Shared by all identities, so the effect of affect is learnt from all faces. Unlike FiLM, which
    scales whole channels, it depends on position.

    Args:
        code_dim: Length of the code.
        channels: Of the latent.
        side: Of the latent.
    """

    def __init__(self, code_dim: int, channels: int, side: int) -> None:
        super().__init__()
        self.shape = channels, side, side
        self.linear = nn.Linear(code_dim, channels * side * side, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, code: Tensor) -> Tensor:
        """(N, code_dim) to (N, C, side, side), to be added to the latent."""
        moved: Tensor = self.linear(code)
        return moved.reshape(-1, *self.shape)


class CodeFilm(nn.Module):
    """Linear map from a code to a stage's scale and shift; initialised at zero, without bias.

    So the code 0 never changes the picture, which equals the result without a code.

    Args:
        code_dim: Length of the code.
        channels: Of the stage's output.
    """

    def __init__(self, code_dim: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(code_dim, 2 * channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, code: Tensor) -> Film:
        """(N, code_dim) to a modulation, (N, C) each."""
        gamma, beta = self.linear(code).chunk(2, dim=-1)
        return Film(gamma, beta)
