"""More or less of a feeling than the performer plays, as far as the identity was seen to go.

A dial adds a step to affect codes: a concept's, or that by which valence or arousal rises. What the
steps come to, along each dialled direction, ends at the 99 % quantile of the identity's own codes.
A performer who is beyond that already is left there: no dial ever turns its own way back.
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

MOST_CONCEPT: Final = 1.5
MOST_FEELING: Final = 1.0
_PASSES: Final = 8
_NEGLIGIBLE: Final = 1e-6


@dataclass(frozen=True)
class ClampCounts:
    """How often the identity's footage held dials back.

    Attributes:
        faces: Faces that were dialled.
        any: Of these, how many had a dial held back.
        by_dial: The same of each dial, by name.
    """

    faces: int = 0
    any: int = 0
    by_dial: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: ClampCounts) -> ClampCounts:
        names = {**self.by_dial, **other.by_dial}
        return ClampCounts(
            self.faces + other.faces,
            self.any + other.any,
            {name: self.by_dial.get(name, 0) + other.by_dial.get(name, 0) for name in names},
        )

    def share(self, dial: str) -> float:
        """Share of the faces in which a dial was held back, in [0, 1]."""
        return self.by_dial.get(dial, 0) / max(self.faces, 1)


@dataclass(frozen=True, eq=False)
class AffectControls:
    """What to add to a performance.

    Attributes:
        concepts: Each with its amount, -1.5 to 1.5; 1 is as much as its example pictures show.
        valence: By how much more pleasant, -1 to 1, in the estimator's own units.
        arousal: By how much more excited, likewise.

    Raises:
        ValueError: An amount is out of range, or two dials have one name.
    """

    concepts: Sequence[tuple[Concept, float]] = ()
    valence: float = 0.0
    arousal: float = 0.0

    def __post_init__(self) -> None:
        amounts = [(concept.name, amount, MOST_CONCEPT) for concept, amount in self.concepts]
        amounts += [
            ("valence", self.valence, MOST_FEELING),
            ("arousal", self.arousal, MOST_FEELING),
        ]
        if len({name for name, *_ in amounts}) < len(amounts):
            raise ValueError("two dials have one name")
        for name, amount, most in amounts:
            if not -most <= amount <= most:
                raise ValueError(f"{name}={amount}: must be between {-most:g} and {most:g}")

    def amounts(self) -> dict[str, float]:
        """By name, those that are not 0."""
        found = {concept.name: amount for concept, amount in self.concepts}
        found |= {"valence": self.valence, "arousal": self.arousal}
        return {name: amount for name, amount in found.items() if amount}

    def check(self, space: AffectSpace, *, force: bool = False) -> None:
        """Whether codes of `space` can be dialled so.

        Args:
            space: Of the model.
            force: Take concepts that their own examples do not bear out.

        Raises:
            UsageError: In one line: a concept was read by another estimator or is not accepted, or
                the codes tell nothing of valence or arousal.
        """
        for concept, _ in self.concepts:
            if concept.lineage != space.lineage or len(concept.direction) != len(space.basis):
                raise UsageError(
                    f"affect.concepts.{concept.name}: was read by {concept.lineage[:40]}..., the "
                    f"model hears {space.lineage[:40]}...; make it anew with swapper concept and "
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
                    f"affect.{name}={amount:g}: the codes of this model tell nothing of {name}; "
                    f"pass affect.{name}=0"
                )

    def steps(self, space: AffectSpace, identity: str) -> dict[str, Floats]:
        """What each dial that is turned would add to a code, (K,), by name."""
        found = {}
        linear, _ = space.linear(identity)
        for concept, amount in self.concepts:
            found[concept.name] = amount * (concept.direction.astype(np.float64) @ linear)
        for name, amount in (("valence", self.valence), ("arousal", self.arousal)):
            if amount:
                found[name] = amount * getattr(space, name).astype(np.float64)
        return {name: step for name, step in found.items() if np.linalg.norm(step) > _NEGLIGIBLE}

    def heard(self, space: AffectSpace) -> dict[str, float]:
        """Share of a turned concept's squared length that codes can express, in [0, 1], by name."""
        span, _ = np.linalg.qr(space.basis.astype(np.float64))
        found = {}
        for concept in (each for each, amount in self.concepts if amount):
            direction = concept.direction.astype(np.float64)
            found[concept.name] = float(
                np.linalg.norm(direction @ span) ** 2 / np.linalg.norm(direction) ** 2
            )
        return found

    def apply(
        self, space: AffectSpace, codes: NDArray[np.float32], identity: str
    ) -> tuple[NDArray[np.float32], ClampCounts]:
        """Turn the dials.

        All steps are added; then, where the sum lies beyond both what the identity has shown along
        a step and what the performer did, that step is shortened, down to nothing.

        Args:
            space: For which `check` passes.
            codes: (N, K) for the decoder of `identity`.
            identity: Whose face appears.

        Returns:
            Codes, the same if no dial is turned, and how often dials were held back.
        """
        steps = self.steps(space, identity)
        if not steps:
            return codes, ClampCounts(len(codes))
        before = codes.astype(np.float64)
        matrix = np.stack(list(steps.values()))
        wanted = np.linalg.norm(matrix, axis=1)
        units = matrix / wanted[:, None]
        most = np.maximum(ObservedRange(space.shown[identity]).reach(units), before @ units.T)
        lengths = np.tile(wanted, (len(before), 1))
        # Shortening one step moves the sum along the others, hence several passes.
        for _ in range(_PASSES):
            for dial, unit in enumerate(units):
                excess = (before + lengths @ units) @ unit - most[:, dial]
                lengths[:, dial] -= excess.clip(0, lengths[:, dial])
        held = lengths < wanted - _NEGLIGIBLE
        by_dial = {name: int(column.sum()) for name, column in zip(steps, held.T, strict=True)}
        capped = ClampCounts(len(before), int(held.any(axis=1).sum()), by_dial)
        return (before + lengths @ units).astype(np.float32), capped
