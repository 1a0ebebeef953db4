"""The expression loss in a training step: decode swaps and bound the loss's gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from swapper.data.pseudo_samples import swapped_as
from swapper.losses.expression import ExpressionLoss, TrainedLayers, bound_gradient
from swapper.models.autoencoder import Autoencoder
from swapper.training.reconstruct import decode_blocks
from swapper.types import FaceBatch


@dataclass(frozen=True, slots=True, eq=False)
class SwapAssignment:
    """Which identity each performer is decoded as in one step.

    Attributes:
        rows: (M,) int64, samples of the batch, in equal blocks of one performer each.
        performer: (M,) int64.
        identity: (M,) int64, never the performer.
        previous: (M,) int64, place in `rows` of the frame before, or -1.
    """

    rows: Tensor
    performer: Tensor
    identity: Tensor
    previous: Tensor

    @classmethod
    def of(cls, batch: FaceBatch, num_identities: int, share: float) -> SwapAssignment:
        """Assign a share of each performer's faces the next identity, another one every step."""
        count = len(batch.identity)
        block = count // num_identities
        per_performer = max(1, math.ceil(share * block))
        device = batch.identity.device
        first = torch.arange(num_identities, device=device) * block
        rows = (first[:, None] + torch.arange(per_performer, device=device)).flatten()
        performer = batch.identity[rows]
        identities = torch.tensor(swapped_as(batch.step, num_identities), device=device)
        place = torch.full((count + 1,), -1, dtype=torch.int64, device=device)
        place[rows] = torch.arange(len(rows), device=device)
        # An index of -1 reads the entry behind the last, which stays -1.
        previous = place[batch.previous[rows]]
        return cls(rows, performer, identities[performer], previous)


def _trainable_weights(net: Autoencoder, trained_layers: TrainedLayers) -> dict[str, Tensor]:
    """All weights by name, detached where `trained_layers` does not include them."""
    trained = net.trained_by_expression(fine=trained_layers == "coarse")
    return {
        name: weight if name in trained else weight.detach()
        for name, weight in net.named_parameters()
    }


def expression_step(
    net: Autoencoder,
    loss: ExpressionLoss,
    batch: FaceBatch,
    latent: Tensor,
    own: Tensor,
    target: Tensor,
    unit: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the expression loss of a training step.

    Args:
        net: The network.
        loss: Bound to its estimator.
        batch: The step's.
        latent: (N, C, h, w) of the warped faces.
        own: (N, 3, R, R), their reconstructions.
        target: (N, 5, R, R), the unwarped faces.
        unit: Scalar: the unit of the bounds, the norm of the reconstruction loss's gradient at one
            picture.

    Returns:
        A scalar to add to the loss, of which only the gradient is valid, and values to log.
    """
    assignment = SwapAssignment.of(batch, len(net.identities), loss.faces)
    limit = unit * math.sqrt(len(assignment.rows))
    face = target[assignment.rows, :3]
    extra = torch.zeros_like(unit)
    metrics: dict[str, Tensor] = {}

    def bounded(kind: str, pictures: Tensor, identity: Tensor, share: float) -> Tensor:
        parts = loss.per_sample(
            pictures,
            identity,
            face,
            assignment.performer,
            assignment.previous,
            random_view=kind == "swap",
        )
        surrogate, factor = bound_gradient(loss.combine(parts), pictures, share * limit)
        metrics.update({f"{kind}_{name}": value.mean() for name, value in parts.items()})
        metrics[f"{kind}_bound"] = factor
        return surrogate

    if loss.recon:
        extra = extra + bounded("recon", own[assignment.rows], assignment.performer, loss.recon)
    if loss.swap:
        swap, colour_difference = _swap(net, loss, batch, latent, assignment)
        extra = extra + bounded("swap", swap, assignment.identity, loss.swap)
        if colour_difference is not None:
            extra = extra + loss.color_anchor * colour_difference
            metrics["color_anchor"] = colour_difference
    return extra, metrics


def _swap(
    net: Autoencoder,
    loss: ExpressionLoss,
    batch: FaceBatch,
    latent: Tensor,
    assignment: SwapAssignment,
) -> tuple[Tensor, Tensor | None]:
    """Swapped pictures, and their colour difference to swaps without a code."""
    code = batch.code[assignment.rows] if net.code_dim else None
    performers = latent[assignment.rows]
    identities = swapped_as(batch.step, len(net.identities))
    if loss.trained_layers == "conditioning":
        performers = performers.detach()
    weights = _trainable_weights(net, loss.trained_layers)
    swap = decode_blocks(net, performers, identities, code, weights).image
    if not loss.color_anchor or code is None:
        return swap, None
    with torch.no_grad():
        plain = decode_blocks(net, performers, identities, None).image
    return swap, loss.colours(swap, plain).mean()
