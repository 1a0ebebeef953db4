"""One training step, as a LightningModule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from swapper.data.dataset import warped_and_target
from swapper.errors import TrainingError
from swapper.losses.expression import ExpressionLoss
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.losses.reduce import total
from swapper.models.autoencoder import Autoencoder
from swapper.options.fields import check_range
from swapper.training.expression_step import expression_step
from swapper.training.optim import Optim
from swapper.training.reconstruct import decode_blocks
from swapper.training.reverse_step import ReversePairs
from swapper.training.swap_step import PseudoTargetLoss
from swapper.types import FaceBatch, SwapOutput

log = logging.getLogger(__name__)

MAX_BAD_STEPS = 20
"""Consecutive steps without a finite gradient that end the run; a loss scaler needs a few."""


class SwapModule(LightningModule):
    """Training module: reconstruction of own faces, expression and pseudo-target losses on swaps.

    Args:
        net: Shared encoder and the identities' decoders.
        loss: Reconstruction loss; its parts are logged by name.
        optim: Optimiser and schedule.
        expression: Loss on the swaps, bound to its estimator; None for none.
        cond_drop_prob: Probability that a sample's code is replaced by the learnt null code, as in
            classifier-free guidance.
        swap: Loss of swaps against the batch's pseudo-targets; None where batches have none.
        reverse: Loss of own faces given back from their swaps; None for none.
        seed: Of the network's random numbers (dropout), keyed by step and rank.
        record: Plain data stored in every checkpoint: the resolved config and the identities.
    """

    def __init__(
        self,
        net: Autoencoder,
        loss: ReconstructionLoss,
        optim: Optim,
        *,
        expression: ExpressionLoss | None = None,
        swap: PseudoTargetLoss | None = None,
        reverse: ReversePairs | None = None,
        cond_drop_prob: float = 0.0,
        seed: int = 0,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_range(0, 1, cond_drop_prob=cond_drop_prob)
        self.net = net
        self.loss = loss
        self.optim = optim
        self.expression = expression
        self.swap = swap
        self.reverse = reverse
        self.cond_drop_prob = cond_drop_prob
        self.seed = seed
        self.record = dict(record or {})
        self.mark_step: Callable[[int], None] = lambda _: None
        self.before_step: Callable[[], None] = lambda: None
        self.averaged_net: Callable[[], Autoencoder] = lambda: self.net
        self._batch_step = -1
        self._bad_steps = 0

    def reconstruct(self, latent: Tensor, code: Tensor | None) -> SwapOutput:
        """Decode each identity's own faces.

        Args:
            latent: (N, C, h, w), in equal blocks, one an identity, in their order.
            code: (N, K), or None.
        """
        return decode_blocks(self.net, latent, range(len(self.net.identities)), code)

    def _code(self, batch: FaceBatch, drop_prob: float) -> Tensor | None:
        """Affect codes (N, K) of the batch, each replaced by the null code with `drop_prob`."""
        if not self.net.code_dim:
            return None
        if tuple(batch.code.shape) != (len(batch.identity), self.net.code_dim):
            raise ValueError(
                f"the model takes codes of {self.net.code_dim}, the batch has "
                f"{tuple(batch.code.shape)}"
            )
        keep = torch.rand(len(batch.code), device=batch.code.device) >= drop_prob
        return self.net.guide(batch.code, keep.to(batch.code.dtype))

    def training_step(self, batch: FaceBatch, batch_idx: int) -> Tensor:
        """Loss of one batch; the batch and every draw depend on (seed, step, rank) alone."""
        self._batch_step = batch.step
        torch.manual_seed(hash((self.seed, batch.step, self.global_rank)) % 2**63)
        warped, target = warped_and_target(batch, self.net.resolution)
        latent = self.net.encode(warped)
        code = self._code(batch, self.cond_drop_prob)
        output = self.reconstruct(latent, code)
        parts: dict[str, Tensor] = self.loss(output, target)
        loss = total(parts, self.loss.weights)
        logged = {"loss": loss, **parts}
        warmup = 0.0 if self.expression is None else self.expression.warmup_factor(self.global_step)
        if self.expression is not None and warmup > 0:
            (gradient,) = torch.autograd.grad(loss, output.image, retain_graph=True)
            bound = warmup * gradient.float().norm() / len(gradient) ** 0.5
            extra, metrics = expression_step(
                self.net, self.expression, batch, latent, output.image, target, bound
            )
            # Only its gradient is valid; the logged loss is that of the reconstruction.
            loss = loss + (extra - extra.detach())
            logged |= metrics
        if self.swap is not None:
            swapped, metrics = self.swap(self.net, self.loss, batch, latent, code)
            loss = loss + swapped
            logged |= metrics
        if self.reverse is not None and self.global_step >= self.reverse.start:
            given_back, metrics = self.reverse(
                self.net, self.averaged_net(), self.loss, warped, target, code, batch.step
            )
            loss = loss + given_back
            logged |= metrics
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in logged.items()}, batch_size=1
        )
        return loss

    def validation_step(self, batch: FaceBatch, batch_idx: int) -> None:
        """Loss on held-out faces, unwarped, by the averaged weights where there are some."""
        warped, target = warped_and_target(batch, self.net.resolution)
        latent = self.net.encode(warped)
        parts: dict[str, Tensor] = self.loss(
            self.reconstruct(latent, self._code(batch, 0.0)), target
        )
        logged = {f"val/{name}": value for name, value in parts.items()}
        logged["val/loss"] = total(parts, self.loss.weights)
        self.log_dict(logged, batch_size=1, on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> Optimizer:
        """The optimiser over the trained weights."""
        return self.optim.build(self.net.parameters())

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        """Set the learning rate, a function of the step: a changed config takes effect at once."""
        rate = self.optim.rate(self.global_step, self.trainer.max_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        self.before_step()

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
        """Add the record by which an incompatible checkpoint is refused."""
        checkpoint["swapper"] = self.record
