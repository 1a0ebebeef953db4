"""A person's face at rest, meaning the same for everybody: lips closed, brows down, eyes open.

Codes, pseudo-targets and evaluation all measure expression as a departure from it. It is found in
shapes turned to the front, so that a turned head is no expression: first the faces whose lips are
closed, whose eyes are open, whose brows are level and whose mouth is about as wide as at rest; of
those the shape that the footage shows most, with the brows rather low than raised. Somebody who
talks all the time has a few such faces between two words; where there are none, what is missing is
taken off the nearest faces by what it looks like on the other people of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import MEAN_FACE, SIGNALS, Shapes, landmarks_of, signals
from swapper.types import MESH_POINTS, Readings

Floats = NDArray[np.float64]

OPENING, WIDTH = SIGNALS.index("mouth_opening"), SIGNALS.index("mouth_width")
_BROWS: Final = [SIGNALS.index("brow_left"), SIGNALS.index("brow_right")]
_LIDS: Final = [SIGNALS.index("lid_left"), SIGNALS.index("lid_right")]
# Eye distances. Of four adults' meshes and of drawn actors, closed lips read 0 to .02, mouths at
# rest are .50 to .58 wide, open eyes .07 to .15 high, closed ones below .02.
_CLOSED: Final = 0.04
_WIDTH_AT_REST: Final = 0.54
_SHUT: Final = 0.03
# How far each signal may be from its value at rest before a face counts 0.6 as much, in the order
# of `SIGNALS`.
_TOLERANCE: Final = np.array([0.02, 0.05, 0.03, 0.025, 0.025, 0.03, 0.03, 0.035])
_WIDTH_TOLERANCE: Final = 0.08
_UNEVEN_TOLERANCE: Final = 0.03
_LOW_BROWS: Final = 0.35
_OPEN_LIDS: Final = 0.8
# As many faces as a rest is the mean of at least, in effect: with 8, random quarters of acted clips
# came to rests .025 apart, for each settled on another expression.
_FEWEST: Final = 24.0
_LEAST_SHARE: Final = 0.02
_WIDER: Final = 1.3
_WIDEST: Final = 3.0
_ROUNDS: Final = 5
_BLOCKS: Final = 8
_LEAST_SPREAD: Final = 0.02
_FEWEST_READ: Final = 20
_SHARE_READ: Final = 0.05
_LEAST_WEIGHT: Final = 1e-12
_NEEDED: Final = {"closed lips": [OPENING], "open eyes": _LIDS}
_MEAN_LEVELS: Final = signals(MEAN_FACE[None])[0]
# Which landmarks move down, and how far, as a signal grows by one.
_MOVES: Final[dict[str, tuple[tuple[list[int], float], ...]]] = {
    "closed lips": (([55, 56, 57, 58, 59, 65, 66, 67], 1.0), ([6, 7, 8, 9, 10], 0.8)),
    "open eyes": (([37, 38, 43, 44], -0.7), ([40, 41, 46, 47], 0.3)),
}
_NEAR: Final = 0.04


@dataclass(frozen=True, eq=False)
class Neutral:
    """One person at rest.

    Attributes:
        shape: (P, 3) points turned to the front, see `Shapes`.
        weights: (N,) how much each face counted for it; they add up to 1.
        uncertainty: Standard error of the points, in eye distances: how far the rest would move if
            a part of the footage were left out (jackknife over eight parts). Four real clips: .006
            to .024.
        missing: What the footage never shows, such as "closed lips"; then that is a guess.
    """

    shape: Floats
    weights: Floats
    uncertainty: float
    missing: tuple[str, ...] = ()

    @property
    def signals(self) -> Floats:
        """(8,) `SIGNALS` at rest."""
        found: Floats = signals(landmarks_of(self.shape)[None])[0]
        return found

    def describe(self) -> str:
        """In words, for the log."""
        words = f"rest known to {self.uncertainty:.3f} eye distances"
        if self.missing:
            words += f"; the footage never shows {' or '.join(self.missing)}, so that is a guess"
        return words


def find_neutrals(shapes: Mapping[str, Shapes]) -> dict[str, Neutral]:
    """The rest of each person, found together.

    Args:
        shapes: Of each person's faces, in the order of the footage; all of the same points.
    """
    found = {name: _own_neutral(each) for name, each in shapes.items()}
    return {
        name: _completed(name, neutral, shapes, found) if neutral.missing else neutral
        for name, neutral in found.items()
    }


def neutral_embedding(readings: Readings, rest: Floats) -> NDArray[np.float32]:
    """The embedding (D,) at rest: the median of the twentieth most at rest, 20 faces at least.

    Args:
        readings: Of N >= 1 faces of one person.
        rest: (N,), see `Neutral.weights`.
    """
    count = min(len(readings), max(_FEWEST_READ, round(_SHARE_READ * len(readings))))
    middle = np.median(readings.embedding[most_at_rest(readings, rest)[:count]], axis=0)
    return np.asarray(middle, np.float32)


def most_at_rest(readings: Readings, rest: Floats) -> NDArray[np.int64]:
    """Faces by how much they are at rest, most first: by shape and, where it is read, by calm."""
    return np.argsort(-(rest + _LEAST_WEIGHT) * calmness(readings), kind="stable")


def calmness(readings: Readings) -> Floats:
    """(N,) p(neutral) · exp(-|arousal|), of what the estimator has; 1 where it has neither."""
    calm = np.ones(len(readings))
    if readings.probabilities is not None and "neutral" in readings.labels:
        calm *= readings.probabilities[:, readings.labels.index("neutral")]
    if readings.arousal is not None:
        calm *= np.exp(-np.abs(readings.arousal))
    return calm


def _own_neutral(shapes: Shapes) -> Neutral:
    """From one person's own faces."""
    seen = signals(shapes.landmarks)
    weights = _rest_weights(seen)
    return Neutral(
        shape=_mean(shapes.front, weights),
        weights=weights,
        uncertainty=_uncertainty(shapes.front, seen),
        missing=_missing(seen, weights),
    )


