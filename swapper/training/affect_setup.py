"""What a training knows of expression before its first step: everybody's rest, codes, targets."""

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
    """Everybody's faces turned to the front, and their rest.

    Attributes:
        shapes: By identity, of all its faces in the order of the faceset.
        neutrals: By identity, found on the faces that are trained on.
    """

    shapes: Mapping[str, Shapes]
    neutrals: Mapping[str, Neutral]


def find_run_neutrals(data: FaceDataModule) -> RunNeutrals:
    """The rest of all identities of a run, found together; logs how sure each is.

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
    rests: RunNeutrals,
    checkpoint: Path | None,
) -> AffectSpace | None:
    """Give every face its affect code, and the expression loss its estimator.

    Returns:
        What the codes mean; that of the checkpoint, if there is one. None where nothing uses them.

    Raises:
        UsageError: What was asked for does not fit together.
        FacesetError: The faces have not been read by this estimator.
    """
    estimator = _wanted(net, loss, estimator)
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
    for gap in missing_emotions(trained):
        log.info("%s", gap)
    if checkpoint is None:
        space = _fitted(data, trained, rests, net.code_dim or DEFAULT_DIM)
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
    """The estimator, if anything uses it; both or neither must be there."""
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


def _fitted(
    data: FaceDataModule, trained: Mapping[str, Readings], rests: RunNeutrals, dim: int
) -> AffectSpace:
    """An affect space of what is trained on: readings by identity, in the order of the facesets."""
    sources = {
        name: [faceset.records[row].source for row in rows]
        for name, faceset, rows in zip(trained, data.facesets, data.trained, strict=True)
    }
    weights = {name: neutral.weights for name, neutral in rests.neutrals.items()}
    space = AffectSpace.fit(trained, weights, sources, dim=dim)
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
