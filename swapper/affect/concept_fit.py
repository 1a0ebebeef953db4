"""Fit the direction of a concept from positive and negative examples, and validate it.

The direction is the mean over people of (mean of their positives - mean of their negatives): the
difference is taken within a person, so that identity cancels, and people are weighted equally. A
linear regression removes the effect of pose and light differences between a person's two sets.

The direction is *not* projected off the axes along which people or poses differ: an estimator's
embedding is narrow (that of `actors` varies in some 7 directions), affect and identity share it,
and projecting removed half of the effect on other people (docs/LOG.md, 2026-11-23). So the overlap
with the identity axes is reported, not tested; the test is that people are in both sets.

Validation: leave-one-person-out AUC; and from the scatter of the per-person differences, the
expected cosine with the direction that infinitely many people and pictures would give.

Source: the difference of means as a direction, Haufe et al. 2014,
doi:10.1016/j.neuroimage.2013.10.067.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.concepts import Concept, Plain

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

MIN_POSITIVES: Final = 20
MIN_PEOPLE: Final = 5
MIN_AUC: Final = 0.75
MIN_COSINE: Final = 0.6
MAX_OVERLAP: Final = 0.2
MAX_DEGREES: Final = 10.0
MAX_LIGHT: Final = 0.1
FIGURES: Final[Mapping[str, str]] = {
    "people": "people who are in both sets",
    "positives": "faces of these people that show it",
    "negatives": "faces of these people that do not",
    "unused": "faces of people who are in one set only, or unknown",
    "auc": "of a person left out, share of pairs (positive, negative) the right way round",
    "auc_lowest": "the same of the person for whom it holds least",
    "cosine": "expected cosine with the direction that endless people and pictures would give",
    "pose_overlap": "share of the difference that pose explains, before it was taken off",
    "light_overlap": "share that brightness explains, likewise",
    "identity_overlap": "largest |cosine| with an axis along which these people differ",
    "yaw": "degrees by which positives are turned more than negatives",
    "pitch": "degrees",
    "roll": "degrees",
    "light": "by which positives are brighter, of full scale",
    "length": "of the direction, in units of the embedding",
}
"""Description of each figure of a concept; null where it cannot be computed."""

_UNITS: Final = np.array([10.0, 10.0, 10.0, 0.1])
"""Scale of yaw, pitch, roll and light, so that one ridge penalty fits all."""
_RIDGE: Final = 1.0
_IDENTITY_SHARE: Final = 0.8


@dataclass(frozen=True, eq=False)
class Examples:
    """N example faces, positive or negative.

    Attributes:
        embedding: (N, D) float32, of one estimator.
        people: Name of each person; "" if unknown.
        pose: (N, 3) yaw, pitch, roll in degrees.
        light: (N,) mean brightness of each crop in [0, 1].
    """

    embedding: NDArray[np.float32]
    people: Sequence[str]
    pose: NDArray[np.floating[Any]]
    light: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        count = len(self.people)
        shapes = (self.pose.shape, self.light.shape, self.embedding.shape[:1])
        if shapes != ((count, 3), (count,), (count,)) or self.embedding.ndim != 2 or not count:
            raise ValueError(f"need N >= 1 rows of each, got {count} people and {shapes}")
        for each in (self.embedding, self.pose, self.light):
            if not np.isfinite(each).all():
                raise ValueError("embedding, pose and light must be finite")


@dataclass(frozen=True, eq=False)
class _Sets:
    """Both sets: embeddings, nuisance variables, each person's rows of positives and negatives."""

    embedding: Floats
    nuisance: Floats
    people: Mapping[str, tuple[Rows, Rows]]

    def differences(self, values: Floats) -> Floats:
        """(P, M): mean of each person's positives minus the mean of the negatives."""
        return np.stack(
            [values[a].mean(axis=0) - values[b].mean(axis=0) for a, b in self.people.values()]
        )

    def difference(self, values: Floats) -> Floats:
        """Mean over people of `differences`, (M,)."""
        return np.asarray(self.differences(values).mean(axis=0))

    def slope(self) -> Floats:
        """(4, D): regression of the embedding on pose and light, within one set of one person."""
        subsets = [rows for both in self.people.values() for rows in both]
        moved, read = (
            np.concatenate([values[rows] - values[rows].mean(0) for rows in subsets])
            for values in (self.nuisance, self.embedding)
        )
        gram = moved.T @ moved + _RIDGE * np.eye(moved.shape[1])
        return np.linalg.solve(gram, moved.T @ read)

    def levelled(self) -> Floats:
        """Embeddings (N, D) with the effect of pose and light removed."""
        return self.embedding - self.nuisance @ self.slope()


