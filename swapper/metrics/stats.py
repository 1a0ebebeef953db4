"""Significance tests between models, clustered by pairs of performer and identity.

Frames of a clip are correlated, and so are clips of the same performer on the same identity. A test
that treated them as independent would find most pairs of equal models different (75 % of them, by
frames). So each clip gives one figure, the clips of a pair are averaged, and pairs are the sampling
units. Tests over frames are not offered.
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
"""Pairs from which a one-sided one can: 1 / 2^5 = 0.03."""
_EXACT_UP_TO: Final = 13
"""Pairs up to which all 2^n signs are enumerated; they are fewer than ten thousand."""
_DIGITS: Final = 10
"""Decimals to which differences are rounded, so that equal ones tie."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Test:
    """Result of a test.

    Attributes:
        p: p-value; NaN with too few clusters, for that `reason`.
        difference: Mean over clusters of the difference, with its interval.
    """

    __test__ = False  # not a pytest class

    p: float
    difference: Interval
    reason: str = ""


def cluster_means(values: Floats, clusters: Sequence[Hashable]) -> Floats:
    """Average the clips of each cluster, in order of first appearance.

    Args:
        values: (clips,), NaN where undetermined.
        clusters: (clips,) cluster of each clip, such as (performer, identity).

    Returns:
        (clusters that have a value,).

    Raises:
        ValueError: The numbers of clips and clusters differ.
    """
    if values.ndim != 1 or len(values) != len(clusters):
        raise ValueError(f"{values.shape} clips need as many clusters, got {len(clusters)}")
    by_cluster: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values.tolist(), clusters, strict=True):
        if np.isfinite(value):
            by_cluster.setdefault(cluster, []).append(value)
    return np.array([np.mean(each) for each in by_cluster.values()], dtype=np.float64)


def interval(
    values: Floats,
    clusters: Sequence[Hashable],
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Mean over clusters with its BCa bootstrap interval (Efron, 1987).

    For one model, with clusters as sampling units; for seeds × clips see `bootstrap.bootstrap`.

    Args:
        values: (clips,), NaN where undetermined.
        clusters: (clips,) cluster of each clip.
        level: Confidence level, in (0, 1).
        resamples: How many.
        seed: Of the resampling.

    Returns:
        Ends are NaN with fewer than two clusters. `cells` counts clusters.

    Raises:
        ValueError: The numbers of clips and clusters differ, or `level` is not in (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    means = cluster_means(values, clusters)
    count = len(means)
    mean = float(means.mean()) if count else float("nan")
    if count < MIN_FOR_INTERVAL:
        return Interval(mean, np.nan, np.nan, count)
    if np.ptp(means) < 10.0**-_DIGITS:
        return Interval(mean, mean, mean, count)
    bootstrapped = stats.bootstrap(
        (means,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(bootstrapped.low), float(bootstrapped.high), count)


def paired_difference(
    values: Floats, base: Floats, clusters: Sequence[Hashable], **settings: Any
) -> Test:
    """Test whether two models differ: paired Wilcoxon signed-rank test over clusters.

    Both have (clips,) values, of which those with a NaN in either are dropped. Clusters and
    settings are those of `interval`.

    Raises:
        ValueError: The numbers of clips differ.
    """
    differences = _differences(values, base)
    means = cluster_means(differences, clusters)
    difference = interval(differences, clusters, **settings)
    if len(means) < MIN_FOR_DIFFERENCE:
        return Test(float("nan"), difference, _insufficient(len(means), MIN_FOR_DIFFERENCE))
    return Test(_signed_rank(means, "two-sided"), difference)


def equivalence(
    values: Floats, ceiling: Floats, clusters: Sequence[Hashable], margin: float, **settings: Any
) -> Test:
    """Test whether a model is equivalent to its ceiling within a margin: two one-sided tests.

    The null hypothesis is a difference of at least `margin`, which is above 0 and fixed in advance;
    a small p rejects it in both directions (TOST, Schuirmann, 1987). The one-sided tests are
    signed-rank tests over clusters, as in `paired_difference`.

    Raises:
        ValueError: The numbers of clips differ, or the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"margin must be above 0, got {margin}")
    differences = _differences(values, ceiling)
    means = cluster_means(differences, clusters)
    difference = interval(differences, clusters, **settings)
    if len(means) < MIN_FOR_EQUIVALENCE:
        return Test(float("nan"), difference, _insufficient(len(means), MIN_FOR_EQUIVALENCE))
    above = _signed_rank(means + margin, "greater")
    below = _signed_rank(means - margin, "less")
    return Test(max(above, below), difference)


def holm(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values of several tests by Holm's method, which bounds the family-wise error.

    Args:
        probabilities: By metric; NaN where no test was made, which does not affect the others.

    Returns:
        By metric in the same order; at most 1 (Holm, 1979).
    """
    ordered = sorted((p, name) for name, p in probabilities.items() if np.isfinite(p))
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (p, name) in enumerate(ordered):
        highest = max(highest, min(1.0, p * (len(ordered) - rank)))
        adjusted[name] = highest
    return {name: adjusted.get(name, float("nan")) for name in probabilities}


def _differences(values: Floats, base: Floats) -> Floats:
    if values.shape != base.shape:
        raise ValueError(f"{values.shape} and {base.shape} must be of the same clips")
    return values - base


def _signed_rank(differences: Floats, alternative: str) -> float:
    """p-value of a signed-rank test; exact up to `_EXACT_UP_TO` pairs, with or without ties."""
    rounded = np.round(differences, _DIGITS)
    if not rounded.any():
        return 1.0
    exact = len(rounded) <= _EXACT_UP_TO
    method = stats.PermutationMethod(n_resamples=2**_EXACT_UP_TO) if exact else "auto"
    result = stats.wilcoxon(rounded, alternative=alternative, zero_method="zsplit", method=method)
    return float(result.pvalue)


def _insufficient(clusters: int, needed: int) -> str:
    return f"{clusters} pairs of performer and identity are too few: {needed} are needed"
