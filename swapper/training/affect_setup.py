"""Compute neutrals, the affect space and the codes of a run before its first step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from swapper.affect.neutral import Neutral, find_neutrals
from swapper.affect.observed_range import missing_emotions
from swapper.affect.space import AffectSpace
from swapper.data.datamodule import FaceDataModule
from swapper.errors import CheckpointError, UsageError
from swapper.estimators.base import Estimator
from swapper.faces.shape import Shapes, aligned_points, has_mesh
from swapper.facesets.affect_store import read_readings
from swapper.losses.expression import CodeMap, ExpressionLoss
from swapper.models.autoencoder import Autoencoder
from swapper.training.checkpoint import read_checkpoint
from swapper.types import Readings

log = logging.getLogger(__name__)

DEFAULT_DIM = 16
"""Length of the codes that an expression loss compares where no decoder is conditioned on them."""


@dataclass(frozen=True, eq=False)
class RunNeutrals:
    """Shapes and neutrals of all identities of a run.

    Attributes:
        shapes: By identity, of all its faces in the order of the faceset.
        neutrals: By identity, estimated on the faces that are trained on.
    """

    shapes: Mapping[str, Shapes]
    neutrals: Mapping[str, Neutral]


def find_run_neutrals(data: FaceDataModule) -> RunNeutrals:
    """Estimate the neutrals of all identities of a run jointly; log the uncertainty of each.

    MediaPipe's mesh is used if all facesets have it, else the 68 landmarks.
    """
    mesh = all(has_mesh(faceset.records) for faceset in data.facesets)
    shapes = {
        faceset.card.identity: Shapes.of(
            aligned_points(faceset.records, faceset.card.size, faceset.card.coverage, mesh=mesh)
        )
        for faceset in data.facesets
    }
    trained = {
        name: each.take(rows)
        for (name, each), rows in zip(shapes.items(), data.trained, strict=True)
    }
    neutrals = find_neutrals(trained)
    for name, neutral in neutrals.items():
        (log.warning if neutral.missing else log.info)("%s: %s", name, neutral.describe())
    return RunNeutrals(shapes, neutrals)


def set_up_affect(
    data: FaceDataModule,
    net: Autoencoder,
    estimator: Estimator | None,
    loss: ExpressionLoss | None,
    neutrals: RunNeutrals,
    checkpoint: Path | None,
) -> AffectSpace | None:
    """Set every face's affect code, and bind the expression loss to its estimator.

    Returns:
        The affect space; that of the checkpoint, if there is one. None where nothing uses codes.

    Raises:
        UsageError: Model, estimator and loss do not fit together.
        FacesetError: The faces have not been read by this estimator.
    """
    estimator = _required_estimator(net, loss, estimator)
    if estimator is None:
        return None
    readings = {
        faceset.card.identity: read_readings(
            faceset,
            estimator.name,
            lineage=estimator.lineage,
            preprocessing_hash=estimator.preprocessing_hash,
        )
        for faceset in data.facesets
    }
    trained = {
        name: each.take(rows)
        for (name, each), rows in zip(readings.items(), data.trained, strict=True)
    }
    for message in missing_emotions(trained):
        log.info("%s", message)
    if checkpoint is None:
        space = _fit_space(data, trained, neutrals, net.code_dim or DEFAULT_DIM)
    else:
        space = _restored_space(checkpoint)
    if net.code_dim:
        if space.dim != net.code_dim:
            raise UsageError(
                f"model.code_dim={net.code_dim}: affect={estimator.name} has {space.dim} "
                f"directions on these faces; pass model.code_dim={space.dim}"
            )
        data.condition([space.own(each.embedding, name) for name, each in readings.items()])
    if loss is not None:
        maps = [space.linear(name) for name in net.identities]
        loss.bind(
            estimator,
            data.facesets[0].card.coverage,
            [CodeMap(torch.from_numpy(n), torch.from_numpy(m)) for m, n in maps],
        )
    return space


def _required_estimator(
    net: Autoencoder, loss: ExpressionLoss | None, estimator: Estimator | None
) -> Estimator | None:
    """Return the estimator if the model or the loss needs it; both or neither must be there."""
    if not net.code_dim and loss is None:
        if estimator is not None:
            raise UsageError(
                f"affect={estimator.name}: nothing uses it; pass model.code_dim=16 or "
                "expression=default, or affect=none"
            )
        return None
    if estimator is None:
        raise UsageError(
            f"model.code_dim={net.code_dim}, expression: need an estimator; pass affect=mediapipe "
            "or another, or set model.code_dim=0 and expression=none"
        )
    fine = loss is not None and loss.trained_layers == "coarse"
    if loss is not None and loss.swap and not net.trained_by_expression(fine=fine):
        raise UsageError(
            f"expression.trained_layers={loss.trained_layers}: the loss trains no layer of this "
            "model; pass model.code_dim=16 with model=df or tiny, or expression.swap=0"
        )
    return estimator


def _restored_space(checkpoint: Path) -> AffectSpace:
    """Return the affect space in a checkpoint."""
    saved = read_checkpoint(checkpoint)["swapper"].get("affect_space")
    if not isinstance(saved, dict):
        raise CheckpointError(f"{checkpoint}: was trained without affect; pass another name=")
    tensors = {name: each.numpy() for name, each in saved["tensors"].items()}
    try:
        return AffectSpace.restore(saved["summary"], tensors)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint}: {error}; pass another name=") from error


def _fit_space(
    data: FaceDataModule, trained: Mapping[str, Readings], neutrals: RunNeutrals, dim: int
) -> AffectSpace:
    """Fit the affect space to the training faces; readings are in the order of the facesets."""
    sources = {
        name: [faceset.records[row].source for row in rows]
        for name, faceset, rows in zip(trained, data.facesets, data.trained, strict=True)
    }
    weights = {name: neutral.weights for name, neutral in neutrals.neutrals.items()}
    space = AffectSpace.fit(trained, weights, sources, dim=dim)
    leak = space.figures["identity_leak"]
    log.info(
        "affect space of %d directions; a linear probe predicts the identity from a code in "
        "%.0f %% of held-out faces (embedding: %.0f %%, chance: %.0f %%)",
        space.dim,
        *(100 * leak[name] for name in ("code", "embedding", "chance")),
    )
    return space
