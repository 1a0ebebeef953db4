"""Launch a training run, or go on with one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from swapper import __version__
from swapper.data.datamodule import FaceDataModule
from swapper.data.files import replacing
from swapper.errors import CheckpointError, UsageError
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import Autoencoder
from swapper.models.portable import ModelCard, ModelIdentity, save_model
from swapper.options import TrainOptions
from swapper.training.callbacks import SaveLast
from swapper.training.checkpoint import check_resumable, read_checkpoint
from swapper.training.fit import (
    fit,
    is_first_rank,
    only_one,
    seed,
)
from swapper.training.module import SwapModule
from swapper.training.optim import Optim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a training config builds.

    Attributes:
        data: Facesets, sampling and augmentation.
        model: Makes the network from ``identities=``.
        loss: Reconstruction loss.
        optim: Optimiser and schedule.
        trainer: Makes Lightning's trainer.
        callbacks: By name; None entries are left out.
        logger: By name; None or empty for none.
    """

    data: FaceDataModule
    model: Callable[..., Autoencoder]
    loss: ReconstructionLoss
    optim: Optim
    trainer: Callable[..., Any]
    callbacks: Mapping[str, Any] | None
    logger: Mapping[str, Any] | None


def train(options: TrainOptions, parts: Parts, config: Mapping[str, Any]) -> float | None:
    """Train until ``trainer.max_steps``, continuing the run of that name if there is one.

    Args:
        options: Name, folder, seed and what to do with an earlier run.
        parts: Built from the config.
        config: The resolved config as plain data; saved with the run and its checkpoints.

    Returns:
        The best validation loss, for sweeps; None if nothing was validated.

    Raises:
        SwapperError: Whatever the user can mend, in one line.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,127}", options.name):
        raise UsageError(f"name={options.name}: use letters, digits and . _ - = only")
    run = Path(options.runs) / options.name
    parts.data.setup("fit")  # before anything is written: most mistakes are in the facesets
    run.mkdir(parents=True, exist_ok=True)
    with only_one(run):
        checkpoint = _checkpoint_to_resume(options, run, config)
        return _train(options, parts, config, run, checkpoint)


def _checkpoint_to_resume(
    options: TrainOptions, run: Path, config: Mapping[str, Any]
) -> Path | None:
    """The newest checkpoint of the run, if it may be continued under `config`."""
    last = run / "checkpoints" / "last.ckpt"
    if not last.exists():
        best = last.with_name("best.ckpt")
        if best.exists():
            raise CheckpointError(
                f"{last}: missing, though {best.name} is there; copy that to last.ckpt to go on "
                "from it, or pass another name="
            )
        return None
    if options.resume == "never":
        raise UsageError(f"{run}: has a checkpoint; pass resume=auto to go on, or another name=")
    saved = read_checkpoint(last)
    for change in check_resumable(last, saved["swapper"]["config"], config):
        log.warning("resuming with a change: %s", change)
    log.info("resuming %s at step %d", run, saved["global_step"])
    return last


def _train(
    options: TrainOptions,
    parts: Parts,
    config: Mapping[str, Any],
    run: Path,
    checkpoint: Path | None,
) -> float | None:
    seed(options.seed)
    net = parts.model(identities=parts.data.identities)
    callbacks = [each for each in (parts.callbacks or {}).values() if each is not None]
    for callback in callbacks:
        if isinstance(callback, SaveLast) and callback.export is None:
            callback.export = _exporter(run, net, parts.data)
    record = {"config": dict(config), "identities": list(parts.data.identities)}
    module = SwapModule(net, parts.loss, parts.optim, seed=options.seed, record=record)
    trainer = parts.trainer(
        callbacks=callbacks,
        logger=[each for each in (parts.logger or {}).values() if each is not None],
        run=run,
    )
    if is_first_rank():
        with replacing(run / "config.yaml") as stream:
            stream.write(yaml.safe_dump(dict(config), sort_keys=False).encode())
    fit(trainer, module, parts.data, checkpoint)
    best = trainer.callback_metrics.get("val/loss")
    log.info("trained to step %d; model: %s", trainer.global_step, run / "model.safetensors")
    return None if best is None else float(best)


def _exporter(run: Path, net: Autoencoder, data: FaceDataModule) -> Callable[..., None]:
    """Writes the model file of the run from averaged weights."""
    identities = [
        ModelIdentity(name=card.identity, rights=card.rights, faceset=digest)
        for card, digest in zip(data.cards, data.content_hashes, strict=True)
    ]

    def export(state: Mapping[str, Any], step: int) -> None:
        card = ModelCard(
            architecture=net.config,
            identities=identities,
            coverage=data.cards[0].coverage,
            step=step,
            software=f"swapper/{__version__}",
        )
        save_model(run, card, state)

    return export