def fit_concept(
    name: str,
    lineage: str,
    positives: Examples,
    negatives: Examples,
    *,
    provenance: Mapping[str, Plain] | None = None,
) -> Concept:
    """Fit a concept's direction, validate it, and accept or reject it.

    Args:
        name: Of the concept.
        lineage: Of the estimator that read the faces.
        positives: Faces that show it.
        negatives: Faces of the same people that do not, otherwise alike.
        provenance: Stored with the concept.

    Returns:
        The concept, accepted or rejected; a rejected one has its direction, too.

    Raises:
        ValueError: The sets are of different embeddings, or the name is not valid.
    """
    if positives.embedding.shape[1] != negatives.embedding.shape[1]:
        raise ValueError("positives and negatives must be embeddings of one estimator")
    sets, has_people = _sets(positives, negatives)
    direction = sets.difference(sets.levelled())
    figures = _figures(sets, direction, has_people)
    faces = len(positives.people) + len(negatives.people)
    figures["unused"] = faces - figures["positives"] - figures["negatives"]
    if has_people:
        figures |= _leave_one_person_out(sets)
        figures["cosine"] = _expected_cosine(sets, direction)
    reasons = _reasons(figures, unknown=not any([*positives.people, *negatives.people]))
    return Concept(
        name=name,
        lineage=lineage,
        direction=direction.astype(np.float32),
        figures={
            key: round(value, 4) if isinstance(value := figures.get(key), float) else value
            for key in FIGURES
        },
        verdict=f"rejected: {'; '.join(reasons)}" if reasons else "accepted",
        accepted=not reasons,
        provenance=dict(provenance or {}),
    )


def _sets(positives: Examples, negatives: Examples) -> tuple[_Sets, bool]:
    """People in both sets, and True; if there are none, all as one person, and False."""
    embedding = np.concatenate([positives.embedding, negatives.embedding]).astype(np.float64)
    pose = np.concatenate([positives.pose, negatives.pose])
    light = np.concatenate([positives.light, negatives.light])
    nuisance = np.c_[pose, light].astype(np.float64) / _UNITS
    person = np.array([*positives.people, *negatives.people])
    positive = np.arange(len(person)) < len(positives.people)
    both = sorted((set(positives.people) & set(negatives.people)) - {""})
    people = {
        each: (
            np.flatnonzero((person == each) & positive),
            np.flatnonzero((person == each) & ~positive),
        )
        for each in both
    } or {"": (np.flatnonzero(positive), np.flatnonzero(~positive))}
    return _Sets(embedding, nuisance - nuisance.mean(axis=0), people), bool(both)


def _figures(sets: _Sets, direction: Floats, has_people: bool) -> dict[str, Any]:
    raw, gap, slope = sets.difference(sets.embedding), sets.difference(sets.nuisance), sets.slope()
    along = _unit(raw)
    length = max(float(np.linalg.norm(raw)), 1e-12)
    degrees = gap * _UNITS
    return {
        "people": len(sets.people) if has_people else 0,
        "positives": sum(len(each) for each, _ in sets.people.values()) if has_people else 0,
        "negatives": sum(len(rest) for _, rest in sets.people.values()) if has_people else 0,
        "pose_overlap": abs(float(gap[:3] @ slope[:3] @ along)) / length,
        "light_overlap": abs(float(gap[3] * slope[3] @ along)) / length,
        "identity_overlap": _identity_overlap(sets, direction) if len(sets.people) > 2 else None,
        **dict(zip(("yaw", "pitch", "roll", "light"), map(float, degrees), strict=True)),
        "length": float(np.linalg.norm(direction)),
    }


