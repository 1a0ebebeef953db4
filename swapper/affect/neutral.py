"""Estimate a person's neutral face by one definition for all: lips closed, brows down, eyes open.

Codes, pseudo-targets and evaluation measure expression as the deviation from it. It is estimated on
frontalised shapes, so that head pose is not expression: candidates have closed lips, open eyes,
level brows and a mouth about as wide as at rest; of those the mode of the footage is taken, with
the brows rather low than raised. Somebody who talks all the time has a few such faces between two
words; where there are none, the missing part is extrapolated from the nearest faces, by its
regression on the other people of the run.
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
# Standard deviation of each signal about its value at rest, in the order of `SIGNALS`.
_TOLERANCE: Final = np.array([0.02, 0.05, 0.03, 0.025, 0.025, 0.03, 0.03, 0.035])
_WIDTH_TOLERANCE: Final = 0.08
_UNEVEN_TOLERANCE: Final = 0.03
_LOW_BROWS: Final = 0.35
_OPEN_LIDS: Final = 0.8
# Minimum effective number of faces that a neutral averages: with 8, random quarters of acted clips
# gave neutrals .025 apart, as each settled on another expression.
_MIN_FACES: Final = 24.0
_MIN_SHARE: Final = 0.02
_WIDER: Final = 1.3
_WIDEST: Final = 3.0
_ROUNDS: Final = 5
_BLOCKS: Final = 8
_MIN_SPREAD: Final = 0.02
_MIN_READ: Final = 20
_SHARE_READ: Final = 0.05
_MIN_WEIGHT: Final = 1e-12
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
    """One person's neutral face.

    Attributes:
        shape: (P, 3) frontalised points, see `Shapes`.
        weights: (N,) weight of each face; they sum to 1.
        uncertainty: Standard error of the points in eye distances, by a jackknife over eight parts
            of the footage. Four real clips: .006 to .024.
        missing: What the footage never shows, such as "closed lips"; that part is extrapolated.
    """

    shape: Floats
    weights: Floats
    uncertainty: float
    missing: tuple[str, ...] = ()

    @property
    def signals(self) -> Floats:
        """(8,) `SIGNALS` at rest."""
        return np.asarray(signals(landmarks_of(self.shape)[None])[0])

    def describe(self) -> str:
        """Return one line for the log."""
        words = f"neutral has a standard error of {self.uncertainty:.3f} eye distances"
        if not self.missing:
            return words
        lacking = " or ".join(self.missing)
        return f"{words}; the footage never shows {lacking}, so that is extrapolated"


def find_neutrals(shapes: Mapping[str, Shapes]) -> dict[str, Neutral]:
    """Estimate neutrals jointly, from each person's shapes in the order of the footage."""
    own = {name: _own_neutral(each) for name, each in shapes.items()}
    return {
        name: _completed(name, neutral, shapes, own) if neutral.missing else neutral
        for name, neutral in own.items()
    }


def neutral_embedding(readings: Readings, rest: Floats) -> NDArray[np.float32]:
    """Neutral embedding (D,): the median over the 5 % most neutral faces, 20 faces at least.

    Of the N >= 1 faces of one person; `rest` is (N,), see `Neutral.weights`.
    """
    count = min(len(readings), max(_MIN_READ, round(_SHARE_READ * len(readings))))
    middle = np.median(readings.embedding[most_at_rest(readings, rest)[:count]], axis=0)
    return np.asarray(middle, np.float32)


def most_at_rest(readings: Readings, rest: Floats) -> NDArray[np.int64]:
    """Rank faces from most to least neutral, by shape and, where available, calmness."""
    return np.argsort(-(rest + _MIN_WEIGHT) * calmness(readings), kind="stable")


def calmness(readings: Readings) -> Floats:
    """(N,) p(neutral) · exp(-|arousal|), a factor is 1 where the estimator lacks it."""
    calm = np.ones(len(readings))
    if readings.probabilities is not None and "neutral" in readings.labels:
        calm *= readings.probabilities[:, readings.labels.index("neutral")]
    if readings.arousal is not None:
        calm *= np.exp(-np.abs(readings.arousal))
    return calm


def _own_neutral(shapes: Shapes) -> Neutral:
    """Estimate from one person's own faces."""
    observed = signals(shapes.landmarks)
    weights = _rest_weights(observed)
    return Neutral(
        shape=_mean(shapes.front, weights),
        weights=weights,
        uncertainty=_uncertainty(shapes.front, observed),
        missing=_missing(observed, weights),
    )


