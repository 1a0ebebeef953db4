"""What sets two sets of faces apart, and whether it would of other people too.

The direction of a concept is the mean over people of (mean of their positives - mean of their
negatives): within a person, so that who it is cancels out, and each person alike. What a straight
line makes of the difference in pose and light between a person's two sets is taken off.

It is *not* projected off the axes along which people or poses differ, as one would in an embedding
where those are wide and many: an estimator's is narrow (that of `actors` varies in some 7
directions), feeling and person share it, and projecting took away half of what other people showed
(docs/LOG.md, 2026-11-23). So the overlap with the axes of people is told and not judged; what is
judged instead is that people stand in both sets.

Checks: leave one person out, fit on the others, and see whether this person's positives lie above
the negatives; and from how people's own differences scatter, tell how near the direction is to the
one that endless people and pictures would give.

Source: the difference of means as a direction, Haufe et al. 2014,
doi:10.1016/j.neuroimage.2013.10.067.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.concepts import Concept, Plain

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST_POSITIVES: Final = 20
LEAST_PEOPLE: Final = 5
LEAST_AUC: Final = 0.75
LEAST_COSINE: Final = 0.6
MOST_OVERLAP: Final = 0.2
MOST_DEGREES: Final = 10.0
MOST_LIGHT: Final = 0.1
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
"""What each figure of a concept is; null where it cannot be known."""

_UNITS: Final = np.array([10.0, 10.0, 10.0, 0.1])
"""Of yaw, pitch, roll and light, that make them of one size for the ridge."""
_RIDGE: Final = 1.0
_IDENTITY_SHARE: Final = 0.8


@dataclass(frozen=True, eq=False)
class Examples:
    """N faces that show a concept, or that do not.

    Attributes:
        embedding: (N, D) float32, of one estimator.
        people: Who each is; "" where that is not known.
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
    """Both sets: embeddings and nuisance, and of each person the rows on either side."""

    embedding: Floats
    nuisance: Floats
    people: Mapping[str, tuple[Rows, Rows]]

    def without(self, name: str) -> _Sets:
        kept = {each: rows for each, rows in self.people.items() if each != name}
        return _Sets(self.embedding, self.nuisance, kept)

    def differences(self, values: Floats) -> Floats:
        """(P, M): what each person's positives have more than the negatives, on average."""
        return np.stack([values[a].mean(axis=0) - values[b].mean(axis=0) for a, b in self.sides])

    def difference(self, values: Floats) -> Floats:
        """Mean over people of `differences`, (M,)."""
        mean: Floats = self.differences(values).mean(axis=0)
        return mean

    @property
    def sides(self) -> list[tuple[Rows, Rows]]:
        """Rows of each person's positives and negatives."""
        return list(self.people.values())

    def slope(self) -> Floats:
        """(4, D): how the embedding moves with pose and light within a person's one set."""
        sides = [rows for both in self.sides for rows in both]
        moved = np.concatenate(
            [self.nuisance[rows] - self.nuisance[rows].mean(0) for rows in sides]
        )
        read = np.concatenate(
            [self.embedding[rows] - self.embedding[rows].mean(0) for rows in sides]
        )
        gram = moved.T @ moved + _RIDGE * np.eye(moved.shape[1])
        found: Floats = np.linalg.solve(gram, moved.T @ read)
        return found

    def levelled(self) -> Floats:
        """Embeddings (N, D) without what pose and light explain."""
        return self.embedding - self.nuisance @ self.slope()


def fit_concept(
    name: str,
    lineage: str,
    positives: Examples,
    negatives: Examples,
    *,
    provenance: Mapping[str, Plain] | None = None,
) -> Concept:
    """Find a concept's direction, check it, and say whether it can be used.

    Args:
        name: Of the concept.
        lineage: Of the estimator that read the faces.
        positives: Faces that show it.
        negatives: Faces of the same people that do not, else alike.
        provenance: Kept with it.

    Returns:
        Accepted or rejected; a rejected one has its direction, too.

    Raises:
        ValueError: The sets are of different embeddings, or the name is none.
    """
    if positives.embedding.shape[1] != negatives.embedding.shape[1]:
        raise ValueError("positives and negatives must be embeddings of one estimator")
    sets, known = _sets(positives, negatives)
    direction = sets.difference(sets.levelled())
    figures = _figures(sets, direction, known)
    figures["unused"] = len(positives.people) + len(negatives.people) - (
        _count(figures["positives"]) + _count(figures["negatives"])
    )  # fmt: skip
    if known:
        figures |= _left_out(sets)
        figures["cosine"] = _expected_cosine(sets, direction)
    reasons = _reasons(figures, unknown=not any([*positives.people, *negatives.people]))
    return Concept(
        name=name,
        lineage=lineage,
        direction=direction.astype(np.float32),
        figures={key: _rounded(figures.get(key)) for key in FIGURES},
        verdict=f"rejected: {'; '.join(reasons)}" if reasons else "accepted",
        accepted=not reasons,
        provenance=dict(provenance or {}),
    )


def _sets(positives: Examples, negatives: Examples) -> tuple[_Sets, bool]:
    """The people who are in both sets; if there are none, all as one person, and False."""
    embedding = np.concatenate([positives.embedding, negatives.embedding]).astype(np.float64)
    pose = np.concatenate([positives.pose, negatives.pose])
    light = np.concatenate([positives.light, negatives.light])
    nuisance = np.c_[pose, light].astype(np.float64) / _UNITS
    who = np.array([*positives.people, *negatives.people])
    shown = np.arange(len(who)) < len(positives.people)
    both = sorted((set(positives.people) & set(negatives.people)) - {""})
    people = {
        each: (np.flatnonzero((who == each) & shown), np.flatnonzero((who == each) & ~shown))
        for each in both
    } or {"": (np.flatnonzero(shown), np.flatnonzero(~shown))}
    return _Sets(embedding, nuisance - nuisance.mean(axis=0), people), bool(both)


