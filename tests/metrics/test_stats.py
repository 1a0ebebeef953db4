from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from swapper.metrics.stats import (
    cluster_means,
    equivalence,
    holm,
    interval,
    paired_difference,
)

PAIRS = [f"pair{p}" for p in range(8) for _ in range(3)]


def clips(seed: int, shift: float = 0.0, pairs: int = 8, spread: float = 1.0) -> np.ndarray:
    """Three clips a pair; what pairs have of their own outweighs what clips have."""
    rng = np.random.default_rng([seed, 8])
    own = np.repeat(rng.normal(0, spread, pairs), 3)
    return own + rng.normal(0, 0.2, 3 * pairs) + shift


def test_clips_of_a_pair_are_one_figure() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, np.nan])
    means = cluster_means(values, [("a", "b"), ("a", "b"), ("a", "b"), ("b", "a"), ("c", "a")])
    np.testing.assert_array_equal(means, [2.0, 5.0])


def test_ten_copies_of_each_clip_make_nothing_surer() -> None:
    once = interval(clips(1), PAIRS)
    again = interval(np.repeat(clips(1), 10), list(np.repeat(PAIRS, 10)))
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=0.005)
    assert again.cells == 8
    base = clips(2)
    few, many = (
        paired_difference(np.repeat(clips(1), n), np.repeat(base, n), list(np.repeat(PAIRS, n))).p
        for n in (1, 10)
    )
    assert few == many


def test_the_interval_leans_as_its_figures_do() -> None:
    skewed = np.random.default_rng(3).exponential(1.0, 24)
    found = interval(skewed, list(range(24)))
    assert found.mean == pytest.approx(skewed.mean())
    assert found.high - found.mean > found.mean - found.low > 0
    assert interval(skewed, list(range(24))) == found


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for trial in range(200):
        found = interval(
            clips(trial, 1.0, pairs=20), np.repeat(range(20), 3).tolist(), resamples=500
        )
        hits += found.low <= 1.0 <= found.high
    assert 0.87 <= hits / 200 <= 0.99


def test_too_few_give_a_reason_and_no_number() -> None:
    one = interval(np.array([1.0, 2.0]), ["a", "a"])
    assert one.mean == 1.5
    assert math.isnan(one.low)
    five = paired_difference(clips(0)[:15], clips(1)[:15], PAIRS[:15])
    assert math.isnan(five.p)
    assert "5 pairs" in five.reason
    assert "6 are needed" in five.reason
    four = equivalence(clips(0)[:12], clips(0)[:12], PAIRS[:12], 0.1)
    assert math.isnan(four.p)
    assert "5 are needed" in four.reason
    none = paired_difference(np.full(3, np.nan), np.zeros(3), PAIRS[:3])
    assert math.isnan(none.difference.mean)


def test_a_real_difference_is_found_and_an_equal_model_is_not() -> None:
    real = paired_difference(clips(1, 0.5), clips(1), PAIRS)
    assert real.p == pytest.approx(2 / 2**8)
    assert real.reason == ""
    assert real.difference.mean == pytest.approx(0.5)
    assert paired_difference(clips(1), clips(1), PAIRS).p == 1.0


def test_equal_models_are_seldom_called_different() -> None:
    found = [paired_difference(clips(s), clips(s + 500), PAIRS).p < 0.05 for s in range(200)]
    assert np.mean(found) <= 0.08


def test_the_exact_test_is_what_trying_all_signs_gives() -> None:
    apart = np.array([0.3, -0.1, 0.2, 0.2, 0.5, 0.4, 0.0])
    ranks = np.array([5.0, 2.0, 3.5, 3.5, 7.0, 6.0, 1.0])
    signs = np.array(list(itertools.product([1, -1], repeat=7)))
    # A difference of 0 is half of it up and half of it down, whichever sign it draws.
    sums = np.where(apart == 0, ranks / 2, ranks * (signs > 0)).sum(axis=1)
    mine = ranks[0] + ranks[2:6].sum() + ranks[6] / 2
    middle = ranks.sum() / 2
    wanted = (np.abs(sums - middle) >= abs(mine - middle) - 1e-9).mean()
    found = paired_difference(apart, np.zeros(7), list(range(7)))
    assert found.p == pytest.approx(wanted, abs=1e-3)


def test_as_good_as_the_ceiling_has_to_be_shown() -> None:
    near = clips(4, -0.02), clips(4)
    assert equivalence(*near, PAIRS, margin=0.1).p < 0.05
    assert equivalence(*near, PAIRS, margin=0.01).p > 0.5
    # Two models that nobody can tell apart, for what there is: that is no equivalence.
    unsure = clips(5), clips(6)
    assert paired_difference(*unsure, PAIRS).p > 0.05
    assert equivalence(*unsure, PAIRS, margin=0.1).p > 0.05


def test_many_metrics_cost() -> None:
    raised = holm({"gain": 0.01, "correlation": 0.04, "lag": 0.03, "none": math.nan})
    assert raised["gain"] == pytest.approx(0.03)
    assert raised["lag"] == pytest.approx(0.06)
    assert raised["correlation"] == pytest.approx(0.06)
    assert math.isnan(raised["none"])
    assert list(raised) == ["gain", "correlation", "lag", "none"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_arguments_must_fit() -> None:
    with pytest.raises(ValueError, match="as many clusters"):
        interval(np.zeros(3), ["a"])
    with pytest.raises(ValueError, match="level"):
        interval(np.zeros(1), ["a"], level=1.0)
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(np.zeros(3), np.zeros(2), ["a"] * 3)
    with pytest.raises(ValueError, match="margin"):
        equivalence(np.zeros(1), np.zeros(1), ["a"], margin=0.0)
