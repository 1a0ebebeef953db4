"""Launch a training run, or go on with one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from swapper import __version__
from swapper.affect.estimator import Estimator
from swapper.affect.shown import gaps
from swapper.affect.space import AffectSpace
from swapper.data.datamodule import FaceDataModule
from swapper.data.files import replacing
from swapper.data.readings import read_readings
from swapper.errors import CheckpointError, UsageError
from swapper.losses.expression import CodeMap, ExpressionLoss
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
from swapper.training.speed import Speed
from swapper.types import Readings

log = logging.getLogger(__name__)

DEFAULT_DIM = 16
"""Length of the codes that an expression loss compares where no decoder hears them."""


@dataclass(frozen=True)
class Parts:
    """What a training config builds.

    Attributes:
        data: Facesets, sampling and augmentation.
        model: Makes the network from ``identities=``.
        loss: Reconstruction loss.
        affect: Estimator that conditions the decoders and guides the expression loss, or None.
        expression: Expression loss, not bound yet, or None.
        optim: Optimiser and schedule.
        trainer: Makes Lightning's trainer.
        speed: How the device is used.
        callbacks: By name; None entries are left out.
        logger: By name; None or empty for none.
    """

    data: FaceDataModule
    model: Callable[..., Autoencoder]
    loss: ReconstructionLoss
    affect: Estimator | None
    expression: ExpressionLoss | None
    optim: Optim
    trainer: Callable[..., Any]
    speed: Speed
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
    space = _feel(parts, net, checkpoint)
    callbacks = [each for each in (parts.callbacks or {}).values() if each is not None]
    for callback in callbacks:
        if isinstance(callback, SaveLast) and callback.export is None:
            callback.export = _exporter(run, net, parts.data, space)
    record: dict[str, Any] = {"config": dict(config), "identities": list(parts.data.identities)}
    if space is not None:
        record["affect_space"] = {"summary": space.summary(), "tensors": _tensors(space)}
    module = SwapModule(
        net,
        parts.loss,
        parts.optim,
        expression=parts.expression,
        seed=options.seed,
        record=record,
    )
    trainer = parts.trainer(
        callbacks=callbacks,
        logger=[each for each in (parts.logger or {}).values() if each is not None],
        run=run,
    )
    parts.speed.prepare(module, trainer.strategy.root_device)
    if is_first_rank():
        with replacing(run / "config.yaml") as stream:
            stream.write(yaml.safe_dump(dict(config), sort_keys=False).encode())
    fit(trainer, module, parts.data, checkpoint)
    best = trainer.callback_metrics.get("val/loss")
    log.info("trained to step %d; model: %s", trainer.global_step, run / "model.safetensors")
    return None if best is None else float(best)


def _feel(parts: Parts, net: Autoencoder, checkpoint: Path | None) -> AffectSpace | None:
    """Give every face its affect code, and the expression loss its estimator.

    Returns:
        What the codes mean; that of the checkpoint, if there is one. None where nothing hears them.

    Raises:
        UsageError: What was asked for does not fit together.
        FacesetError: The faces have not been read by this estimator.
    """
    loss, data = parts.expression, parts.data
    estimator = _wanted(net, loss, parts.affect)
    if estimator is None:
        return None
    found = {
        faceset.card.identity: read_readings(
            faceset, estimator.name, lineage=estimator.lineage, look=estimator.look
        )
        for faceset in data.facesets
    }
    trained = {
        name: each.take(rows)
        for (name, each), rows in zip(found.items(), data.trained, strict=True)
    }
    for gap in gaps(trained):
        log.info("%s", gap)
    if checkpoint is None:
        space = _fitted(data, trained, net.code_dim or DEFAULT_DIM)
    else:
        space = _continued(checkpoint)
    if net.code_dim:
        if space.dim != net.code_dim:
            raise UsageError(
                f"model.code_dim={net.code_dim}: affect={estimator.name} tells {space.dim} "
                f"directions of these faces apart; pass model.code_dim={space.dim}"
            )
        data.condition([space.own(each.embedding, name) for name, each in found.items()])
    if loss is not None:
        maps = [space.linear(name) for name in net.identities]
        loss.bind(
            estimator,
            data.cards[0].coverage,
            [CodeMap(torch.from_numpy(n), torch.from_numpy(m)) for m, n in maps],
        )
    return space


def _wanted(
    net: Autoencoder, loss: ExpressionLoss | None, estimator: Estimator | None
) -> Estimator | None:
    """The estimator, if anything listens to it; both or neither must be there."""
    if not net.code_dim and loss is None:
        if estimator is not None:
            raise UsageError(
                f"affect={estimator.name}: nothing listens to it; pass model.code_dim=16 or "
                "expression=default, or affect=none"
            )
        return None
    if estimator is None:
        raise UsageError(
            f"model.code_dim={net.code_dim}, expression: need an estimator; pass affect=emotieff "
            "or another, or set model.code_dim=0 and expression=none"
        )
    fine = loss is not None and loss.reach == "coarse"
    if loss is not None and loss.swap and not net.trained_by_expression(fine=fine):
        raise UsageError(
            f"expression.reach={loss.reach}: this model has nothing that it could train; pass "
            "model.code_dim=16 with model=df or tiny, or expression.swap=0"
        )
    return estimator


def _continued(checkpoint: Path) -> AffectSpace:
    """The affect space that a run was begun with."""
    saved = read_checkpoint(checkpoint)["swapper"].get("affect_space")
    if not isinstance(saved, dict):
        raise CheckpointError(f"{checkpoint}: was trained without affect; pass another name=")
    tensors = {name: each.numpy() for name, each in saved["tensors"].items()}
    try:
        return AffectSpace.restore(saved["summary"], tensors)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint}: {error}; pass another name=") from error


def _fitted(data: FaceDataModule, trained: Mapping[str, Readings], dim: int) -> AffectSpace:
    """An affect space of what is trained on: readings by identity, in the order of the facesets."""
    poses, sources = {}, {}
    for name, faceset, rows in zip(trained, data.facesets, data.trained, strict=True):
        records = [faceset.records[row] for row in rows]
        poses[name] = np.array([(each.yaw, each.pitch, each.roll) for each in records])
        sources[name] = [each.source for each in records]
    space = AffectSpace.fit(trained, poses, sources, dim=dim)
    leak = space.figures["identity_leak"]
    log.info(
        "affect space of %d directions; a linear probe tells the identity from a code in %.0f %% "
        "of held-out faces (embedding: %.0f %%, chance: %.0f %%)",
        space.dim,
        100 * leak["code"],
        100 * leak["embedding"],
        100 * leak["chance"],
    )
    return space


def _tensors(space: AffectSpace) -> dict[str, Tensor]:
    return {name: torch.from_numpy(each) for name, each in space.tensors().items()}


def _exporter(
    run: Path, net: Autoencoder, data: FaceDataModule, space: AffectSpace | None
) -> Callable[..., None]:
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
            aligned_size=min(card.size for card in data.cards),
            step=step,
            software=f"swapper/{__version__}",
            lineage=[] if space is None else [space.lineage],
            affect_space=None if space is None else space.summary(),
        )
        save_model(run, card, state, affect_space=None if space is None else _tensors(space))

    return export
