"""Batches of noise, and short runs of Lightning's trainer over batches as they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from swapper.data.augment import Augment
from swapper.data.dataset import assemble
from swapper.types import FaceBatch

UNLOGGED = "ignore:You are trying to `self.log:UserWarning"
"""Of steps that are taken without a trainer."""


def face_batch(identities: int = 2, each: int = 2, step: int = 0, side: int = 64) -> FaceBatch:
    """Noise as faces, unaugmented: `each` of every identity."""
    count = identities * each
    faces = np.random.default_rng(0).integers(0, 256, (count, side, side, 5), dtype=np.uint8)
    draw = Augment.none().draw(np.random.default_rng(0), side, side)
    return assemble(faces, [draw] * count, identities, step)


def fit(
    module: LightningModule,
    folder: Path,
    batches: Iterable[Any],
    *callbacks: Callback,
    **settings: Any,
) -> Trainer:
    """Train once over `batches`, on the CPU."""
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks),
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, log_every_n_steps=1,
        **{"logger": False, **settings},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Lightning would rather have
        trainer.fit(module, DataLoader(list(batches), batch_size=None))  # type: ignore[arg-type]
    return trainer
