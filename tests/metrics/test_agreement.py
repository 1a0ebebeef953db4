from __future__ import annotations

import math

import numpy as np
import pytest

from swapper.metrics.agreement import (
    cohens_kappa,
    concordance,
    emotion_agreement,
    jensen_shannon,
)

DRAW = np.random.default_rng(12)


def felt(classes: list[int], sure: float = 0.8) -> np.ndarray:
    """Probabilities over neutral, happy, anger."""
    rows = np.full((len(classes), 3), (1 - sure) / 2)
    rows[np.arange(len(classes)), classes] = sure
    return rows


SHOWN = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_a_perfect_copy_agrees_in_everything() -> None:
    found = emotion_agreement(felt(SHOWN), felt(SHOWN), neutral=0)
    assert (found.accuracy, found.kappa, found.emotional_kappa) == pytest.approx((1.0, 1.0, 1.0))
    assert found.divergence == pytest.approx(0.0, abs=1e-12)
    assert (found.frames, found.emotional_frames) == (10, 6)


def test_kappa_is_what_cohen_wrote() -> None:
    said = [0, 0, 0, 1, 1, 1, 0, 0, 2, 1]
    # Agreement 6 of 10 and, by chance, .4 * .5 + .4 * .4 + .2 * .1.
    found = emotion_agreement(felt(said), felt(SHOWN))
    assert found.accuracy == pytest.approx(0.6)
    assert found.kappa == pytest.approx((0.6 - 0.38) / (1 - 0.38))


def test_a_blank_face_agrees_by_luck_alone() -> None:
    found = emotion_agreement(felt([0] * 10), felt(SHOWN), neutral=0)
    assert found.accuracy == pytest.approx(0.4)
    assert found.kappa == pytest.approx(0.0)
    assert found.emotional_kappa == pytest.approx(0.0)


def test_one_emotion_throughout_says_nothing_beyond_chance() -> None:
    found = emotion_agreement(felt([1] * 10), felt([1] * 10), neutral=0)
    assert found.accuracy == 1.0
    assert math.isnan(found.kappa)
    assert math.isnan(cohens_kappa(np.zeros(3, np.intp), np.zeros(3, np.intp), 2))


def test_divergence_runs_from_equal_to_nothing_shared() -> None:
    one, other = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]])
    assert jensen_shannon(one, other)[0] == pytest.approx(1.0)
    assert jensen_shannon(other, other)[0] == 0.0
    half = jensen_shannon(one, np.array([[0.5, 0.5, 0.0]]))[0]
    assert half == pytest.approx(jensen_shannon(np.array([[0.5, 0.5, 0.0]]), one)[0])
    assert half == pytest.approx(0.3113, abs=1e-4)


def test_frames_without_a_face_are_left_out() -> None:
    swap, performer = felt(SHOWN), felt(SHOWN)
    swap[0], performer[9] = np.nan, np.nan
    found = emotion_agreement(swap, performer, neutral=0)
    assert found.frames == 8
    assert found.accuracy == 1.0
    few = emotion_agreement(np.full((10, 3), np.nan), performer)
    assert math.isnan(few.accuracy)
    assert few.frames == 0


def test_concordance_falls_with_strength_though_slowly() -> None:
    trace = np.sin(np.linspace(0, 20, 400))
    assert concordance(trace, trace) == pytest.approx(1.0)
    assert concordance(0.6 * trace, trace) == pytest.approx(2 * 0.6 / (1 + 0.36), abs=0.01)
    assert concordance(trace + 0.5, trace) < 0.85
    assert concordance(-trace, trace) == pytest.approx(-1.0, abs=0.01)
    assert math.isnan(concordance(np.zeros(9), np.zeros(9)))
    holes = trace.copy()
    holes[5:20] = np.nan
    assert concordance(holes, trace) == pytest.approx(1.0)
    assert math.isnan(concordance(holes[3:9], trace[3:9]))


def test_arguments_must_fit() -> None:
    with pytest.raises(ValueError, match="must both be"):
        emotion_agreement(felt(SHOWN), felt(SHOWN)[1:])
    with pytest.raises(ValueError, match="sum to 1"):
        emotion_agreement(2 * felt(SHOWN), felt(SHOWN))
    with pytest.raises(ValueError, match="sum to 1"):
        emotion_agreement(DRAW.normal(size=(10, 3)), felt(SHOWN))
    with pytest.raises(ValueError, match="column"):
        emotion_agreement(felt(SHOWN), felt(SHOWN), neutral=3)
    with pytest.raises(ValueError, match="must both be"):
        concordance(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="labels"):
        cohens_kappa(np.zeros(6, np.intp), np.zeros(7, np.intp), 2)
