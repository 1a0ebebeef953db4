"""Compute the affect codes of a performer's frames that condition a model's decoders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swapper.affect.concepts import load_concept
from swapper.affect.controls import AffectControls, ClampCounts
from swapper.affect.observed_range import ObservedRange
from swapper.affect.space import AffectSpace
from swapper.errors import ModelError, SwapperError, UsageError
from swapper.estimators.base import Estimator, load_estimator
from swapper.models.model_file import LoadedModel
from swapper.options.groups import AffectOptions, RegionOptions
from swapper.types import Coverage

log = logging.getLogger(__name__)

DEFAULT_SIDE: Final = 160
"""Side of the estimator's crops in pixels, where the model does not state it."""
_REPORTED_SHARE: Final = 0.03
_MIN_EXPRESSIBLE: Final = 0.5
"""A concept of which the codes express less is likely to look like another emotion."""

Picture = NDArray[np.uint8]


@dataclass(eq=False)
class ConditioningStats:
    """Statistics of a conversion's codes against an identity's observed range.

    Attributes:
        identity: Its name.
        observed: Its observed range.
        faces: Faces counted.
        exceeding: Of these, how many have a code beyond the observed range.
        clamped: How often controls were clamped.
    """

    identity: str
    observed: ObservedRange
    faces: int = 0
    exceeding: int = 0
    clamped: ClampCounts = field(default_factory=ClampCounts)

    def add(self, codes: NDArray[np.float32], clamped: ClampCounts) -> None:
        """Count faces by their codes (N, K), after controls."""
        self.faces += len(codes)
        self.exceeding += int(self.observed.exceeds(codes).sum())
        self.clamped += clamped

    def describe(self) -> str:
        """Return one line; empty if all codes were in range."""
        parts = []
        share = self.exceeding / max(self.faces, 1)
        if share >= _REPORTED_SHARE:
            parts.append(
                f"{100 * share:.0f} % of the faces go beyond what {self.identity} has shown "
                "and are extrapolated"
            )
        counts = {name: count for name, count in self.clamped.by_control.items() if count}
        if counts:
            listed = ", ".join(f"{name} in {count}" for name, count in counts.items())
            parts.append(
                f"of {self.clamped.faces} faces, controls went no further than {self.identity} has "
                f"shown in {self.clamped.any} ({listed})"
            )
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class AffectConditioner:
    """Computes the affect codes that condition the decoder of an identity.

    Attributes:
        estimator: On the model's device; the one that the model was trained with.
        space: The model's.
        performer: Who acts: an identity of the model, or the neutral (D,) of someone else.
        identity: Whose face appears.
        coverage: Of the crops.
        side: Of the crops, in pixels.
        options: Guidance scale and `relative`.
        controls: Added to the performance.
        stats: Of the codes so far.
    """

    estimator: Estimator
    space: AffectSpace
    performer: str | NDArray[np.float32]
    identity: str
    coverage: Coverage
    side: int
    options: AffectOptions
    controls: AffectControls = field(default_factory=AffectControls)
    stats: ConditioningStats = field(init=False)

    def __post_init__(self) -> None:
        observed = ObservedRange(self.space.observed[self.identity], self.space.readout_axes)
        object.__setattr__(self, "stats", ConditioningStats(self.identity, observed))

    def codes(self, crops: list[Picture]) -> Tensor:
        """Affect codes (N, K) of crops, each (side, side, 3): the performer's, plus controls.

        ``options.guidance_scale`` is applied later, by `Autoencoder.guide`.
        """
        embedding = self.estimator.read(np.stack(crops), self.coverage).embedding.numpy()
        codes = self.space.code(embedding, self.performer, self.identity, self.options.relative)
        codes, clamped = self.controls.apply(self.space, codes, self.identity)
        self.stats.add(codes, clamped)
        return torch.from_numpy(codes)


def region_amounts(options: AffectOptions) -> dict[str, float]:
    """Return the region dials that are not 1, by name."""
    return {name: amount for name, amount in asdict(options.regions).items() if amount != 1}