def _rest_weights(seen: Floats) -> Floats:
    """(N,) how likely each face is at rest, from its signals (N, 8)."""
    closed = np.minimum(np.quantile(seen[:, OPENING], 0.02), _CLOSED)
    lids = np.quantile(seen[:, _LIDS], _OPEN_LIDS, axis=0)
    fixed = np.square((seen[:, OPENING] - closed).clip(0) / _TOLERANCE[OPENING])
    fixed += np.square((seen[:, _LIDS] - lids) / _TOLERANCE[_LIDS]).mean(axis=1)
    fixed += np.square((seen[:, WIDTH] - _WIDTH_AT_REST) / _WIDTH_TOLERANCE)
    fixed += np.square((seen[:, _BROWS[0]] - seen[:, _BROWS[1]]) / _UNEVEN_TOLERANCE)
    enough = min(max(_FEWEST, _LEAST_SHARE * len(seen)), len(seen) / 3)
    width = 1.0
    while True:
        weights = _most_shown(seen, np.exp(-fixed / (2 * width**2)), width)
        if 1 / np.square(weights).sum() >= enough or width > _WIDEST:
            return weights
        width *= _WIDER


def _most_shown(seen: Floats, weights: Floats, width: float) -> Floats:
    """Weights drawn together around the signals that are shown most: a mean shift."""
    first = weights = _normalised(weights)
    own = [column for column in range(seen.shape[1]) if column not in (OPENING, *_LIDS)]
    for _ in range(_ROUNDS):
        middle = np.array([_quantile(seen[:, each], weights, 0.5) for each in own])
        for column in _BROWS:
            middle[own.index(column)] = _quantile(seen[:, column], weights, _LOW_BROWS)
        apart = (seen[:, own] - middle) / (_TOLERANCE[own] * width)
        weights = _normalised(first * np.exp(-np.square(apart).sum(axis=1) / 2))
    return weights