def _rest_weights(observed: Floats) -> Floats:
    """(N,) weight of each face as neutral, from its signals (N, 8)."""
    closed = np.minimum(np.quantile(observed[:, OPENING], 0.02), _CLOSED)
    lids = np.quantile(observed[:, _LIDS], _OPEN_LIDS, axis=0)
    fixed = np.square((observed[:, OPENING] - closed).clip(0) / _TOLERANCE[OPENING])
    fixed += np.square((observed[:, _LIDS] - lids) / _TOLERANCE[_LIDS]).mean(axis=1)
    fixed += np.square((observed[:, WIDTH] - _WIDTH_AT_REST) / _WIDTH_TOLERANCE)
    fixed += np.square((observed[:, _BROWS[0]] - observed[:, _BROWS[1]]) / _UNEVEN_TOLERANCE)
    enough = min(max(_MIN_FACES, _MIN_SHARE * len(observed)), len(observed) / 3)
    width = 1.0
    while True:
        weights = _mean_shift(observed, np.exp(-fixed / (2 * width**2)), width)
        if 1 / np.square(weights).sum() >= enough or width > _WIDEST:
            return weights
        width *= _WIDER


def _mean_shift(observed: Floats, weights: Floats, width: float) -> Floats:
    """Concentrate weights on the mode of the signals by mean shift."""
    first = weights = _normalised(weights)
    own = [column for column in range(observed.shape[1]) if column not in (OPENING, *_LIDS)]
    for _ in range(_ROUNDS):
        middle = np.array([_quantile(observed[:, each], weights, 0.5) for each in own])
        for column in _BROWS:
            middle[own.index(column)] = _quantile(observed[:, column], weights, _LOW_BROWS)
        distance = (observed[:, own] - middle) / (_TOLERANCE[own] * width)
        weights = _normalised(first * np.exp(-np.square(distance).sum(axis=1) / 2))
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


def _uncertainty(points: Floats, observed: Floats) -> float:
    """Jackknife standard error of the neutral over parts of the footage, root mean square.

    The neutral is estimated again without each part; one that rests on a single part is uncertain.
    """
    parts = [each for each in np.array_split(np.arange(len(points)), _BLOCKS) if len(each)]
    if len(parts) < 2:
        return float("inf")
    rests = []
    for part in parts:
        weights = np.zeros(len(points))
        left = np.delete(np.arange(len(points)), part)
        weights[left] = _rest_weights(observed[left])
        rests.append(_mean(points[..., :2], weights))
    deviation = np.array(rests) - np.mean(rests, axis=0)
    variance = np.square(deviation).sum(axis=(0, 2)).mean() * (len(rests) - 1) / len(rests)
    return float(np.sqrt(variance))


def _missing(observed: Floats, weights: Floats) -> tuple[str, ...]:
    missing = []
    if weights @ observed[:, OPENING] > 2 * _CLOSED:
        missing.append("closed lips")
    if np.quantile(observed[:, _LIDS].mean(axis=1), 0.95) < _SHUT:
        missing.append("open eyes")
    return tuple(missing)


def _completed(
    name: str, neutral: Neutral, shapes: Mapping[str, Shapes], neutrals: Mapping[str, Neutral]
) -> Neutral:
    """Extrapolate the missing parts of a neutral by the slopes of other people."""
    shape = neutral.shape.copy()
    for words, columns in _NEEDED.items():
        if words not in neutral.missing:
            continue
        references = [
            each for each in neutrals if each != name and words not in neutrals[each].missing
        ]
        slopes = [_slope(shapes[each], neutrals[each], columns) for each in references]
        usable = [slope for slope in slopes if slope is not None]
        levels = [neutrals[each].signals[columns].mean() for each in references]
        level = float(np.mean(levels)) if levels else _MEAN_LEVELS[columns].mean()
        slope = np.mean(usable, axis=0) if usable else _mean_slope(shape, words)
        shape -= (neutral.signals[columns].mean() - level) * slope
    return replace(neutral, shape=shape)


def _slope(shapes: Shapes, neutral: Neutral, columns: list[int]) -> Floats | None:
    """(P, 3) regression of a person's points on some signals; None if these hardly vary."""
    moved = (signals(shapes.landmarks) - neutral.signals)[:, columns].mean(axis=1)
    if moved.std() < _MIN_SPREAD:
        return None
    return _mean(shapes.front - neutral.shape, moved / np.square(moved).sum())


def _mean_slope(shape: Floats, words: str) -> Floats:
    """(P, 3) the same for an average face: only the lower lip and chin, or the lids, move."""
    landmarks = landmarks_of(shape)
    moving = np.zeros((len(landmarks), 3))
    for points, amount in _MOVES[words]:
        moving[points, 1] = amount
    distance = np.square(shape[:, None, :2] - landmarks[None, :, :2]).sum(axis=2)
    near = np.exp(-distance / (2 * _NEAR**2)) + 1e-12
    slope = np.asarray((near / near.sum(axis=1, keepdims=True)) @ moving)
    # Landmarks take their exact value: the lids of a shut eye lie at one place.
    slope[MESH_OF_LANDMARK if len(shape) == MESH_POINTS else slice(None)] = moving
    return slope
