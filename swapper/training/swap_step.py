"""Loss of swaps against pseudo-targets in a training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from swapper.data.dataset import pseudo_targets
from swapper.data.pseudo_samples import swapped_as
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.losses.reduce import total
from swapper.models.autoencoder import Autoencoder
from swapper.training.reconstruct import decode_blocks
from swapper.types import FaceBatch, SwapOutput


@dataclass(frozen=True)
class PseudoTargetLoss:
    """Loss of swaps against pseudo-targets.

    Attributes:
        weight: Of the loss, relative to that of own faces.
        resolution: Largest side in pixels at which it is computed.
    """

    weight: float = 1.0
    resolution: int = 64

    def __call__(
        self,
        net: Autoencoder,
        loss: ReconstructionLoss,
        batch: FaceBatch,
        latent: Tensor,
        code: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the reconstruction loss of the batch's swaps, weighted by confidence.

        Args:
            net: The network.
            loss: As for own faces.
            batch: With pseudo-targets.
            latent: (N, C, h, w) of the performers, in equal blocks of one each.
            code: (N, K) that the decoders are conditioned on, or None.

        Returns:
            A scalar, and its parts to be logged.
        """
        pseudo = batch.pseudo
        assert pseudo is not None
        target = pseudo_targets(batch, net.resolution)
        codes = None if code is None else code[pseudo.sample]
        identities = swapped_as(batch.step, len(net.identities))
        output = decode_blocks(net, latent[pseudo.sample], identities, codes)
        output, target = _shrunk(output, target, self.resolution)
        parts = {
            name: (pseudo.weight * values).mean()
            for name, values in loss.per_sample(output, target).items()
        }
        logged = {f"pseudo_{name}": value for name, value in parts.items()}
        return self.weight * total(parts, loss.weights), logged


def _shrunk(output: SwapOutput, target: Tensor, side: int) -> tuple[SwapOutput, Tensor]:
    """Both averaged down to `side` pixels, if they are larger."""
    if target.shape[-1] <= side:
        return output, target

    def smaller(picture: Tensor) -> Tensor:
        return F.interpolate(picture, size=(side, side), mode="area")

    return SwapOutput(smaller(output.image), smaller(output.mask)), smaller(target)
