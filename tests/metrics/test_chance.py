from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from swapper.metrics.chance import floor, relative_score, shifts
from swapper.report.content import Measure, normalised_score


def test_shifts_leave_at_least_a_second_either_way() -> None:
    found = shifts(250, 25.0)
    assert len(found) == 8
    assert min(found) == 25
    assert max(found) == 225
    assert shifts(49, 25.0) == ()
    assert shifts(50, 25.0) == (25,)


def test_the_floor_of_a_perfect_copy_is_what_another_moment_gives() -> None:
    rng = np.random.default_rng(1)
    trace = np.repeat(rng.normal(0, 1, 100), 10)

    def agree(performer: np.ndarray) -> float:
        return float(np.corrcoef(trace, performer)[0, 1])

    assert agree(trace) == pytest.approx(1.0)
    found = floor(agree, trace, 25.0)
    assert abs(found) < 0.15
    assert floor(agree, trace, 25.0) == found
    assert relative_score(found, found, 1.0) == 0.0


def test_what_never_changes_has_its_floor_at_its_ceiling() -> None:
    still = np.ones(200)
    found = floor(lambda them: float((them == still).mean()), still, 25.0)
    assert found == 1.0
    assert math.isnan(relative_score(1.0, found, 1.0))


def test_a_clip_too_short_to_shuffle_has_no_floor() -> None:
    assert math.isnan(floor(lambda them: 0.5, np.ones(30), 25.0))
    assert math.isnan(floor(lambda them: math.nan, np.ones(300), 25.0))
    assert math.isnan(relative_score(0.5, math.nan, 1.0))


def test_a_place_runs_from_floor_to_ceiling_either_way_up() -> None:
    assert relative_score(0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert relative_score(0.1, 0.5, 0.1, "lower") == pytest.approx(1.0)
    assert math.isnan(relative_score(0.1, 0.5, 0.1))  # a ceiling below chance separates nothing
    assert relative_score(0.0, 0.2, 1.0) == pytest.approx(-0.25)


@pytest.mark.parametrize("better", ["higher", "lower", "one"])
def test_a_range_below_a_tenth_of_the_scale_gives_no_score(better: Any) -> None:
    floor, ceiling = {"higher": (0.0, 0.05), "lower": (0.05, 0.0), "one": (0.9, 0.95)}[better]
    assert math.isnan(relative_score(0.03, floor, ceiling, better))
    # The report's tables and the verdict go by the same rule.
    measure = Measure("m", "m", 0.03, floor, ceiling, better)
    assert math.isnan(normalised_score(measure))
    degrees = replace(measure, unit="°", better="higher", floor=0.0, ceiling=0.05)
    assert normalised_score(degrees) == pytest.approx(0.6)  # 1 is no natural size of it
