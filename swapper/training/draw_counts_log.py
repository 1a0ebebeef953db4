"""Log how often faces have been drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from swapper.data.draw_counts import DrawCounts, write_draw_counts


class DrawCountsLog(Callback):
    """Log statistics of the draws per face, and write a table of all faces.

    Logs ``data/repeats_max``, ``data/repeats_p99`` and ``data/repeats_median`` of the draws of a
    face at each validation, over all identities.

    Args:
        path: Of the table, CSV; most drawn faces first.
        every_n_steps: How often the table is written; at the end too.
    """

    def __init__(self, path: str, every_n_steps: int = 1000) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.path = Path(path)
        self.every_n_steps = every_n_steps
        self._written = -1

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the counts so far."""
        drawn = np.concatenate([each.drawn for each in _draw_counts(trainer)])
        for name, value in (
            ("max", drawn.max()),
            ("p99", np.percentile(drawn, 99)),
            ("median", np.median(drawn)),
        ):
            # The same on every rank, so nothing needs to be gathered.
            pl_module.log(f"data/repeats_{name}", float(value), batch_size=1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write at the interval."""
        if trainer.global_step % self.every_n_steps == 0:
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last counts."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and trainer.global_step != self._written:
            self._written = trainer.global_step
            write_draw_counts(self.path, _draw_counts(trainer))


def _draw_counts(trainer: Trainer) -> tuple[DrawCounts, ...]:
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    counts: tuple[DrawCounts, ...] = data.draw_counts(data.next_step)
    return counts
