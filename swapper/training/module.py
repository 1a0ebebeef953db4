"""One training step, as Lightning wants it told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from swapper.errors import TrainingError
from swapper.kernels.warp import warp_pair
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.losses.weighted import total
from swapper.models.autoencoder import Autoencoder
from swapper.training.optim import Optim
from swapper.types import FaceBatch, SwapOutput

log = logging.getLogger(__name__)

MAX_BAD_STEPS = 20
"""So many steps in a row without a finite gradient end the run; a loss scaler needs a few."""


class SwapModule(LightningModule):
    """Warp, encode, decode each identity's own faces, hold them to their targets.

    Args:
        net: Shared encoder and the identities' decoders.
        loss: Reconstruction loss; its parts are logged by name.
        optim: Optimiser and schedule.
        seed: Of what the network draws itself (dropout), keyed by step and rank.
        record: Plain data that every checkpoint carries: the resolved config and the identities.
    """

    def __init__(
        self,
        net: Autoencoder,
        loss: ReconstructionLoss,
        optim: Optim,
        *,
        seed: int = 0,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self.optim = optim
        self.seed = seed
        self.record = dict(record or {})
        self.mark_step: Callable[[int], None] = lambda _: None
        self._batch_step = -1
        self._bad_steps = 0

    def reconstruct(self, warped: Tensor) -> SwapOutput:
        """Decode each identity's own faces.

        Args:
            warped: (N, 3, R, R) in [0, 1], in equal blocks, one an identity, in their order.
        """
        blocks = self.net.encode(warped).chunk(len(self.net.identities))
        outputs = [
            self.net.decode(block, identity)
            for block, identity in zip(blocks, self.net.identities, strict=True)
        ]
        return SwapOutput(
            image=torch.cat([output.image for output in outputs]),
            mask=torch.cat([output.mask for output in outputs]),
        )

    def _parts(self, batch: FaceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        warped, target = warp_pair(
            batch.faces,
            batch.faces_from_target,
            batch.grid,
            batch.gain,
            size=self.net.resolution,
            degraded=batch.degraded,
        )
        parts: dict[str, Tensor] = self.loss(self.reconstruct(warped), target)
        return total(parts, self.loss.weights), parts

    def training_step(self, batch: FaceBatch, batch_idx: int) -> Tensor:
        """Loss of one batch; the batch and every draw depend on (seed, step, rank) alone."""
        self._batch_step = batch.step
        torch.manual_seed(hash((self.seed, batch.step, self.global_rank)) % 2**63)
        loss, parts = self._parts(batch)
        logged = {f"train/{name}": value.detach() for name, value in parts.items()}
        self.log_dict({"train/loss": loss.detach(), **logged}, batch_size=1)
        return loss

    def validation_step(self, batch: FaceBatch, batch_idx: int) -> None:
        """Loss on held-out faces, unwarped, by the averaged weights where there are some."""
        loss, parts = self._parts(batch)
        logged = {f"val/{name}": value for name, value in parts.items()}
        self.log_dict({"val/loss": loss, **logged}, batch_size=1, on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> Optimizer:
        """The optimiser over the trained weights."""
        return self.optim.build(self.net.parameters())

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        """Set the learning rate, a function of the step: a changed config takes effect at once."""
        rate = self.optim.rate(self.global_step, self.trainer.max_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all weights and skip a step whose gradient is not finite.

        Gradients have been averaged over ranks by now, so every rank decides alike.

        Raises:
            TrainingError: After `MAX_BAD_STEPS` such steps in a row.
        """
        limit = float(gradient_clip_val) if gradient_clip_val else float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), limit)
        self.log("train/grad_norm", norm, batch_size=1)
        if torch.isfinite(norm):
            self._bad_steps = 0
            return
        optimizer.zero_grad(set_to_none=True)
        self._bad_steps += 1
        log.warning("step %d: the gradient is not finite; step skipped", self.global_step)
        if self._bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"step {self.global_step}: {self._bad_steps} steps in a row without a finite "
                "gradient; the last good weights are in the checkpoint: go on from it with a lower "
                "optim.lr or trainer.precision=32-true"
            )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and only then count the batch as trained on."""
        super().optimizer_step(*args, **kwargs)
        self.mark_step(self._batch_step + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to refuse a checkpoint that does not fit."""
        checkpoint["swapper"] = self.record
