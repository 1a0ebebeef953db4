"""Whether a difference between models is real: tests over clips of pairs of people.

Frames of a clip resemble each other, and so do clips of the same performer on the same identity. A
test that took each for a new witness would call most pairs of equal models different (75 % of them,
by frames). So a clip gives one figure, the clips of a pair are averaged, and pairs are what is
counted. Tests over frames are not offered.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from swapper.metrics.bootstrap import Interval

MIN_FOR_INTERVAL: Final = 2
MIN_FOR_DIFFERENCE: Final = 6
"""Pairs from which a signed-rank test can reach 0.05 on two sides: 2 / 2^6 = 0.03."""
MIN_FOR_EQUIVALENCE: Final = 5
"""Pairs from which it can on one side: 1 / 2^5 = 0.03."""
_EXACT_UP_TO: Final = 13
"""Pairs up to which all 2^n signs are tried; they are fewer than ten thousand."""
_DIGITS: Final = 10
"""Differences are rounded to so many, so that equal ones tie."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Test:
    """What a test came to.

    Attributes:
        p: Probability of at least this under the hypothesis that it tries to refute; NaN if it
            could not be told.
        difference: Mean over clusters of the difference, with its interval.
        reason: Why p is NaN; else empty.
    """

    __test__ = False  # pytest takes what is called so for one of its own

    p: float
    difference: Interval
    reason: str = ""


def cluster_means(values: Floats, clusters: Sequence[Hashable]) -> Floats:
    """One figure a cluster, in the order in which the clusters first appear.

    Args:
        values: (clips,), NaN where a clip could not tell.
        clusters: (clips,) whom each clip is of, as (performer, identity).

    Returns:
        (clusters that have a value,).

    Raises:
        ValueError: As many clusters as clips are needed.
    """
    if values.ndim != 1 or len(values) != len(clusters):
        raise ValueError(f"{values.shape} clips need as many clusters, got {len(clusters)}")
    held: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values.tolist(), clusters, strict=True):
        if np.isfinite(value):
            held.setdefault(cluster, []).append(value)
    return np.array([np.mean(each) for each in held.values()], dtype=np.float64)


def interval(
    values: Floats,
    clusters: Sequence[Hashable],
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Mean over clusters with its BCa bootstrap interval (Efron, 1987).

    `intervals.bootstrap` is for seeds × clips, both of which are drawn; here is one model, and its
    clusters are what other films would differ in.

    Args:
        values: (clips,), NaN where a clip could not tell.
        clusters: (clips,) whom each is of.
        level: Share of such intervals that hold the truth.
        draws: How many resamples.
        seed: Of the resampling.

    Returns:
        Ends are NaN with fewer than two clusters. `cells` counts clusters.

    Raises:
        ValueError: As many clusters as clips are needed, or the level is none.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    means = cluster_means(values, clusters)
    many = len(means)
    mean = float(means.mean()) if many else float("nan")
    if many < MIN_FOR_INTERVAL:
        return Interval(mean, np.nan, np.nan, many)
    if np.ptp(means) < 10.0**-_DIGITS:
        return Interval(mean, mean, mean, many)
    found = stats.bootstrap(
        (means,),
        np.mean,
        n_resamples=draws,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), many)


def paired_difference(
    values: Floats, base: Floats, clusters: Sequence[Hashable], **settings: Any
) -> Test:
    """Whether two models differ on the same clips: paired Wilcoxon signed-rank over clusters.

    Args:
        values: (clips,) of one model.
        base: (clips,) of the other; a clip counts where both have a figure.
        clusters: (clips,) whom each is of.
        **settings: Of `interval`.

    Raises:
        ValueError: The three tell of different numbers of clips.
    """
    apart = _differences(values, base)
    means = cluster_means(apart, clusters)
    told = interval(apart, clusters, **settings)
    if len(means) < MIN_FOR_DIFFERENCE:
        return Test(float("nan"), told, _insufficient(len(means), MIN_FOR_DIFFERENCE))
    return Test(_signed_rank(means, "two-sided"), told)


def equivalence(
    values: Floats,
    ceiling: Floats,
    clusters: Sequence[Hashable],
    margin: float,
    **settings: Any,
) -> Test:
    """Whether a model is as good as its ceiling to within a margin: two one-sided tests.

    Not to find a difference is not to find that there is none: here the burden is the other way
    round, and a small p says that the two differ by less than `margin`, either way (Schuirmann,
    1987). The one-sided tests are signed-rank tests over clusters, as in `paired_difference`.

    Args:
        values: (clips,) of the model.
        ceiling: (clips,) of the best that could be had on the same clips.
        clusters: (clips,) whom each is of.
        margin: Above 0, stated before looking.
        **settings: Of `interval`.

    Raises:
        ValueError: The three tell of different numbers of clips, or the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"margin must be above 0, got {margin}")
    apart = _differences(values, ceiling)
    means = cluster_means(apart, clusters)
    told = interval(apart, clusters, **settings)
    if len(means) < MIN_FOR_EQUIVALENCE:
        return Test(float("nan"), told, _insufficient(len(means), MIN_FOR_EQUIVALENCE))
    above = _signed_rank(means + margin, "greater")
    below = _signed_rank(means - margin, "less")
    return Test(max(above, below), told)


def holm(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Probabilities of several tests, raised so that one in twenty holds for all together.

    Args:
        probabilities: By metric; NaN where a test was not made, which costs the others nothing.

    Returns:
        By metric in the same order; at most 1 (Holm, 1979).
    """
    told = sorted((p, name) for name, p in probabilities.items() if np.isfinite(p))
    raised: dict[str, float] = {}
    highest = 0.0
    for rank, (p, name) in enumerate(told):
        highest = max(highest, min(1.0, p * (len(told) - rank)))
        raised[name] = highest
    return {name: raised.get(name, float("nan")) for name in probabilities}


def _differences(values: Floats, base: Floats) -> Floats:
    if values.shape != base.shape:
        raise ValueError(f"{values.shape} and {base.shape} must be of the same clips")
    return values - base


def _signed_rank(differences: Floats, alternative: str) -> float:
    """Probability by a signed-rank test; exact where all signs can be tried, ties or not."""
    rounded = np.round(differences, _DIGITS)
    if not rounded.any():
        return 1.0
    exact = len(rounded) <= _EXACT_UP_TO
    method = stats.PermutationMethod(n_resamples=2**_EXACT_UP_TO) if exact else "auto"
    found = stats.wilcoxon(rounded, alternative=alternative, zero_method="zsplit", method=method)
    return float(found.pvalue)


def _insufficient(clusters: int, needed: int) -> str:
    return f"{clusters} pairs of performer and identity are too few: {needed} are needed"