def _identity_overlap(sets: _Sets, direction: Floats) -> float:
    """Largest |cosine| with the principal axes of the people's midpoints between their sets."""
    middles = np.stack([
        (sets.embedding[positive].mean(axis=0) + sets.embedding[rest].mean(axis=0)) / 2
        for positive, rest in sets.people.values()
    ])  # fmt: skip
    _, spread, axes = np.linalg.svd(middles - middles.mean(axis=0), full_matrices=False)
    held = np.cumsum(spread**2) / max(float((spread**2).sum()), 1e-12)
    count = int((held < _IDENTITY_SHARE).sum()) + 1
    return float(np.abs(axes[:count] @ _unit(direction)).max())


def _leave_one_person_out(sets: _Sets) -> dict[str, Any]:
    """Leave-one-person-out AUC: mean and minimum."""
    if len(sets.people) < 2:
        return {"auc": None, "auc_lowest": None}
    aucs = []
    for name, (positive, rest) in sets.people.items():
        others = {each: rows for each, rows in sets.people.items() if each != name}
        training = replace(sets, people=others)
        levelled = training.levelled()
        score = levelled @ training.difference(levelled)
        above = np.sign(score[positive][:, None] - score[rest][None, :])
        aucs.append(float((above + 1).mean() / 2))
    return {"auc": float(np.mean(aucs)), "auc_lowest": min(aucs)}


def _expected_cosine(sets: _Sets, direction: Floats) -> float | None:
    """Expected cosine of `direction` with the one that infinitely many people and pictures give.

    The scatter of the per-person differences about their mean estimates the noise power of the
    mean. It is the limit of a bootstrap over people, corrected for what a resample shares with the
    sample (two of pure noise have a cosine of .71); resampling pictures within people as well
    would count their noise twice.
    """
    number = len(sets.people)
    if number < 2:
        return None
    scatter = float(((sets.differences(sets.levelled()) - direction) ** 2).sum())
    power = max(float((direction**2).sum()), 1e-12)
    return math.sqrt(max(0.0, 1 - scatter / (number * (number - 1)) / power))


def _reasons(figures: Mapping[str, Any], *, unknown: bool) -> list[str]:
    """Reasons for rejection in plain text; empty if accepted."""
    if unknown:
        return [
            "the people on the pictures are unknown, so it cannot be checked on a person left out; "
            "sort positives and negatives into sub-folders, one a person"
        ]
    people, positives = figures["people"], figures["positives"]
    reasons = []
    if people < MIN_PEOPLE:
        reasons.append(
            f"{people} {'person is' if people == 1 else 'people are'} in both folders, "
            f"{MIN_PEOPLE} are needed, or it may be their identity"
        )
    if positives < MIN_POSITIVES:
        reasons.append(f"{positives} positives of them, {MIN_POSITIVES} are needed")
    auc, cosine = figures.get("auc"), figures.get("cosine")
    if auc is not None and auc < MIN_AUC:
        reasons.append(
            f"on a person left out it is right in {auc:.0%} of pairs, {MIN_AUC:.0%} are needed: "
            "it does not hold for other people"
        )
    if cosine is not None and cosine < MIN_COSINE:
        reasons.append(
            f"other pictures would give another direction (cosine {cosine:.2f}, "
            f"{MIN_COSINE:.2f} is needed): use more pictures, or more similar ones"
        )
    return reasons + _confounds(figures)


def _confounds(figures: Mapping[str, Any]) -> list[str]:
    reasons = []
    name = max(("yaw", "pitch", "roll"), key=lambda each: abs(figures[each]))
    most, overlap = figures[name], figures["pose_overlap"]
    if abs(most) > MAX_DEGREES or overlap >= MAX_OVERLAP:
        reasons.append(
            f"pose differs between the folders ({name} by {most:+.0f} degrees, {overlap:.0%} of "
            "the difference): choose pictures of similar pose"
        )
    light, overlap = figures["light"], figures["light_overlap"]
    if abs(light) > MAX_LIGHT or overlap >= MAX_OVERLAP:
        reasons.append(
            f"brightness differs between the folders (by {light:+.2f} of full scale, {overlap:.0%} "
            "of the difference): choose pictures of similar light"
        )
    return reasons


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
