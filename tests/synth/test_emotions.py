from __future__ import annotations

import numpy as np
import pytest

from swapper.head_renderer.units import INDEX, MIDLINE, UNITS, unit_values
from swapper.synth.anatomy import feasible
from swapper.synth.emotions import AROUSAL, BASIC, EMOTION_BY_NAME, EMOTIONS, VALENCE

# What must stand in every variant of a basic emotion, by EMFACS.
ESSENTIAL = {
    "happy": {6, 12},
    "sad": {1, 4, 15},
    "surprise": {1, 2, 5},
    "fear": {1, 2, 4, 5},
    "anger": {4, 7},
}


def moved(units: np.ndarray) -> set[int]:
    return {unit for unit in UNITS if units[:, INDEX[unit]].max() > 0}


def test_order_and_names() -> None:
    assert tuple(EMOTION_BY_NAME) == EMOTIONS
    assert EMOTIONS[:8] == BASIC
    assert EMOTIONS[8:] == ("tired", "bored", "seductive")


@pytest.mark.parametrize("name", EMOTIONS)
def test_every_emotion_is_within_range_and_varied(name: str) -> None:
    emotion = EMOTION_BY_NAME[name]
    assert -1 <= emotion.valence <= 1
    assert -1 <= emotion.arousal <= 1
    assert len(emotion.variants) >= 3
    for variant in emotion.variants:
        units = variant.intensities()
        assert units.min() >= 0
        assert units.max() <= 1
        assert variant.share > 0
        for unit in MIDLINE:
            left, right = units[:, INDEX[unit]]
            assert left == right


@pytest.mark.parametrize(("name", "units"), ESSENTIAL.items())
def test_variants_hold_what_makes_the_emotion(name: str, units: set[int]) -> None:
    for variant in EMOTION_BY_NAME[name].variants:
        assert units <= moved(variant.intensities())


def test_disgust_wrinkles_the_nose_or_lifts_the_lip() -> None:
    for variant in EMOTION_BY_NAME["disgust"].variants:
        assert moved(variant.intensities()) & {9, 10}


def test_contempt_is_one_sided_and_favours_no_side() -> None:
    dimples = [v.intensities()[:, INDEX[14]] for v in EMOTION_BY_NAME["contempt"].variants]
    shares = [v.share for v in EMOTION_BY_NAME["contempt"].variants]
    assert all(min(sides) == 0 < max(sides) for sides in dimples)
    lean = sum(s * (left - right) for s, (left, right) in zip(shares, dimples, strict=True))
    assert lean == pytest.approx(0)


def test_heavy_lids_belong_to_the_tired_the_bored_and_the_seductive() -> None:
    for name in ("tired", "bored", "seductive"):
        assert all(
            v.intensities()[:, INDEX[43]].min() >= 0.25 for v in EMOTION_BY_NAME[name].variants
        )


def test_feelings_stand_where_they_should() -> None:
    valence = dict(zip(EMOTIONS, VALENCE, strict=True))
    arousal = dict(zip(EMOTIONS, AROUSAL, strict=True))
    assert valence["neutral"] == arousal["neutral"] == 0
    assert valence["happy"] > valence["seductive"] > valence["neutral"] > valence["sad"]
    assert arousal["anger"] > arousal["happy"] > arousal["bored"] > arousal["tired"]


def test_prototypes_are_feasible_but_for_pressed_lips() -> None:
    for emotion in EMOTION_BY_NAME.values():
        for variant in emotion.variants:
            units = variant.intensities()
            assert np.abs(feasible(units) - units).max() < 0.3


def test_closed_lids_cannot_be_raised() -> None:
    assert feasible(unit_values(au5=0.9, au43=1.0))[:, INDEX[5]].max() == 0


def test_a_jaw_drops_once() -> None:
    both = feasible(unit_values(au26=1.0, au27=1.0))
    assert both[0, INDEX[26]] + both[0, INDEX[27]] <= 1


def test_a_stretched_mouth_is_open_and_not_pressed() -> None:
    wide = feasible(unit_values(au24=1.0, au27=1.0))
    assert wide[0, INDEX[25]] > 0.8
    assert wide[0, INDEX[24]] < 0.2


def test_feasible_keeps_to_its_range_whatever_is_wished() -> None:
    wild = np.random.default_rng(0).normal(0.5, 2, (50, 2, 19))
    shown = feasible(wild)
    assert shown.dtype == np.float32
    assert shown.min() >= 0
    assert shown.max() <= 1
