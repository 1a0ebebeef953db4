from __future__ import annotations

import math

import numpy as np
import pytest

from swapper.metrics.bootstrap import bootstrap, paired_bootstrap

DRAW = np.random.default_rng(9)


def test_the_mean_is_the_mean_and_the_interval_holds_it() -> None:
    values = DRAW.normal(0.7, 0.1, (4, 6))
    found = bootstrap(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.low < found.mean < found.high
    assert found.cells == 24
    assert bootstrap(values) == found


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for trial in range(150):
        rng = np.random.default_rng([trial, 5])
        # Clips and seeds each have something of their own, as they do in life.
        values = 1.0 + rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 0.3, (1, 8))
        values = values + rng.normal(0, 0.1, (8, 8))
        found = bootstrap(values, resamples=600)
        hits += found.low <= 1.0 <= found.high
    assert 0.83 <= hits / 150 <= 0.99


def test_frames_of_one_clip_do_not_make_it_surer() -> None:
    clips = DRAW.normal(0, 1, (1, 5))
    once, again = bootstrap(clips), bootstrap(np.repeat(clips, 3, axis=0))
    # Three seeds that agree to the bit say nothing of other clips.
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.1)


def test_missing_cells_are_left_out() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    found = bootstrap(values)
    assert found.mean == pytest.approx(2.0)
    assert found.cells == 3
    assert 1.0 <= found.low <= found.high <= 3.0


def test_one_cell_has_a_mean_and_no_interval() -> None:
    found = bootstrap(np.array([[0.5, np.nan]]))
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert str(found) == "0.50"


def test_nothing_is_a_dash() -> None:
    assert str(bootstrap(np.full((2, 2), np.nan))) == "–"


def test_what_two_configs_share_does_not_blur_their_difference() -> None:
    base = DRAW.normal(0, 5, (3, 6))
    better = base + 0.2 + DRAW.normal(0, 0.01, base.shape)
    difference = paired_bootstrap(better, base)
    assert difference.low > 0.15
    assert difference.high < 0.25
    assert bootstrap(better).high - bootstrap(better).low > 1.0


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="seeds, clips"):
        bootstrap(np.zeros(3))
    with pytest.raises(ValueError, match="same seeds"):
        paired_bootstrap(np.zeros((2, 2)), np.zeros((2, 3)))
