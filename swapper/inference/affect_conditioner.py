"""What the performer feels, frame by frame, as a model's decoders want it told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swapper.affect.concepts import load_concept
from swapper.affect.controls import AffectControls, ClampCounts
from swapper.affect.neutral import find_neutrals, neutral_embedding
from swapper.affect.observed_range import ObservedRange
from swapper.affect.space import AffectSpace
from swapper.errors import ModelError, SwapperError, UsageError
from swapper.estimators.base import Estimator, load_estimator
from swapper.faces.aligner import Aligner
from swapper.faces.geometry import similarity_from_landmarks, warp
from swapper.faces.shape import Shapes, aligned_landmarks
from swapper.media.source import Footage
from swapper.models.model_file import LoadedModel
from swapper.options.verbs import AffectOptions
from swapper.types import Coverage

log = logging.getLogger(__name__)

SIDE: Final = 160
"""Of the crops that are read, where the model does not say what it was trained with."""
_SAMPLE: Final = 200
"""Frames of a clip from which a performer's rest is found."""
_FEWEST: Final = 20
_WORTH_TELLING: Final = 0.03
_MOSTLY: Final = 0.5
"""A concept of which a model hears less will look like another feeling."""

Picture = NDArray[np.uint8]


class ConditioningStats:
    """Counts over a conversion what was asked of an identity.

    Args:
        identity: Its name.
        shown: What it has been seen to do.

    Attributes:
        faces: Faces counted.
        more: Of these, how many were told more than the identity has shown.
        capped: How often dials were held back.
    """

    def __init__(self, identity: str, shown: ObservedRange) -> None:
        self.identity = identity
        self.shown = shown
        self.faces = self.more = 0
        self.capped = ClampCounts()

    def add(self, codes: NDArray[np.float32], capped: ClampCounts) -> None:
        """Count faces whose codes (N, K) have been dialled."""
        self.faces += len(codes)
        self.more += int(self.shown.asks_for_more(codes).sum())
        self.capped += capped

    def describe(self) -> str:
        """One line, or nothing where nothing was too much."""
        parts = []
        share = self.more / max(self.faces, 1)
        if share >= _WORTH_TELLING:
            parts.append(
                f"{100 * share:.0f} % of the faces ask for more than {self.identity} has shown, "
                "and are guesses"
            )
        held = {name: count for name, count in self.capped.by_dial.items() if count}
        if held:
            each = ", ".join(f"{name} in {count}" for name, count in held.items())
            parts.append(
                f"of {self.capped.faces} faces, dials went no further than {self.identity} has "
                f"shown in {self.capped.any} ({each})"
            )
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class AffectConditioner:
    """Reads performers' faces and says what the decoder of an identity shall hear.

    Attributes:
        estimator: On the model's device; the one that the model was trained with.
        space: The model's.
        performer: Who acts: an identity of the model, or the neutral (D,) of someone else.
        identity: Whose face appears.
        coverage: Of the crops.
        side: Of the crops, in pixels.
        options: Strength and how relative.
        dials: What is added to the performance.
        asked: Of what was asked.
    """

    estimator: Estimator
    space: AffectSpace
    performer: str | NDArray[np.float32]
    identity: str
    coverage: Coverage
    side: int
    options: AffectOptions
    dials: AffectControls = field(default_factory=AffectControls)
    asked: ConditioningStats = field(init=False)

    def __post_init__(self) -> None:
        shown = ObservedRange(self.space.shown[self.identity], self.space.told)
        object.__setattr__(self, "asked", ConditioningStats(self.identity, shown))

    def codes(self, seen: list[Picture]) -> Tensor:
        """Affect codes (N, K) of crops, each (side, side, 3): the performer's, then dialled.

        How strongly the decoder is told them (``options.guidance_scale``) comes after.
        """
        embedding = self.estimator.read(np.stack(seen), self.coverage).embedding.numpy()
        codes = self.space.code(embedding, self.performer, self.identity, self.options.relative)
        codes, capped = self.dials.apply(self.space, codes, self.identity)
        self.asked.add(codes, capped)
        return torch.from_numpy(codes)


def make_controls(options: AffectOptions) -> AffectControls:
    """Read what `options` dial.

    Raises:
        UsageError: A concept is nowhere to be found, or named twice.
        EstimatorError: Its files are damaged.
    """
    found = []
    for name, amount in options.concepts.items():
        path = Path(name)
        if path.name == name and not path.suffix:
            path = Path(options.concept_folder) / name
        path = path.with_suffix(".json")
        if not path.is_file():
            raise UsageError(
                f"affect.concepts.{name}: no {path}; make it with swapper concept, or pass "
                "affect.concept_folder=FOLDER"
            )
        found.append((load_concept(path), amount))
    try:
        return AffectControls(found, options.valence, options.arousal)
    except ValueError as error:
        raise UsageError(f"affect.concepts: {error}; drop or mend one") from error


def conditioning_claim(options: AffectOptions) -> dict[str, Any]:
    """What a manifest says of the options: no folders, concepts by name."""
    return {
        "guidance_scale": options.guidance_scale,
        "relative": options.relative,
        "performer": options.performer,
        "concepts": {Path(name).stem: amount for name, amount in options.concepts.items()},
        "valence": options.valence,
        "arousal": options.arousal,
        "force": options.force,
    }


