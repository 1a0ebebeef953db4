"""Decode a batch whose faces lie in equal blocks, one block an identity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from swapper.models.autoencoder import Autoencoder
from swapper.types import SwapOutput


def decode_blocks(
    net: Autoencoder, latent: Tensor, identities: Sequence[int], code: Tensor | None
) -> SwapOutput:
    """Decode each block by one identity's decoder.

    Args:
        net: The network.
        latent: (N, C, h, w), in ``len(identities)`` equal blocks.
        identities: For each block, the place of the identity whose decoder is used.
        code: (N, K) that the decoders are conditioned on, or None.
    """
    count = len(identities)
    codes = [None] * count if code is None else code.chunk(count)
    outputs = [
        net.decode(block, net.identities[index], block_code)
        for block, block_code, index in zip(latent.chunk(count), codes, identities, strict=True)
    ]
    return SwapOutput(
        image=torch.cat([each.image for each in outputs]),
        mask=torch.cat([each.mask for each in outputs]),
    )
