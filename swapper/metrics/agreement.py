"""Agreement of an emotion estimator on swap and performer.

Agreement of labels is coarse: a damped smile is classified as neutral and counts as wrong, and so
does a shuffled one. `swapper.metrics.diagnosis` distinguishes them by how the probabilities move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

_MIN_FRAMES: Final = 5
_SUM_TOLERANCE: Final = 0.02

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EmotionAgreement:
    """Frame-wise agreement of emotion probabilities; NaN with too few frames.

    Attributes:
        accuracy: Share of frames with equal argmax.
        kappa: Cohen's κ of the argmax: 0 is chance, 1 is perfect. NaN if both have one class
            throughout, where chance is perfect too.
        emotional_kappa: κ over frames in which the performer is not neutral.
        divergence: Mean Jensen-Shannon divergence in bits, 0 (equal) to 1 (disjoint).
        frames, emotional_frames: Number of frames compared.
    """

    accuracy: float
    kappa: float
    emotional_kappa: float
    divergence: float
    frames: int
    emotional_frames: int


def emotion_agreement(
    swap: Floats, performer: Floats, neutral: int | None = None
) -> EmotionAgreement:
    """Compare the emotion probabilities of swap and performer.

    Args:
        swap: (T, C) class probabilities, rows sum to 1, NaN without a face.
        performer: The same of the performer.
        neutral: Column of the neutral class; None if there is none.

    Raises:
        ValueError: The shapes differ, a row is not a distribution, or `neutral` is out of range.
    """
    if swap.shape != performer.shape or swap.ndim != 2 or swap.shape[1] < 2:
        raise ValueError(f"probabilities {swap.shape} and {performer.shape} must both be (T, C)")
    if neutral is not None and not 0 <= neutral < swap.shape[1]:
        raise ValueError(f"neutral must be a column of {swap.shape[1]}, got {neutral}")
    both_finite = np.isfinite(swap).all(axis=1) & np.isfinite(performer).all(axis=1)
    ours, theirs = _normalised(swap[both_finite]), _normalised(performer[both_finite])
    frames = len(ours)
    if frames < _MIN_FRAMES:
        return EmotionAgreement(np.nan, np.nan, np.nan, np.nan, frames, 0)
    swap_labels, performer_labels = ours.argmax(axis=1), theirs.argmax(axis=1)
    emotional = np.ones(frames, bool) if neutral is None else performer_labels != neutral
    classes = swap.shape[1]
    return EmotionAgreement(
        accuracy=float((swap_labels == performer_labels).mean()),
        kappa=cohens_kappa(swap_labels, performer_labels, classes),
        emotional_kappa=cohens_kappa(swap_labels[emotional], performer_labels[emotional], classes),
        divergence=float(jensen_shannon(ours, theirs).mean()),
        frames=frames,
        emotional_frames=int(emotional.sum()),
    )


def cohens_kappa(first: NDArray[np.intp], second: NDArray[np.intp], classes: int) -> float:
    """Agreement of two label sequences (T,) beyond chance (Cohen, 1960).

    Returns:
        At most 1; NaN with fewer than five frames, or where chance agreement is 1.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"labels {first.shape} and {second.shape} must both be (T,)")
    if len(first) < _MIN_FRAMES:
        return float("nan")
    shares = [np.bincount(each, minlength=classes) / len(each) for each in (first, second)]
    chance = float(shares[0] @ shares[1])
    if chance > 1 - 1e-9:
        return float("nan")
    return float(((first == second).mean() - chance) / (1 - chance))


def jensen_shannon(swap: Floats, performer: Floats) -> Floats:
    """(T,) Jensen-Shannon divergence of rows of (T, C), in bits: 0 to 1 (Lin, 1991)."""
    middle = (swap + performer) / 2
    nats = (rel_entr(swap, middle) + rel_entr(performer, middle)).sum(axis=1) / 2
    return np.asarray(np.clip(nats / np.log(2.0), 0.0, 1.0))


def concordance(swap: Floats, performer: Floats) -> float:
    """Concordance correlation of two traces (T,), as of valence or arousal (Lin, 1989).

    Unlike correlation it penalises a wrong gain or offset, though weakly: a gain of 0.6 alone still
    gives 0.88. Report it only together with `traces.gain_and_correlation`.

    Returns:
        In [-1, 1]; NaN with fewer than five frames with both faces (a trace is NaN without one), or
        if both are constant at the same value.

    Raises:
        ValueError: The shapes differ.
    """
    if swap.shape != performer.shape or swap.ndim != 1:
        raise ValueError(f"traces {swap.shape} and {performer.shape} must both be (T,)")
    both_finite = np.isfinite(swap) & np.isfinite(performer)
    y, x = swap[both_finite], performer[both_finite]
    if len(x) < _MIN_FRAMES:
        return float("nan")
    below = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    if below < 1e-12:
        return float("nan")
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / below)


def _normalised(rows: Floats) -> Floats:
    """Rows scaled to sum to 1; raises ValueError if they are not distributions."""
    if len(rows) and (rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > _SUM_TOLERANCE):
        raise ValueError("class probabilities must be 0 or more and sum to 1 in every frame")
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