def _figures(sets: _Sets, direction: Floats, known: bool) -> dict[str, Plain]:
    raw, gap, slope = sets.difference(sets.embedding), sets.difference(sets.nuisance), sets.slope()
    along = _unit(raw)
    length = max(float(np.linalg.norm(raw)), 1e-12)
    degrees = gap * _UNITS
    return {
        "people": len(sets.people) if known else 0,
        "positives": sum(len(shown) for shown, _ in sets.sides) if known else 0,
        "negatives": sum(len(rest) for _, rest in sets.sides) if known else 0,
        "pose_overlap": abs(float(gap[:3] @ slope[:3] @ along)) / length,
        "light_overlap": abs(float(gap[3] * slope[3] @ along)) / length,
        "identity_overlap": _identity_overlap(sets, direction) if len(sets.people) > 2 else None,
        **dict(zip(("yaw", "pitch", "roll", "light"), map(float, degrees), strict=True)),
        "length": float(np.linalg.norm(direction)),
    }


def _identity_overlap(sets: _Sets, direction: Floats) -> float:
    """Largest |cosine| with the axes that hold most of how people differ midway between sets."""
    middles = np.stack([
        (sets.embedding[shown].mean(axis=0) + sets.embedding[rest].mean(axis=0)) / 2
        for shown, rest in sets.sides
    ])  # fmt: skip
    _, spread, axes = np.linalg.svd(middles - middles.mean(axis=0), full_matrices=False)
    held = np.cumsum(spread**2) / max(float((spread**2).sum()), 1e-12)
    count = int((held < _IDENTITY_SHARE).sum()) + 1
    return float(np.abs(axes[:count] @ _unit(direction)).max())


def _left_out(sets: _Sets) -> dict[str, Plain]:
    """AUC of each person along the direction of the others; their mean and the lowest."""
    if len(sets.people) < 2:
        return {"auc": None, "auc_lowest": None}
    found = []
    for name, (shown, rest) in sets.people.items():
        others = sets.without(name)
        levelled = others.levelled()
        score = levelled @ others.difference(levelled)
        above = np.sign(score[shown][:, None] - score[rest][None, :])
        found.append(float((above + 1).mean() / 2))
    return {"auc": float(np.mean(found)), "auc_lowest": min(found)}


def _expected_cosine(sets: _Sets, direction: Floats) -> float | None:
    """Expected cosine of `direction` with the one that endless people and pictures would give.

    People's own differences scatter about their mean by what pictures and people add, and so tell
    the power of its noise. This is where a bootstrap over people tends to, once what a new draw
    shares with the first is taken off (two of pure noise have a cosine of .71); drawing pictures
    anew within them as well would count their noise twice.
    """
    number = len(sets.people)
    if number < 2:
        return None
    scatter = float(((sets.differences(sets.levelled()) - direction) ** 2).sum())
    power = max(float((direction**2).sum()), 1e-12)
    return math.sqrt(max(0.0, 1 - scatter / (number * (number - 1)) / power))


def _reasons(figures: Mapping[str, Plain], *, unknown: bool) -> list[str]:
    """Why it is rejected, for a person to read; none if it is not."""
    if unknown:
        return [
            "who is on the pictures is not known, so it cannot be checked on a person left out; "
            "sort positives and negatives into sub-folders, one a person"
        ]
    people, positives = _count(figures["people"]), _count(figures["positives"])
    reasons = []
    if people < LEAST_PEOPLE:
        reasons.append(
            f"{people} {'person is' if people == 1 else 'people are'} in both folders, "
            f"{LEAST_PEOPLE} are needed, or it may be who they are"
        )
    if positives < LEAST_POSITIVES:
        reasons.append(f"{positives} positives of them, {LEAST_POSITIVES} are needed")
    auc, cosine = figures.get("auc"), figures.get("cosine")
    if isinstance(auc, float) and auc < LEAST_AUC:
        reasons.append(
            f"on a person left out it is right in {auc:.0%} of pairs, {LEAST_AUC:.0%} are needed: "
            "it does not hold for other people"
        )
    if isinstance(cosine, float) and cosine < LEAST_COSINE:
        reasons.append(
            f"other pictures would point elsewhere (cosine {cosine:.2f}, {LEAST_COSINE:.2f} is "
            "needed): take more, or more alike ones"
        )
    return reasons + _confounds(figures)


def _confounds(figures: Mapping[str, Plain]) -> list[str]:
    reasons = []
    turned = {name: _number(figures[name]) for name in ("yaw", "pitch", "roll")}
    name, most = max(turned.items(), key=lambda each: abs(each[1]))
    overlap = _number(figures["pose_overlap"])
    if abs(most) > MOST_DEGREES or overlap >= MOST_OVERLAP:
        reasons.append(
            f"pose differs between the folders ({name} by {most:+.0f} degrees, {overlap:.0%} of "
            "the difference): choose pictures turned alike"
        )
    light, overlap = _number(figures["light"]), _number(figures["light_overlap"])
    if abs(light) > MOST_LIGHT or overlap >= MOST_OVERLAP:
        reasons.append(
            f"brightness differs between the folders (by {light:+.2f} of full scale, {overlap:.0%} "
            "of the difference): choose pictures lit alike"
        )
    return reasons


def _unit(vector: Floats) -> Floats:
    scaled: Floats = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return scaled


def _count(value: Plain) -> int:
    assert isinstance(value, int)
    return value


def _number(value: Plain) -> float:
    assert isinstance(value, float)
    return value


def _rounded(value: Plain) -> Plain:
    return round(value, 4) if isinstance(value, float) else value
