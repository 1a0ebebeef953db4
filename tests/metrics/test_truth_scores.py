"""Planted faults of a swap are found in the score that names them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swapper.metrics.clip_truth import GroundTruth
from swapper.metrics.traces import Calibration
from swapper.metrics.truth_scores import AREAS, Comparison, score

FRAMES = 240
NAMES = ("AU4", "AU12", "AU26", "AU43")
EMOTIONS = ("neutral", "happy", "anger")
DRAW = np.random.default_rng(2)


def played() -> tuple[np.ndarray, np.ndarray]:
    """Rest, then joy (12, 26), then anger (4, 26); AU43 never moves. Units and emotion weights."""
    phase = np.arange(FRAMES) % 80 / 80
    part = np.arange(FRAMES) // 80
    rise = np.clip(np.sin(np.pi * phase) * 1.4, 0, 1)
    happy, anger = np.where(part == 1, rise, 0), np.where(part == 2, rise, 0)
    units = np.stack([0.9 * anger, 0.8 * happy, 0.5 * (happy + anger), 0 * happy], axis=1)
    emotions = np.stack([1 - happy - anger, happy, anger], axis=1)
    return units, emotions


UNITS, WEIGHTS = played()
ANSWER = GroundTruth(
    video=Path("answer.mp4"),
    landmarks=np.zeros((FRAMES, 68, 2), np.float32),
    masks=[np.zeros((4, 4), np.float32)] * FRAMES,
    units=UNITS,
    emotions=WEIGHTS,
    unit_names=NAMES,
    emotion_names=EMOTIONS,
)


def read(units: np.ndarray) -> np.ndarray:
    """What an instrument with a scale of its own says."""
    return 0.6 * units + 0.2


def compared(units: np.ndarray) -> Comparison:
    error = np.full((FRAMES, len(AREAS)), 5.0)
    error[160:] = 9.0
    return Comparison(
        square=np.full((FRAMES, 2), [65.025, 650.25]),
        overlap=np.full(FRAMES, 0.8),
        opacity=np.full(FRAMES, 0.9),
        sharpness=np.full(FRAMES, 0.7),
        areas=error,
        landmarks=np.full(FRAMES, np.nan),
        readings=read(units),
        answer_readings=read(UNITS),
    )


CALIBRATION = Calibration.fit(read(UNITS), UNITS)


def test_a_perfect_swap() -> None:
    found = score(compared(UNITS), ANSWER, CALIBRATION)
    assert found.frames == FRAMES
    assert found.psnr_face == pytest.approx(30.0)
    assert found.psnr_frame == pytest.approx(20.0)
    assert found.mask_iou == pytest.approx(0.8)
    assert found.opacity == pytest.approx(0.9)
    assert found.gradient_energy == pytest.approx(0.7)
    assert found.gain == pytest.approx(1.0)
    assert found.correlation == pytest.approx(1.0)
    assert found.units_error == pytest.approx(0.0, abs=1e-9)
    assert set(found.units) == {"AU4", "AU12", "AU26"}
    assert found.emotions["happy"].gain == pytest.approx(1.0)
    assert math.isnan(found.emotions["neutral"].gain)


def test_an_emotion_that_is_damped_is_the_one_that_is_named() -> None:
    swap = UNITS.copy()
    swap[160:] *= 0.4
    found = score(compared(swap), ANSWER, CALIBRATION, unseen=("anger",))
    assert found.emotions["anger"].gain == pytest.approx(0.4, abs=0.02)
    assert found.emotions["happy"].gain == pytest.approx(1.0, abs=0.02)
    assert found.emotions["anger"].unseen
    assert not found.emotions["happy"].unseen
    assert found.units["AU4"].gain == pytest.approx(0.4)
    assert found.units["AU12"].gain == pytest.approx(1.0)
    assert found.emotions["anger"].areas["mouth"] == pytest.approx(9.0)
    assert found.emotions["happy"].areas["mouth"] == pytest.approx(5.0)


def test_a_lasting_smile_is_an_error_but_no_gain() -> None:
    swap = UNITS.copy()
    swap[:, 1] = np.clip(swap[:, 1] + 0.3, 0, 1.1)
    found = score(compared(swap), ANSWER, CALIBRATION)
    assert found.units["AU12"].gain == pytest.approx(1.0)
    assert found.units_error == pytest.approx(0.3 / 3, rel=0.02)  # AU43 could not be calibrated
    assert found.emotions["happy"].gain == pytest.approx(1.0, abs=0.02)


def test_a_mask_of_expression_is_worse_than_a_damped_face() -> None:
    shuffled = UNITS[DRAW.permutation(FRAMES)]
    found = score(compared(shuffled), ANSWER, CALIBRATION)
    assert abs(found.correlation) < 0.2
    assert abs(found.gain) < 0.2


def test_a_blind_instrument_says_nothing() -> None:
    noise = Calibration.fit(DRAW.normal(size=UNITS.shape), UNITS)
    found = score(compared(UNITS), ANSWER, noise)
    assert found.units == {}
    assert math.isnan(found.gain)
    assert math.isnan(found.units_error)


def test_the_score_is_json_that_others_can_read() -> None:
    found = score(compared(UNITS), ANSWER, CALIBRATION)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["landmark_error"] is None
    assert plain["emotions"]["happy"]["areas"]["eyes"] == pytest.approx(5.0)


def test_an_answer_must_tell_of_the_same_frames_throughout() -> None:
    with pytest.raises(ValueError, match="emotions must have equal lengths"):
        replace(ANSWER, masks=[])
    with pytest.raises(ValueError, match="units must be"):
        replace(ANSWER, units=UNITS[1:])
    with pytest.raises(ValueError, match="68"):
        replace(ANSWER, landmarks=np.zeros((FRAMES, 5, 2), np.float32))