def make_controls(options: AffectOptions) -> AffectControls:
    """Load the controls that `options` name.

    Raises:
        UsageError: A concept's file is missing, or a concept is named twice.
        EstimatorError: Its files are damaged.
    """
    concepts = []
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
        concepts.append((load_concept(path), amount))
    try:
        return AffectControls(concepts, options.valence, options.arousal)
    except ValueError as error:
        raise UsageError(f"affect.concepts: {error}; drop or mend one") from error


def conditioning_claim(options: AffectOptions) -> dict[str, Any]:
    """Return the options as a manifest states them: no folders, concepts by name."""
    return {
        "guidance_scale": options.guidance_scale,
        "relative": options.relative,
        "performer": options.performer,
        "concepts": {Path(name).stem: amount for name, amount in options.concepts.items()},
        "valence": options.valence,
        "arousal": options.arousal,
        "regions": region_amounts(options),
        "force": options.force,
    }


def describe_controls(options: AffectOptions) -> str:
    """Return the active controls for the log, such as "tired +0.50, valence -0.20"; or ""."""
    claim = conditioning_claim(options)
    amounts = claim["concepts"] | {name: claim[name] for name in ("valence", "arousal")}
    named = [f"{name} {amount:+.2f}" for name, amount in amounts.items() if amount]
    named += [f"{name} x{amount:.2f}" for name, amount in claim["regions"].items()]
    return ", ".join(named)


def affect_space_of(model: LoadedModel) -> AffectSpace | None:
    """Return the affect space in a model file; None if its decoders are not conditioned.

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
        raise ModelError(
            f"{model.path}: its affect space belongs to another model; restore the file"
        )
    return space


def make_conditioner(
    model: LoadedModel,
    identity: str,
    options: AffectOptions,
    make_estimator: Callable[[], Estimator | None],
    find_neutral: Callable[[Estimator, int], NDArray[np.float32]],
    device: torch.device,
    space: AffectSpace | None = None,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> AffectConditioner | None:
    """Build the conditioner of a model; None if its decoders are not conditioned.

    Args:
        model: Loaded.
        identity: Whose face appears.
        options: Of the command line.
        make_estimator: The one named there; None to take the one that the model names.
        find_neutral: Estimates the neutral (D,) of a performer from the clip; given the estimator
            and the side of the crops to read.
        device: Where the estimator runs.
        space: The model's affect space, where the caller has restored it; None to restore it.
        settings: By name of an estimator, how to load it where none is named.

    Raises:
        ModelError: The affect space is damaged.
        UsageError: The estimator is not the model's, the performer unknown, or a control cannot be
            applied.
        EstimatorError: Its weights cannot be used.
    """
    controls = make_controls(options)
    space = space or affect_space_of(model)
    if space is None:
        if named := describe_controls(replace(options, regions=RegionOptions())):
            raise UsageError(
                f"{named}: {model.path} is not conditioned on affect, so controls have no effect; "
                "train with experiment=affect128, or drop affect.concepts, affect.valence and "
                "affect.arousal"
            )
        return None
    controls.check(space, force=options.force)
    for name, share in controls.expressible_shares(space).items():
        if share < _MIN_EXPRESSIBLE:
            log.warning(
                "%s: the model's codes express %.0f %% of it, only that is added", name, 100 * share
            )
    estimator = _estimator(space, make_estimator, settings).to(device)
    side = model.card.aligned_size or max(DEFAULT_SIDE, model.net.resolution)
    performer: str | NDArray[np.float32] = options.performer
    if options.performer not in ("", *space.neutrals):
        raise UsageError(
            f"affect.performer={options.performer}: the model has "
            f"{', '.join(space.neutrals)}; leave it empty to estimate the "
            "performer's neutral from the clip"
        )
    if not options.performer:
        performer = find_neutral(estimator, side)
    return AffectConditioner(
        estimator, space, performer, identity, model.card.coverage, side, options, controls
    )


def _estimator(
    space: AffectSpace,
    make: Callable[[], Estimator | None],
    settings: Mapping[str, Mapping[str, Any]],
) -> Estimator:
    name = space.lineage.partition(":")[0]
    estimator = make()
    if estimator is None:
        try:
            estimator = load_estimator(name, "measuring", **settings.get(name, {}))
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
