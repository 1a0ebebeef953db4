"""Whether a reader of feelings says the same of a swap as of the performer.

Agreement in names is blunt: a damped smile is read as neutral and counts as plain wrong, and so
does a shuffled one. `swapper.metrics.diagnosis` tells those apart by how the probabilities move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MIN_FRAMES: Final = 5
_SUM_TOLERANCE: Final = 0.02

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EmotionAgreement:
    """How far two readings of emotions agree, frame by frame; NaN where too few can be compared.

    Attributes:
        accuracy: Share of frames in which the strongest emotion is the same.
        kappa: Cohen's κ of the same: 0 is what chance gives, 1 is perfect. NaN where both sides
            show one emotion throughout, for then chance would be perfect too.
        felt_kappa: κ over frames in which the performer is not neutral.
        divergence: Mean Jensen-Shannon divergence in bits, 0 (equal) to 1 (nothing shared).
        frames, felt_frames: How many went in.
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
    """Compare what was read of two faces.

    Args:
        swap: (T, C) class probabilities, rows that sum to 1, NaN where there was no face.
        performer: The same of the performer.
        neutral: Which column is neutral; None if the reader has none.

    Raises:
        ValueError: The shapes differ, a row is no distribution, or `neutral` is no column.
    """
    _check(swap, performer)
    if neutral is not None and not 0 <= neutral < swap.shape[1]:
        raise ValueError(f"neutral must be a column of {swap.shape[1]}, got {neutral}")
    known = np.isfinite(swap).all(axis=1) & np.isfinite(performer).all(axis=1)
    ours, theirs = _normalised(swap[known]), _normalised(performer[known])
    frames = len(ours)
    if frames < _MIN_FRAMES:
        return EmotionAgreement(np.nan, np.nan, np.nan, np.nan, frames, 0)
    said, shown = ours.argmax(axis=1), theirs.argmax(axis=1)
    felt = np.ones(frames, bool) if neutral is None else shown != neutral
    classes = swap.shape[1]
    return EmotionAgreement(
        accuracy=float((said == shown).mean()),
        kappa=cohens_kappa(said, shown, classes),
        emotional_kappa=cohens_kappa(said[felt], shown[felt], classes),
        divergence=float(jensen_shannon(ours, theirs).mean()),
        frames=frames,
        emotional_frames=int(felt.sum()),
    )


def cohens_kappa(said: NDArray[np.intp], shown: NDArray[np.intp], classes: int) -> float:
    """Agreement of two namings (T,) beyond chance (Cohen, 1960).

    Returns:
        At most 1; NaN with fewer than five frames, or where chance alone would agree throughout.
    """
    if said.shape != shown.shape or said.ndim != 1:
        raise ValueError(f"namings {said.shape} and {shown.shape} must both be (T,)")
    if len(said) < _MIN_FRAMES:
        return float("nan")
    shares = [np.bincount(each, minlength=classes) / len(each) for each in (said, shown)]
    chance = float(shares[0] @ shares[1])
    if chance > 1 - 1e-9:
        return float("nan")
    return float(((said == shown).mean() - chance) / (1 - chance))


def jensen_shannon(swap: Floats, performer: Floats) -> Floats:
    """(T,) Jensen-Shannon divergence of rows of (T, C), in bits: 0 to 1 (Lin, 1991)."""
    middle = (swap + performer) / 2
    bits = (_kl_divergence(swap, middle) + _kl_divergence(performer, middle)) / 2
    held: Floats = np.clip(bits, 0.0, 1.0)
    return held


def concordance(swap: Floats, performer: Floats) -> float:
    """Concordance correlation of two traces (T,), as of valence or arousal (Lin, 1989).

    Unlike a correlation it falls with a wrong gain or offset, though slowly: a gain of 0.6 alone
    still gives 0.88. Never to be told without `traces.gain_and_correlation`.

    Args:
        swap: NaN where there was no face.
        performer: The same.

    Returns:
        In [-1, 1]; NaN with fewer than five frames or where both stand still at one value.

    Raises:
        ValueError: The shapes differ.
    """
    if swap.shape != performer.shape or swap.ndim != 1:
        raise ValueError(f"traces {swap.shape} and {performer.shape} must both be (T,)")
    known = np.isfinite(swap) & np.isfinite(performer)
    y, x = swap[known], performer[known]
    if len(x) < _MIN_FRAMES:
        return float("nan")
    below = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    if below < 1e-12:
        return float("nan")
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / below)


def _kl_divergence(of: Floats, to: Floats) -> Floats:
    """(T,) Kullback-Leibler divergence in bits; what has no weight adds none."""
    ratio = np.divide(of, to, out=np.ones_like(of), where=(of > 0) & (to > 0))
    bits: Floats = (of * np.log2(ratio)).sum(axis=1)
    return bits


def _normalised(rows: Floats) -> Floats:
    """Rows that sum to 1 exactly."""
    if len(rows) and (rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > _SUM_TOLERANCE):
        raise ValueError("class probabilities must be 0 or more and sum to 1 in every frame")
    scaled: Floats = rows / rows.sum(axis=1, keepdims=True)
    return scaled


def _check(swap: Floats, performer: Floats) -> None:
    if swap.shape != performer.shape or swap.ndim != 2 or swap.shape[1] < 2:
        raise ValueError(f"probabilities {swap.shape} and {performer.shape} must both be (T, C)")
