"""Preferences from pairwise choices: Bradley-Terry strengths, win rates and their intervals.

A choice counts 1 for the chosen system; "cannot tell" counts half for each. Participants are the
sampling units: answers of one person are correlated, so intervals resample people, not answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from swapper.metrics.bootstrap import Interval, resample_counts

PRIOR: Final = 0.5
"""Pseudo-count of wins and of losses of each system against all others together: keeps a system
that won all, or none, finite."""
_TOLERANCE: Final = 1e-7
_STEPS: Final = 20_000

Floats = NDArray[np.float64]


def strengths(wins: Floats, prior: float = PRIOR) -> Floats:
    """Bradley-Terry strengths as log-odds, of mean 0.

    The probability that i is chosen over j is 1 / (1 + exp(s_j - s_i)). Fitted by the MM algorithm
    of Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 2004.

    Args:
        wins: (..., K, K), how often the row was chosen over the column; the diagonal is ignored.
        prior: Pseudo-count of wins and losses of each system, split among its rivals; above 0.

    Returns:
        (..., K) float64, finite.

    Raises:
        ValueError: K is below 2, or a value is not as described, negative or infinite.
    """
    if wins.ndim < 2 or wins.shape[-1] != wins.shape[-2] or wins.shape[-1] < 2:
        raise ValueError(f"wins must be (..., K, K) with K at least 2, got {wins.shape}")
    if not (prior > 0 and np.isfinite(wins).all() and (wins >= 0).all()):
        raise ValueError("wins must be finite and not negative, and prior above 0")
    count = wins.shape[-1]
    off_diagonal = 1.0 - np.eye(count)
    won = (wins + prior / (count - 1)) * off_diagonal
    met = won + np.swapaxes(won, -1, -2)
    total = won.sum(axis=-1)
    log = np.zeros(total.shape)
    for _ in range(_STEPS):
        power = np.exp(log)
        expected = (met / (power[..., :, None] + power[..., None, :])).sum(axis=-1)
        new = np.log(total / expected)
        new -= new.mean(axis=-1, keepdims=True)
        change = float(np.abs(new - log).max(initial=0.0))
        log = new
        if change < _TOLERANCE:
            break
    return log


def strength_intervals(
    wins: Floats, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> list[Interval]:
    """Strengths with intervals, by bootstrap over participants.

    The percentiles are widened for few participants, by the ratio of Student's t to the normal
    (expanded percentile interval of Hesterberg, "What teachers should know about the bootstrap",
    American Statistician 2015).

    Args:
        wins: (participants, K, K), how often each chose the row over the column.
        level: Confidence level.
        resamples: Number of resamples.
        seed: Of the resampling.

    Returns:
        One per system, `mean` its strength; ends are NaN with a single participant. `cells` counts
        the participants.

    Raises:
        ValueError: `wins` is not 3-D or empty, or `level` is not in (0, 1).
    """
    if wins.ndim != 3 or not len(wins) or not 0 < level < 1:
        raise ValueError(f"wins must be (participants, K, K), level in (0, 1), got {wins.shape}")
    people = len(wins)
    best = strengths(wins.sum(axis=0))
    if people < 2:
        return [Interval(float(each), np.nan, np.nan, people) for each in best]
    counts = resample_counts(np.random.default_rng(seed), people, resamples)
    drawn = strengths(np.tensordot(counts, wins, axes=1))
    tail = float(
        stats.norm.cdf(-np.sqrt(people / (people - 1)) * stats.t.ppf((1 + level) / 2, people - 1))
    )
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return [
        Interval(float(mean), float(down), float(up), people)
        for mean, down, up in zip(best, low, high, strict=True)
    ]


@dataclass(frozen=True)
class WinRate:
    """Win rate of one system over another.

    Attributes:
        share: Of the answers, 0 to 1, "cannot tell" counting half; NaN without answers.
        low, high: Ends of its interval.
        answers, participants: How many answers, of how many people.
    """

    share: float
    low: float
    high: float
    answers: int
    participants: int


def win_rate(won: Floats, met: Floats, level: float = 0.95) -> WinRate:
    """Win rate with Wilson's interval, on the effective number of answers.

    Answers of one participant are not independent: their number is divided by the design effect,
    estimated from the spread between participants, down to one per participant at the least. If all
    answers agree, the spread is 0 and each participant counts once, since unanimity of few is weak
    evidence.

    Args:
        won: (participants,) how often each chose the first; halves for "cannot tell".
        met: (participants,) how often each answered.
        level: Confidence level.

    Raises:
        ValueError: Shapes differ, `won` exceeds `met`, or `level` is not in (0, 1).
    """
    if won.shape != met.shape or won.ndim != 1 or not 0 < level < 1:
        raise ValueError(f"{won.shape} and {met.shape} must be one axis of the same participants")
    if not ((won >= 0) & (won <= met) & np.isfinite(met)).all():
        raise ValueError("won must lie between 0 and met")
    answered = met > 0
    won, met = won[answered], met[answered]
    people, total = len(met), float(met.sum())
    if not people:
        return WinRate(np.nan, np.nan, np.nan, 0, 0)
    share = float(won.sum() / total)
    effective = float(people)
    binomial = share * (1 - share) / total
    if binomial > 0 and people > 1:
        spread = people / (people - 1) * float(((won - share * met) ** 2).sum()) / total**2
        effective = float(np.clip(total * binomial / max(spread, 1e-12), people, total))
    low, high = _wilson(share, effective, level)
    return WinRate(share, low, high, round(total), people)


def _wilson(share: float, answers: float, level: float) -> tuple[float, float]:
    """Wilson, "Probable inference", Journal of the American Statistical Association 1927."""
    z = float(stats.norm.ppf((1 + level) / 2))
    scale = 1 + z * z / answers
    middle = (share + z * z / (2 * answers)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / answers + z * z / (4 * answers**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
