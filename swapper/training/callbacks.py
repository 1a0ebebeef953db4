"""Callbacks: weight averaging, checkpoints, previews, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar, WeightAveraging
from torch import Tensor

from swapper.errors import CheckpointError
from swapper.files import replacing
from swapper.progress import progress
from swapper.training.module import SwapModule
from swapper.training.preview_sheet import draw_preview_sheet, preview_rows
from swapper.types import FaceBatch


class Ema(WeightAveraging):
    """Exponential moving average of the trained weights, used for validation and for the model.

    Args:
        decay: Of the average; approached from below as ``(1 + step) / (10 + step)`` so that the
            first, random weights are forgotten.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay = decay
        self._step = 0
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the average to the module's device, and let the module use it."""
        assert self._average_model is not None
        # It is made before the module is moved, and would be updated through the host's memory.
        self._average_model.to(pl_module.device)
        average = self._average_model.module
        if isinstance(pl_module, SwapModule) and isinstance(average, SwapModule):
            pl_module.averaged_net = lambda: average.net

    def _average(self, averaged: Any, current: Any, _: Tensor | int) -> None:
        decay = min(self.decay, (1 + self._step) / (10 + self._step))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average; the decay is a function of the step, so a resume repeats it."""
        self._step = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the trained weights in place, so that a later run may resume from them."""

    def _swap_models(self, pl_module: LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put the trained weights back first if a validation was cut off, before any is saved."""
        if self._swapped:
            self._swap_models(pl_module)


def averaged_state(trainer: Trainer, module: LightningModule) -> dict[str, Tensor]:
    """Return the weights of ``module.net`` for use: averaged where `Ema` runs."""
    net: Any = module.net
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Ema) and not callback._swapped and callback._average_model:
            net = callback._average_model.module.net
    state: dict[str, Tensor] = net.state_dict()
    return state


class SaveLast(Checkpoint):
    """Save the newest state at intervals, at the end and on an exception.

    Args:
        path: Of the checkpoint.
        every_n_steps: How often.
        export: Called with the net's averaged weights and the step after each save; writes the
            model file.
    """

    def __init__(
        self,
        path: str,
        every_n_steps: int = 1000,
        export: Callable[[dict[str, Tensor], int], None] | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.path = path
        self.every_n_steps = every_n_steps
        self.export = export
        self._saved_step = -1

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        step = trainer.global_step
        if step == self._saved_step:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step = step
        if self.export is not None and trainer.is_global_zero:
            self.export(averaged_state(trainer, module), step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at the interval."""
        step = trainer.global_step
        if step % self.every_n_steps == 0 or step == trainer.max_steps:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the run ends early, for example by a time limit."""
        self._save(trainer, pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save on an exception, unless it came from saving."""
        if trainer.global_step > 0 and not isinstance(exception, CheckpointError):
            self._save(trainer, pl_module)


class Preview(Callback):
    """Write previews of input, reconstruction and every swap to disk and to the loggers.

    Args:
        folder: Where the sheets go.
        every_n_steps: How often.
        faces: How many faces of each performer a sheet shows.
    """

    def __init__(self, folder: str, every_n_steps: int = 1000, faces: int = 4) -> None:
        if every_n_steps < 1 or faces < 1:
            raise ValueError("every_n_steps and faces must be at least 1")
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.faces = faces
        self._batch: FaceBatch | None = None
        self._drawn = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a preview at the interval."""
        step = trainer.global_step
        due = step % self.every_n_steps == 0 or step == trainer.max_steps or step == 1
        if due and step != self._drawn and trainer.is_global_zero:
            self._drawn = step
            self.draw(trainer, pl_module, step)

    @torch.no_grad()
    def draw(self, trainer: Trainer, module: LightningModule, step: int) -> Path:
        """Write ``step_NNNNNNN.png`` with the averaged weights and hand it to the loggers."""
        if self._batch is None:
            self._batch = trainer.datamodule.preview_batch(self.faces)  # type: ignore[attr-defined]
        net: Any = module.net
        current = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(averaged_state(trainer, module))
        net.eval()
        try:
            with trainer.precision_plugin.forward_context():
                rows = preview_rows(net, self._batch.to(module.device))
        finally:
            net.load_state_dict(current)
            net.train()
        path = self.folder / f"step_{step:07d}.png"
        picture = draw_preview_sheet(rows, net.identities, f"step {step}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=False) as stream:
            picture.save(stream, format="PNG")
        self._log_picture(trainer, picture, step)
        return path

    def _log_picture(self, trainer: Trainer, picture: Any, step: int) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key="preview", images=[picture], step=step)
                continue
            experiment: Any = getattr(logger, "experiment", None)
            if hasattr(experiment, "add_image"):
                experiment.add_image("preview", np.asarray(picture), step, dataformats="HWC")


class Progress(ProgressBar):
    """Progress bar: step, loss, speed and time left; occasional lines where there is no terminal.

    Args:
        every_n_steps: How often the loss is read from the device.
    """

    def __init__(self, every_n_steps: int = 20) -> None:
        super().__init__()
        self.every_n_steps = every_n_steps
        self._enabled = True
        self._bar: Any = None

    def enable(self) -> None:
        """Lightning turns the bar on on rank 0."""
        self._enabled = True

    def disable(self) -> None:
        """Lightning turns the bar off on the other ranks."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step resumed from."""
        if self._enabled:
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._bar = progress(total, "train", "step", initial=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        if trainer.global_step % self.every_n_steps == 0:
            values = trainer.callback_metrics
            postfix = {
                name: f"{float(values[key]):.4f}"
                for name, key in (("loss", "train/loss"), ("val", "val/loss"))
                if key in values
            }
            self._bar.set_postfix(postfix, refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar before the error is printed."""
        self._close()


class Throughput(Callback):
    """Log faces a second, loader included, over the steps since the last log."""

    def __init__(self) -> None:
        self._since: tuple[float, int] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log at the trainer's logging interval."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % every:
            return
        now = time.monotonic()
        if self._since is not None and trainer.global_step > self._since[1]:
            steps = trainer.global_step - self._since[1]
            faces = steps * len(batch.identity) * trainer.world_size
            pl_module.log("train/faces_per_s", faces / (now - self._since[0]), batch_size=1)
        self._since = (now, trainer.global_step)
