"""Loss of reverse pairs: real faces given back from their own swaps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from swapper.data.pseudo_samples import swapped_as
from swapper.errors import UsageError
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.losses.reduce import total
from swapper.models.autoencoder import Autoencoder
from swapper.training.reconstruct import decode_blocks


@dataclass(frozen=True)
class ReversePairs:
    """Trains each decoder to give back real faces of its identity from swaps of them.

    A real face of identity B is swapped to another identity by the averaged weights, without a
    gradient; from that picture decoder B has to give back the real face. It is the only pair with
    an input of another identity and real pixels as its target.

    Attributes:
        weight: Of the loss, relative to that of own faces.
        start: Step from which it is on; swaps before are too poor to learn from.

    Source: the swapped pairs of APPLE, arXiv:2601.15288.
    """

    weight: float = 0.5
    start: int = 1000

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise UsageError(f"reverse.weight={self.weight}: must be above 0; or reverse=none")
        if self.start < 0:
            raise UsageError(f"reverse.start={self.start}: must be at least 0")

    def __call__(
        self,
        net: Autoencoder,
        averaged: Autoencoder,
        loss: ReconstructionLoss,
        warped: Tensor,
        target: Tensor,
        code: Tensor | None,
        step: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the reconstruction loss of faces given back.

        Args:
            net: The network in training.
            averaged: The same with averaged weights.
            loss: As for own faces.
            warped: (N, 3, S, S) input of own faces, in equal blocks of one identity each.
            target: (N, 5, S, S) their targets.
            code: (N, K) that the decoders are conditioned on, or None.
            step: Decides to which other identity each is swapped.

        Returns:
            A scalar, and its parts to be logged.
        """
        count = len(net.identities)
        others = swapped_as(step, count)
        with torch.no_grad():
            swaps = decode_blocks(averaged, averaged.encode(warped), others, code).image
        output = decode_blocks(net, net.encode(swaps.clamp(0, 1)), range(count), code)
        parts = loss(output, target)
        logged = {f"reverse_{name}": value for name, value in parts.items()}
        return self.weight * total(parts, loss.weights), logged
