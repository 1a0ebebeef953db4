"""Preferences held against studies whose truth is known because it was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.metrics.preference import strength_intervals, strengths, win_rate

TRUTH = np.array([1.0, 0.2, -0.3, -0.9])


def drawn_study(seed: int, people: int, each: int = 3, taste: float = 0.0) -> NDArray[np.float64]:
    """(people, 4, 4) wins of participants who differ by `taste` (deviation, log-odds)."""
    rng = np.random.default_rng(seed)
    wins = np.zeros((people, 4, 4))
    for person in wins:
        own = TRUTH + rng.normal(0, taste, 4)
        for i in range(4):
            for j in range(i):
                person[i, j] = rng.binomial(each, 1 / (1 + np.exp(own[j] - own[i])))
                person[j, i] = each - person[i, j]
    return wins


def test_strengths_find_the_truth_of_many_answers() -> None:
    assert strengths(drawn_study(0, 2000).sum(axis=0)) == pytest.approx(TRUTH, abs=0.06)


def test_two_systems_have_a_formula() -> None:
    """With half a win lent to each side, the odds are (w + 1/2) / (l + 1/2)."""
    found = strengths(np.array([[0.0, 7.0], [2.0, 0.0]]))
    assert found[0] - found[1] == pytest.approx(np.log(7.5 / 2.5), abs=1e-5)


def test_strengths_are_a_maximum_of_the_likelihood() -> None:
    """Every wins-weighted surprise cancels: won = expected, the score equation of the model."""
    wins, prior = drawn_study(3, 5).sum(axis=0), 0.5
    lent = (wins + prior / 3) * (1 - np.eye(4))
    s = strengths(wins, prior)
    chance = 1 / (1 + np.exp(s[None, :] - s[:, None]))
    expected = ((lent + lent.T) * chance).sum(axis=1)
    assert lent.sum(axis=1) == pytest.approx(expected, abs=1e-4)


def test_who_won_all_stays_finite_and_ahead() -> None:
    wins = np.array([[0.0, 40, 40], [0, 0, 20], [0, 20, 0]])
    found = strengths(wins)
    assert np.isfinite(found).all()
    assert found[0] - found[1] > 3
    assert found[1] == pytest.approx(found[2], abs=1e-5)


def test_nobody_met_is_nobody_ahead() -> None:
    assert strengths(np.zeros((3, 3))) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize(("people", "taste"), [(5, 0.4), (15, 0.8)])
def test_intervals_cover(people: int, taste: float) -> None:
    """About 95 of 100 hold the truth, also where people differ and are few."""
    held = np.zeros(4)
    studies = 120
    for seed in range(studies):
        found = strength_intervals(drawn_study(seed, people, taste=taste), resamples=300, seed=seed)
        held += [each.low <= truth <= each.high for each, truth in zip(found, TRUTH, strict=True)]
    # Taste differs by person, so the truth of the crowd is drawn in a little: 86 still tells
    # intervals that hold from intervals over answers, which hold 60 or fewer.
    assert (held / studies >= 0.86).all(), held / studies


def test_intervals_over_answers_would_not_cover() -> None:
    """The same studies with each answer taken for a person of its own: too sure."""
    wide = strength_intervals(drawn_study(1, 10, each=30, taste=1.0), seed=1)
    split = drawn_study(1, 10, each=30, taste=1.0).repeat(30, axis=0) / 30
    narrow = strength_intervals(split, seed=1)
    assert narrow[0].high - narrow[0].low < 0.5 * (wide[0].high - wide[0].low)


def test_one_participant_has_no_interval() -> None:
    (first, *_) = strength_intervals(drawn_study(0, 1))
    assert np.isfinite(first.mean)
    assert np.isnan(first.low)
    assert first.cells == 1


def test_a_draw_is_repeated_by_its_seed() -> None:
    wins = drawn_study(0, 6)
    assert strength_intervals(wins, seed=4) == strength_intervals(wins, seed=4)
    assert strength_intervals(wins, seed=4) != strength_intervals(wins, seed=5)


def test_win_rate_of_independent_answers_is_wilsons() -> None:
    """Brown, Cai and DasGupta 2001: 8 of 10 gives [0.490, 0.943]."""
    rate = win_rate(np.array([1.0] * 8 + [0.0] * 2), np.ones(10))
    assert (rate.share, rate.answers, rate.participants) == (0.8, 10, 10)
    assert (rate.low, rate.high) == pytest.approx((0.490, 0.943), abs=5e-4)


def test_answers_of_one_person_count_as_one() -> None:
    """Ten who answer the same ten times over are as sure as ten who answer once."""
    once = win_rate(np.array([1.0] * 8 + [0.0] * 2), np.ones(10))
    often = win_rate(np.array([10.0] * 8 + [0.0] * 2), np.full(10, 10.0))
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-3)


def test_all_alike_is_not_certain() -> None:
    rate = win_rate(np.full(6, 5.0), np.full(6, 5.0))
    assert rate.share == 1
    assert 0.5 < rate.low < 0.7


def test_win_rates_cover() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        chance = rng.beta(3, 2, 12)
        rate = win_rate(rng.binomial(4, chance).astype(float), np.full(12, 4.0))
        held += rate.low <= 0.6 <= rate.high
    assert 0.91 <= held / 400 <= 0.99


def test_who_never_met_has_no_rate() -> None:
    rate = win_rate(np.zeros(3), np.zeros(3))
    assert np.isnan(rate.share)
    assert rate.answers == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: strengths(np.zeros((2, 3))),
        lambda: strengths(np.zeros((1, 1))),
        lambda: strengths(np.array([[0, -1.0], [0, 0]])),
        lambda: strengths(np.array([[0, np.nan], [0, 0]])),
        lambda: strengths(np.zeros((2, 2)), prior=0),
        lambda: strength_intervals(np.zeros((0, 2, 2))),
        lambda: strength_intervals(np.zeros((2, 2))),
        lambda: strength_intervals(np.zeros((2, 2, 2)), level=1),
        lambda: win_rate(np.ones(2), np.ones(3)),
        lambda: win_rate(np.full(2, 2.0), np.ones(2)),
    ],
)
def test_what_is_no_study_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="must"):
        call()  # type: ignore[operator]
