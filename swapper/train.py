"""Start or resume a training run."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from swapper import __version__
from swapper.affect.space import AffectSpace
from swapper.data.datamodule import FaceDataModule
from swapper.data.pseudo_targets import PseudoTargets
from swapper.errors import CheckpointError, UsageError
from swapper.estimators.base import Estimator
from swapper.files import replacing
from swapper.losses.expression import ExpressionLoss
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import Autoencoder
from swapper.models.model_file import ModelIdentity, ModelMetadata, save_model
from swapper.options.verbs import TrainOptions
from swapper.training.acceleration import Acceleration
from swapper.training.affect_setup import RunNeutrals, find_run_neutrals, set_up_affect
from swapper.training.callbacks import SaveLast
from swapper.training.checkpoint import check_resumable, check_same_faces, read_checkpoint
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.pseudo_target_sheet import draw_pseudo_sheet
from swapper.training.reverse_step import ReversePairs
from swapper.training.swap_step import PseudoTargetLoss
from swapper.training.trainer import fit, is_first_rank, lock_run, seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Objects that a training config instantiates, in this order.

    Attributes:
        data: Facesets, sampling and augmentation.
        model: Makes the network from ``identities=``.
        loss: Reconstruction loss.
        optim: Optimiser and schedule.
        trainer: Makes Lightning's trainer.
        speed: Acceleration settings.
        callbacks: By name; None entries are left out.
        logger: By name; None or empty for none.
        affect: Estimator that conditions the decoders and guides the expression loss, or None.
        expression: Expression loss, not bound yet, or None.
        pseudo: Pseudo-target settings, or None.
        reverse: Reverse-pair settings, or None.
    """

    data: FaceDataModule
    model: Callable[..., Autoencoder]
    loss: ReconstructionLoss
    optim: Optim
    trainer: Callable[..., Any]
    speed: Acceleration
    callbacks: Mapping[str, Any] | None
    logger: Mapping[str, Any] | None
    affect: Estimator | None
    expression: ExpressionLoss | None
    pseudo: PseudoTargets | None
    reverse: ReversePairs | None


def train(options: TrainOptions, parts: Parts, config: Mapping[str, Any]) -> float | None:
    """Train until ``trainer.max_steps``, resuming the run of that name if there is one.

    Args:
        options: Name, folder, seed and whether to resume.
        parts: Built from the config.
        config: The resolved config as plain data; saved with the run and its checkpoints.

    Returns:
        The best validation loss, for sweeps; None without validation.

    Raises:
        SwapperError: For anything the user can fix, in one line.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,127}", options.name):
        raise UsageError(f"name={options.name}: use letters, digits and . _ - = only")
    run = Path(options.runs) / options.name
    parts.data.setup("fit")  # before anything is written: most mistakes are in the facesets
    run.mkdir(parents=True, exist_ok=True)
    with lock_run(run):
        checkpoint = _checkpoint_to_resume(options, run, config, parts.data)
        return _train(options, parts, config, run, checkpoint)


def _checkpoint_to_resume(
    options: TrainOptions, run: Path, config: Mapping[str, Any], data: FaceDataModule
) -> Path | None:
    """Return the newest checkpoint of the run, if it can be resumed under `config`."""
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
    hashes = [each.content_hash for each in data.facesets]
    changes = check_same_faces(last, saved["swapper"], data.identities, hashes)
    for change in [*changes, *check_resumable(last, saved["swapper"]["config"], config)]:
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
    swap, space = None, None
    if any((parts.pseudo, parts.affect, parts.expression, net.code_dim)):
        rests = find_run_neutrals(parts.data)
        # First, since it may reject the config, and recipes may take minutes.
        space = set_up_affect(parts.data, net, parts.affect, parts.expression, rests, checkpoint)
        swap = _pseudo(parts, rests, run)
    lineage = _lineage(parts.data, space, swap, checkpoint)
    affect: dict[str, Any] = {}
    if space is not None:
        tensors = {name: torch.from_numpy(each) for name, each in space.tensors().items()}
        affect = {"summary": space.summary(), "tensors": tensors}
    callbacks = [each for each in (parts.callbacks or {}).values() if each is not None]
    for callback in callbacks:
        if isinstance(callback, SaveLast) and callback.export is None:
            callback.export = _exporter(run, net, parts.data, affect, lineage)
    record: dict[str, Any] = {
        "config": dict(config),
        "identities": list(parts.data.identities),
        "facesets": [each.content_hash for each in parts.data.facesets],
        "lineage": lineage,
    }
    if affect:
        record["affect_space"] = affect
    module = SwapModule(
        net,
        parts.loss,
        parts.optim,
        expression=parts.expression,
        swap=swap,
        reverse=parts.reverse,
        cond_drop_prob=options.cond_drop_prob,
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


def _pseudo(parts: Parts, rests: RunNeutrals, run: Path) -> PseudoTargetLoss | None:
    """Prepare the pseudo-targets and write a preview of them; None where there are none."""
    pseudo, data = parts.pseudo, parts.data
    if pseudo is None or not pseudo.weight:
        return None
    names = data.identities
    tables = data.make_pseudo_targets(
        pseudo,
        [rests.shapes[name] for name in names],
        [rests.neutrals[name].shape for name in names],
    )
    if not tables:
        log.warning("no face has a pseudo-target; swaps are trained without")
        return None
    if is_first_rank():
        log.info("%s", draw_pseudo_sheet(data, tables, run / "pseudo_targets.png"))
    return PseudoTargetLoss(pseudo.weight, pseudo.resolution)


def _lineage(
    data: FaceDataModule,
    space: AffectSpace | None,
    swap: PseudoTargetLoss | None,
    checkpoint: Path | None,
) -> list[str]:
    """Estimators and aligners that shaped the model, including those before it was resumed."""
    lineage = [] if space is None else [space.lineage]
    if swap is not None:
        lineage += sorted(
            {f"landmarks:{each.card.aligner.partition('(')[0]}" for each in data.facesets}
        )
    before = [] if checkpoint is None else read_checkpoint(checkpoint)["swapper"].get("lineage", [])
    return list(dict.fromkeys([*lineage, *before]))


def _exporter(
    run: Path, net: Autoencoder, data: FaceDataModule, affect: Mapping[str, Any], lineage: list[str]
) -> Callable[..., None]:
    """Return a function that writes the run's model file from averaged weights."""
    identities = [
        ModelIdentity(each.card.identity, each.card.rights, each.content_hash)
        for each in data.facesets
    ]

    def export(state: Mapping[str, Any], step: int) -> None:
        card = ModelMetadata(
            architecture=net.config,
            identities=identities,
            coverage=data.facesets[0].card.coverage,
            aligned_size=min(each.card.size for each in data.facesets),
            step=step,
            software=f"swapper/{__version__}",
            lineage=lineage,
            affect_space=affect.get("summary"),
        )
        save_model(run, card, state, affect_space=affect.get("tensors"))

    return export
