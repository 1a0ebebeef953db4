"""What people preferred: strengths from choices between two, and how sure they are.

A choice counts 1 for the system that was chosen; who cannot tell gives each half. Participants are
the units: answers of one person resemble each other, so intervals draw people, not answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from swapper.metrics.bootstrap import Interval, resample_counts

PRIOR: Final = 0.5
"""Wins, and as many losses, that every system is lent against the others together: one that won
all, or none, stays finite."""
_TOLERANCE: Final = 1e-7
_STEPS: Final = 20_000

Floats = NDArray[np.float64]


def strengths(wins: Floats, prior: float = PRIOR) -> Floats:
    """Bradley-Terry strengths as log-odds, of mean 0.

    The chance that i is chosen over j is 1 / (1 + exp(s_j - s_i)). Found by the MM algorithm of
    Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 2004.

    Args:
        wins: (..., K, K), how often the row was chosen over the column; the diagonal is not read.
        prior: Wins and losses lent to each system, shared out among its rivals; above 0.

    Returns:
        (..., K) float64, finite.

    Raises:
        ValueError: No square of two or more, negative or infinite wins, or no prior.
    """
    if wins.ndim < 2 or wins.shape[-1] != wins.shape[-2] or wins.shape[-1] < 2:
        raise ValueError(f"wins must be (..., K, K) with K at least 2, got {wins.shape}")
    if not (prior > 0 and np.isfinite(wins).all() and (wins >= 0).all()):
        raise ValueError("wins must be finite and not negative, and prior above 0")
    many = wins.shape[-1]
    apart = 1.0 - np.eye(many)
    won = (wins + prior / (many - 1)) * apart
    met = won + np.swapaxes(won, -1, -2)
    total = won.sum(axis=-1)
    log = np.zeros(total.shape)
    for _ in range(_STEPS):
        power = np.exp(log)
        expected = (met / (power[..., :, None] + power[..., None, :])).sum(axis=-1)
        new = np.log(total / expected)
        new -= new.mean(axis=-1, keepdims=True)
        moved = float(np.abs(new - log).max(initial=0.0))
        log = new
        if moved < _TOLERANCE:
            break
    return log


def strength_intervals(
    wins: Floats, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> list[Interval]:
    """The strength of each system with its interval, by bootstrap over participants.

    The percentiles are set wider for few participants, as far as Student's t is wider than the
    normal (the expanded percentile interval of Hesterberg, "What teachers should know about the
    bootstrap", American Statistician 2015).

    Args:
        wins: (participants, K, K), of each how often the row was chosen over the column.
        level: Share of studies like this one whose interval would hold the truth.
        draws: How many resamples.
        seed: Of the resampling.

    Returns:
        One for each system, `mean` its strength; ends are NaN with a single participant. `cells`
        counts the participants.

    Raises:
        ValueError: Not three axes, no participant, or a level that is none.
    """
    if wins.ndim != 3 or not len(wins) or not 0 < level < 1:
        raise ValueError(f"wins must be (participants, K, K), level in (0, 1), got {wins.shape}")
    people = len(wins)
    best = strengths(wins.sum(axis=0))
    if people < 2:
        return [Interval(float(each), np.nan, np.nan, people) for each in best]
    counts = resample_counts(np.random.default_rng(seed), people, draws)
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
    """How often one was chosen over another.

    Attributes:
        share: Of the answers, 0 to 1, "cannot tell" counting half; NaN if they never met.
        low, high: Ends of the interval.
        answers: How many.
        participants: Who gave them.
    """

    share: float
    low: float
    high: float
    answers: int
    participants: int


def win_rate(won: Floats, met: Floats, level: float = 0.95) -> WinRate:
    """A win rate with Wilson's interval, on as many answers as they are worth.

    Answers of one participant are not independent: their number is divided by the design effect
    that the spread between participants shows, down to one a participant at the least. Where all
    chose the same, no spread can show and one a participant is what counts: unanimity of few says
    little.

    Args:
        won: (participants,) how often each chose the first; halves for "cannot tell".
        met: (participants,) how often each was asked.
        level: Share of studies like this one whose interval would hold the truth.

    Raises:
        ValueError: Shapes differ, more won than met, or a level that is none.
    """
    if won.shape != met.shape or won.ndim != 1 or not 0 < level < 1:
        raise ValueError(f"{won.shape} and {met.shape} must be one axis of the same participants")
    if not ((won >= 0) & (won <= met) & np.isfinite(met)).all():
        raise ValueError("won must lie between 0 and met")
    asked = met > 0
    won, met = won[asked], met[asked]
    people, total = len(met), float(met.sum())
    if not people:
        return WinRate(np.nan, np.nan, np.nan, 0, 0)
    share = float(won.sum() / total)
    worth = float(people)
    binomial = share * (1 - share) / total
    if binomial > 0 and people > 1:
        spread = people / (people - 1) * float(((won - share * met) ** 2).sum()) / total**2
        worth = float(np.clip(total * binomial / max(spread, 1e-12), people, total))
    low, high = _wilson(share, worth, level)
    return WinRate(share, low, high, round(total), people)


def _wilson(share: float, many: float, level: float) -> tuple[float, float]:
    """Wilson, "Probable inference", Journal of the American Statistical Association 1927."""
    z = float(stats.norm.ppf((1 + level) / 2))
    middle = (share + z * z / (2 * many)) / (1 + z * z / many)
    half = z / (1 + z * z / many) * np.sqrt(share * (1 - share) / many + z * z / (4 * many**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