def _normalised(weights: Floats) -> Floats:
    total = weights.sum()
    return weights / total if total > 1e-200 else np.full(len(weights), 1 / len(weights))


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    place = min(int(np.searchsorted(reached, share)), len(values) - 1)
    return float(values[order[place]])


def _mean(points: Floats, weights: Floats) -> Floats:
    return np.asarray(np.tensordot(weights, points, axes=1))


def _uncertainty(points: Floats, seen: Floats) -> float:
    """Jackknife standard error of the rest over parts of the footage, root mean square.

    The rest is found anew without each part: one that was seen in a single stretch is not sure.
    """
    parts = [each for each in np.array_split(np.arange(len(points)), _BLOCKS) if len(each)]
    if len(parts) < 2:
        return float("inf")
    rests = []
    for part in parts:
        weights = np.zeros(len(points))
        left = np.delete(np.arange(len(points)), part)
        weights[left] = _rest_weights(seen[left])
        rests.append(_mean(points[..., :2], weights))
    apart = np.array(rests) - np.mean(rests, axis=0)
    variance = np.square(apart).sum(axis=(0, 2)).mean() * (len(rests) - 1) / len(rests)
    return float(np.sqrt(variance))


def _missing(seen: Floats, weights: Floats) -> tuple[str, ...]:
    found = []
    if weights @ seen[:, OPENING] > 2 * _CLOSED:
        found.append("closed lips")
    if np.quantile(seen[:, _LIDS].mean(axis=1), 0.95) < _SHUT:
        found.append("open eyes")
    return tuple(found)


def _completed(
    name: str, neutral: Neutral, shapes: Mapping[str, Shapes], found: Mapping[str, Neutral]
) -> Neutral:
    """Take off the nearest faces what they lack of rest, as it looks on others."""
    shape = neutral.shape.copy()
    for words, columns in _NEEDED.items():
        if words not in neutral.missing:
            continue
        others = [each for each in found if each != name and words not in found[each].missing]
        slopes = [_slope(shapes[each], found[each], columns) for each in others]
        known = [slope for slope in slopes if slope is not None]
        levels = [found[each].signals[columns].mean() for each in others]
        level = float(np.mean(levels)) if levels else _MEAN_LEVELS[columns].mean()
        slope = np.mean(known, axis=0) if known else _mean_slope(shape, words)
        shape -= (neutral.signals[columns].mean() - level) * slope
    return replace(neutral, shape=shape)


def _slope(shapes: Shapes, neutral: Neutral, columns: list[int]) -> Floats | None:
    """(P, 3) how the points of a person go with some signals; None if these hardly vary."""
    moved = (signals(shapes.landmarks) - neutral.signals)[:, columns].mean(axis=1)
    if moved.std() < _LEAST_SPREAD:
        return None
    return _mean(shapes.front - neutral.shape, moved / np.square(moved).sum())


def _mean_slope(shape: Floats, words: str) -> Floats:
    """(P, 3) the same of an average face: the lower lip and the chin, or the lids, move alone."""
    landmarks = landmarks_of(shape)
    moving = np.zeros((len(landmarks), 3))
    for points, amount in _MOVES[words]:
        moving[points, 1] = amount
    apart = np.square(shape[:, None, :2] - landmarks[None, :, :2]).sum(axis=2)
    near = np.exp(-apart / (2 * _NEAR**2)) + 1e-12
    slope = np.asarray((near / near.sum(axis=1, keepdims=True)) @ moving)
    # Themselves, not their neighbourhood: of a shut eye both lids lie at one place.
    slope[MESH_OF_LANDMARK if len(shape) == MESH_POINTS else slice(None)] = moving
    return slope
