"""The swap in a training step: performers' latents decoded as others, and what that is held to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swapper.losses.expression import ExpressionLoss, Reach, bound_gradient
from swapper.models.autoencoder import Autoencoder
from swapper.types import FaceBatch, SwapOutput


@dataclass(frozen=True, slots=True, eq=False)
class SwapAssignment:
    """Who plays whom in one step.

    Attributes:
        rows: (M,) int64, samples of the batch, in equal blocks of one performer each.
        performer: (M,) int64.
        identity: (M,) int64, never the performer.
        follows: (M,) int64, place in `rows` of the frame before, or -1.
    """

    rows: Tensor
    performer: Tensor
    identity: Tensor
    follows: Tensor

    @classmethod
    def of(cls, batch: FaceBatch, num_identities: int, share: float) -> SwapAssignment:
        """Each performer as the next identity, another one every step; a share of their faces."""
        count = len(batch.identity)
        block = count // num_identities
        some = max(1, math.ceil(share * block))
        device = batch.identity.device
        first = torch.arange(num_identities, device=device) * block
        rows = (first[:, None] + torch.arange(some, device=device)).flatten()
        performer = batch.identity[rows]
        turn = 1 + batch.step % (num_identities - 1)
        place = torch.full((count + 1,), -1, dtype=torch.int64, device=device)
        place[rows] = torch.arange(len(rows), device=device)
        # An index of -1 reads the entry behind the last, which stays -1.
        follows = place[batch.follows[rows]]
        return cls(rows, performer, (performer + turn) % num_identities, follows)


class _Decoding(nn.Module):
    """`Autoencoder.decode` as a module, so that its weights can be handed in."""

    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, latent: Tensor, identity: str, code: Tensor | None) -> SwapOutput:
        return self.net.decode(latent, identity, code)


def decode_swaps(
    net: Autoencoder,
    latent: Tensor,
    cast: SwapAssignment,
    code: Tensor | None,
    reach: Reach | None = None,
) -> SwapOutput:
    """Draw each performer as its identity.

    Args:
        net: The network.
        latent: (M, C, h, w) of the performers.
        cast: Who is whom.
        code: (M, K) or None.
        reach: Which weights are to learn from the result; None for all.
    """
    weights = {} if reach is None else _learning(net, reach)
    decoding = _Decoding(net)
    blocks = len(torch.unique_consecutive(cast.performer))
    latents = latent.chunk(blocks)
    codes = [None] * blocks if code is None else code.chunk(blocks)
    outputs = []
    for one, its_code, index in zip(
        latents, codes, cast.identity[:: len(cast.rows) // blocks].tolist(), strict=True
    ):
        arguments = (one, net.identities[index], its_code)
        outputs.append(torch.func.functional_call(decoding, weights, arguments))
    return SwapOutput(
        image=torch.cat([each.image for each in outputs]),
        mask=torch.cat([each.mask for each in outputs]),
    )


def _learning(net: Autoencoder, reach: Reach) -> dict[str, Tensor]:
    """All weights by the names that `_Decoding` knows, detached where `reach` does not go."""
    trained = net.trained_by_expression(fine=reach == "coarse")
    return {
        f"net.{name}": weight if name in trained else weight.detach()
        for name, weight in net.named_parameters()
    }


def expression_step(
    net: Autoencoder,
    loss: ExpressionLoss,
    batch: FaceBatch,
    latent: Tensor,
    own: Tensor,
    target: Tensor,
    most: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the expression loss adds to a training step.

    Args:
        net: The network.
        loss: Bound to its estimator.
        batch: The step's.
        latent: (N, C, h, w) of the warped faces.
        own: (N, 3, R, R), their reconstructions.
        target: (N, 5, R, R), the unwarped faces.
        most: Scalar: the unit of the bounds, the norm of the reconstruction loss's gradient at one
            picture.

    Returns:
        A scalar to be added to the loss, right in its gradient only, and values to be logged.
    """
    cast = SwapAssignment.of(batch, len(net.identities), loss.faces)
    limit = most * math.sqrt(len(cast.rows))
    face = target[cast.rows, :3]
    extra = torch.zeros_like(most)
    told: dict[str, Tensor] = {}

    def hold(kind: str, pictures: Tensor, who: Tensor, share: float) -> Tensor:
        parts = loss.per_sample(
            pictures, who, face, cast.performer, cast.follows, by_chance=kind == "swap"
        )
        stand_in, factor = bound_gradient(loss.combine(parts), pictures, share * limit)
        told.update({f"{kind}_{name}": value.mean() for name, value in parts.items()})
        told[f"{kind}_bound"] = factor
        return stand_in

    if loss.own:
        extra = extra + hold("own", own[cast.rows], cast.performer, loss.own)
    if loss.swap:
        swap, tie = _swap(net, loss, batch, latent, cast)
        extra = extra + hold("swap", swap, cast.identity, loss.swap)
        if tie is not None:
            extra = extra + loss.tether * tie
            told["tether"] = tie
    return extra, told


def _swap(
    net: Autoencoder, loss: ExpressionLoss, batch: FaceBatch, latent: Tensor, cast: SwapAssignment
) -> tuple[Tensor, Tensor | None]:
    """The swapped pictures, and how far their colours are from those without a code."""
    heard = batch.code[cast.rows] if net.code_dim else None
    performers = latent[cast.rows]
    if loss.reach == "conditioning":
        performers = performers.detach()
    swap = decode_swaps(net, performers, cast, heard, loss.reach).image
    if not loss.tether or heard is None:
        return swap, None
    with torch.no_grad():
        plain = decode_swaps(net, performers, cast, None).image
    return swap, loss.colours(swap, plain).mean()
