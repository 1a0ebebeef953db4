"""What a participant is asked: the same for the same seed, fair over many."""

from __future__ import annotations

from swapper.user_study.schedule import schedule

PAIRS = [f"p{i}" for i in range(10)]
CHECKS = [f"c{i}" for i in range(6)]


def test_a_seed_says_all() -> None:
    first = schedule(7, PAIRS, CHECKS, (8, 3, 2))
    assert first == schedule(7, PAIRS, CHECKS, (8, 3, 2))
    assert first != schedule(8, PAIRS, CHECKS, (8, 3, 2))


def test_limits_hold_and_repeats_change_sides() -> None:
    for seed in range(200):
        asked = schedule(seed, PAIRS, CHECKS, (8, 3, 2))
        once = [each for each in asked if not each.repeat]
        assert len({each.trial for each in once}) == len(once) == 11
        assert sum(each.trial in CHECKS for each in once) == 3
        again = [each for each in asked if each.repeat]
        assert len(again) == 2
        for each in again:
            before = next(i for i, one in enumerate(asked) if one.trial == each.trial)
            assert asked[before].swapped != each.swapped
            assert each.trial in PAIRS
            assert asked.index(each) - before > 1


def test_sides_and_places_are_fair() -> None:
    runs = [schedule(seed, PAIRS, CHECKS, (8, 3, 0)) for seed in range(2000)]
    swapped = sum(each.swapped for run in runs for each in run) / (2000 * 11)
    assert abs(swapped - 0.5) < 0.01
    first = [run[0].trial for run in runs]
    for each in PAIRS:  # 8 of 11 places are pairs', each of ten alike
        assert abs(first.count(each) / 2000 - 8 / 110) < 0.025


def test_few_trials_are_all_asked() -> None:
    assert [each.trial for each in schedule(0, ["p"], [], (24, 3, 2))] == ["p"]
    assert schedule(0, [], [], (1, 1, 1)) == []