def describe_controls(options: AffectOptions) -> str:
    """The dials that are turned, for the log: such as "tired +0.50, valence -0.20"; or nothing."""
    said = conditioning_claim(options)
    amounts = said["concepts"] | {name: said[name] for name in ("valence", "arousal")}
    return ", ".join(f"{name} {amount:+.2f}" for name, amount in amounts.items() if amount)


def affect_space_of(model: LoadedModel) -> AffectSpace | None:
    """The affect space in a model file; None if its decoders hear nothing.

    Raises:
        ModelError: It is damaged, or not this model's.
    """
    summary = model.card.affect_space
    if summary is None or not model.net.code_dim:
        return None
    try:
        space = AffectSpace.restore(
            summary, {name: each.numpy() for name, each in model.affect_space.items()}
        )
    except ValueError as error:
        raise ModelError(f"{model.path}: {error}; restore the file") from error
    if space.dim != model.net.code_dim or set(model.net.identities) - set(space.neutrals):
        raise ModelError(f"{model.path}: its affect space is another model's; restore the file")
    return space


def make_conditioner(
    model: LoadedModel,
    identity: str,
    options: AffectOptions,
    make_estimator: Callable[[], Estimator | None],
    find_rest: Callable[[Estimator, int], NDArray[np.float32]],
    device: torch.device,
) -> AffectConditioner | None:
    """What a model needs to hear of the performer; None if it hears nothing.

    Args:
        model: Loaded.
        identity: Whose face appears.
        options: Of the command line.
        make_estimator: The one named there; None to take the one that the model names.
        find_rest: Finds the neutral (D,) of a performer from the clip itself; given the estimator
            and the side of the crops to read.
        device: Where the estimator shall run.

    Raises:
        ModelError: The affect space is damaged.
        UsageError: The estimator is not the model's, the performer unknown, or a dial cannot be
            turned.
        EstimatorError: Its weights cannot be used.
    """
    dials = make_controls(options)
    space = affect_space_of(model)
    if space is None:
        if named := describe_controls(options):
            raise UsageError(
                f"{named}: {model.path} hears no affect, so nothing can be dialled; train with "
                "experiment=affect64, or drop affect.concepts, affect.valence and affect.arousal"
            )
        return None
    dials.check(space, force=options.force)
    for name, share in dials.heard(space).items():
        if share < _MOSTLY:
            log.warning("%s: the model hears %.0f %% of it, no more is added", name, 100 * share)
    estimator = _estimator(space, make_estimator).to(device)
    side = model.card.aligned_size or max(SIDE, model.net.resolution)
    performer: str | NDArray[np.float32] = options.performer
    if options.performer not in ("", *space.neutrals):
        raise UsageError(
            f"affect.performer={options.performer}: the model knows "
            f"{', '.join(space.neutrals)}; leave it empty to find the performer's rest in the clip"
        )
    if not options.performer:
        performer = find_rest(estimator, side)
    return AffectConditioner(
        estimator, space, performer, identity, model.card.coverage, side, options, dials
    )


def _estimator(space: AffectSpace, make: Callable[[], Estimator | None]) -> Estimator:
    name = space.lineage.partition(":")[0]
    estimator = make()
    if estimator is None:
        try:
            estimator = load_estimator(name, "measuring")
        except (SwapperError, TypeError) as error:
            raise UsageError(
                f"the model was trained with affect={name}, which needs more to be loaded: pass "
                f"affect@estimator={name} and its settings ({' '.join(str(error).split())})"
            ) from error
    if estimator.lineage != space.lineage:
        raise UsageError(
            f"the model was trained with {space.lineage[:40]}..., this is "
            f"{estimator.lineage[:40]}...; pass the estimator with the same weights"
        )
    return estimator


def estimate_neutral(
    footage: Footage, aligner: Aligner, estimator: Estimator, coverage: Coverage, side: int
) -> NDArray[np.float32] | None:
    """The neutral embedding (D,) of the largest face of a clip, from frames spread over it.

    Args:
        footage: Not read yet; read to its end.
        aligner: Prepared.
        estimator: Which reads.
        coverage: Of the crops.
        side: Of the crops, in pixels.

    Returns:
        None where too few faces are found to know how they rest.
    """
    stride = max(1, (footage.info.num_frames or 0) // _SAMPLE)
    crops: list[Picture] = []
    found: list[NDArray[np.float32]] = []
    for frame in footage:
        if frame.index % stride or len(crops) >= 2 * _SAMPLE:
            continue
        faces = aligner(frame)
        if not faces:
            continue
        landmarks = faces[0].landmarks
        found.append(landmarks)
        crops.append(warp(frame.image, similarity_from_landmarks(landmarks, side, coverage), side))
    if len(crops) < _FEWEST:
        return None
    shapes = Shapes.of(aligned_landmarks(np.stack(found)))
    neutral = find_neutrals({"performer": shapes})["performer"]
    log.info("performer: %s", neutral.describe())
    return neutral_embedding(estimator.readings(np.stack(crops), coverage), neutral.weights)


def mean_neutral(space: AffectSpace) -> NDArray[np.float32]:
    """The mean of all known people's neutrals: for a performer of whom nothing is known."""
    mean: NDArray[np.float32] = np.mean(list(space.neutrals.values()), axis=0).astype(np.float32)
    return mean
