"""Controls that add affect to a performance, within the identity's observed range.

A control adds a step to affect codes: a concept's, or that by which valence or arousal rises. The
sum of the steps along each control's direction is clamped at the 99 % quantile of the identity's
own codes. A performer who is beyond that already is left there: clamping never reverses a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.concepts import Concept
from swapper.affect.observed_range import ObservedRange
from swapper.affect.space import AffectSpace
from swapper.errors import UsageError

Floats = NDArray[np.float64]

MAX_CONCEPT: Final = 1.5
MAX_VALENCE_AROUSAL: Final = 1.0
_PASSES: Final = 8
_NEGLIGIBLE: Final = 1e-6


@dataclass(frozen=True)
class ClampCounts:
    """How often controls were clamped to the identity's observed range.

    Attributes:
        faces: Faces to which controls were applied.
        any: Of these, how many had a control clamped.
        by_control: The same for each control, by name.
    """

    faces: int = 0
    any: int = 0
    by_control: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: ClampCounts) -> ClampCounts:
        names = {**self.by_control, **other.by_control}
        return ClampCounts(
            self.faces + other.faces,
            self.any + other.any,
            {name: self.by_control.get(name, 0) + other.by_control.get(name, 0) for name in names},
        )

    def share(self, control: str) -> float:
        """Share of the faces in which a control was clamped, in [0, 1]."""
        return self.by_control.get(control, 0) / max(self.faces, 1)


@dataclass(frozen=True, eq=False)
class AffectControls:
    """What to add to a performance.

    Attributes:
        concepts: Each with its amount, -1.5 to 1.5; 1 is the effect in its example pictures.
        valence: By how much more pleasant, -1 to 1, in the estimator's own units.
        arousal: By how much more excited, likewise.

    Raises:
        ValueError: An amount is out of range, or two controls have one name.
    """

    concepts: Sequence[tuple[Concept, float]] = ()
    valence: float = 0.0
    arousal: float = 0.0

    def __post_init__(self) -> None:
        amounts = [(concept.name, amount, MAX_CONCEPT) for concept, amount in self.concepts]
        for name in ("valence", "arousal"):
            amounts.append((name, getattr(self, name), MAX_VALENCE_AROUSAL))
        if len({name for name, *_ in amounts}) < len(amounts):
            raise ValueError("two controls have one name")
        for name, amount, most in amounts:
            if not -most <= amount <= most:
                raise ValueError(f"{name}={amount}: must be between {-most:g} and {most:g}")

    def amounts(self) -> dict[str, float]:
        """Amounts that are not 0, by name."""
        amounts = {concept.name: amount for concept, amount in self.concepts}
        amounts |= {"valence": self.valence, "arousal": self.arousal}
        return {name: amount for name, amount in amounts.items() if amount}

    def check(self, space: AffectSpace, *, force: bool = False) -> None:
        """Check that the controls apply to codes of `space`; `force` accepts rejected concepts.

        Raises:
            UsageError: In one line: a concept was read by another estimator or is not accepted, or
                the codes do not predict valence or arousal.
        """
        for concept, _ in self.concepts:
            if concept.lineage != space.lineage or len(concept.direction) != len(space.basis):
                raise UsageError(
                    f"affect.concepts.{concept.name}: was read by {concept.lineage[:40]}..., the "
                    f"model uses {space.lineage[:40]}...; make it anew with swapper concept and "
                    "that estimator"
                )
            if not (concept.accepted or force):
                raise UsageError(
                    f"affect.concepts.{concept.name}: {concept.verdict[:200]}; give it better "
                    "examples, or pass affect.force=true"
                )
        for name, amount in (("valence", self.valence), ("arousal", self.arousal)):
            if amount and not len(getattr(space, name)):
                raise UsageError(
                    f"affect.{name}={amount:g}: the codes of this model do not predict {name}; "
                    f"pass affect.{name}=0"
                )

    def steps(self, space: AffectSpace, identity: str) -> dict[str, Floats]:
        """Step (K,) that each active control adds to a code, by name."""
        steps = {}
        linear, _ = space.linear(identity)
        for concept, amount in self.concepts:
            steps[concept.name] = amount * (concept.direction.astype(np.float64) @ linear)
        for name, amount in (("valence", self.valence), ("arousal", self.arousal)):
            if amount:
                steps[name] = amount * getattr(space, name).astype(np.float64)
        return {name: step for name, step in steps.items() if np.linalg.norm(step) > _NEGLIGIBLE}

    def expressible_shares(self, space: AffectSpace) -> dict[str, float]:
        """Share of each active concept's squared length that codes can express, in [0, 1]."""
        span, _ = np.linalg.qr(space.basis.astype(np.float64))
        shares = {}
        for concept in (each for each, amount in self.concepts if amount):
            direction = concept.direction.astype(np.float64)
            shares[concept.name] = float(
                np.linalg.norm(direction @ span) ** 2 / np.linalg.norm(direction) ** 2
            )
        return shares

    def apply(
        self, space: AffectSpace, codes: NDArray[np.float32], identity: str
    ) -> tuple[NDArray[np.float32], ClampCounts]:
        """Add the controls' steps to codes (N, K) for the decoder of `identity`.

        All steps are added; then, where the sum lies beyond both the identity's observed range
        along a step and the performer's own code, that step is shortened, to zero if need be.

        Returns:
            Codes, unchanged if no control is active, and how often controls were clamped.
        """
        steps = self.steps(space, identity)
        if not steps:
            return codes, ClampCounts(len(codes))
        before = codes.astype(np.float64)
        matrix = np.stack(list(steps.values()))
        requested = np.linalg.norm(matrix, axis=1)
        units = matrix / requested[:, None]
        limits = np.maximum(ObservedRange(space.observed[identity]).extent(units), before @ units.T)
        lengths = np.tile(requested, (len(before), 1))
        # Shortening one step moves the sum along the others, hence several passes.
        for _ in range(_PASSES):
            for control, unit in enumerate(units):
                excess = (before + lengths @ units) @ unit - limits[:, control]
                lengths[:, control] -= excess.clip(0, lengths[:, control])
        clamped = lengths < requested - _NEGLIGIBLE
        by_control = {
            name: int(column.sum()) for name, column in zip(steps, clamped.T, strict=True)
        }
        counts = ClampCounts(len(before), int(clamped.any(axis=1).sum()), by_control)
        return (before + lengths @ units).astype(np.float32), counts
