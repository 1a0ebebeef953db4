"""Decode a batch whose faces lie in equal blocks, one block an identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from swapper.models.autoencoder import Autoencoder
from swapper.types import SwapOutput


class _Decoding(nn.Module):
    """`Autoencoder.decode` as a module, so that its weights can be handed in."""

    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, latent: Tensor, identity: str, code: Tensor | None) -> SwapOutput:
        return self.net.decode(latent, identity, code)


def decode_blocks(
    net: Autoencoder,
    latent: Tensor,
    identities: Sequence[int],
    code: Tensor | None,
    weights: Mapping[str, Tensor] | None = None,
) -> SwapOutput:
    """Decode each block by one identity's decoder.

    Args:
        net: The network.
        latent: (N, C, h, w), in ``len(identities)`` equal blocks.
        identities: For each block, the place of the identity whose decoder is used.
        code: (N, K) that the decoders are conditioned on, or None.
        weights: By name, used in place of the network's own.
    """
    count = len(identities)
    codes = [None] * count if code is None else code.chunk(count)
    decoding = _Decoding(net)
    replaced = {f"net.{name}": weight for name, weight in (weights or {}).items()}
    outputs = []
    for block, block_code, index in zip(latent.chunk(count), codes, identities, strict=True):
        arguments = (block, net.identities[index], block_code)
        outputs.append(
            torch.func.functional_call(decoding, replaced, arguments)
            if replaced
            else decoding(*arguments)
        )
    return SwapOutput(
        image=torch.cat([each.image for each in outputs]),
        mask=torch.cat([each.mask for each in outputs]),
    )
