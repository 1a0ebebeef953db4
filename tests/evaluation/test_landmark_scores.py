"""Geometry by anyone's landmarks; what an aligner that taught the model says is marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.evaluation.clip_readings import ClipReadings, Traces
from swapper.evaluation.landmark_scores import (
    geometry_group,
    head_group,
    mark_dependent_aligner,
    shared_landmark_warnings,
)
from swapper.evaluation.scorecard import GEOMETRY, UNDETERMINED, PairReadings, diagnose_pair
from swapper.faces.shape import MEAN_FACE
from swapper.report.content import Group, Measure, Report

FRAMES, FPS = 250, 25.0
Floats = NDArray[np.float64]


def played(strength: float = 1.0, seed: int = 0, turned: float = 10.0) -> Floats:
    """(T, 68, 2) of a face that speaks, smiles, blinks and raises its brows; the head turns."""
    random = np.random.default_rng(seed)
    time = np.arange(FRAMES) / FPS
    opening, smile, brows, lids = (
        np.square(np.sin(time * rate + random.uniform(0, 3))) for rate in (2.6, 1.3, 1.7, 2.1)
    )
    face = np.repeat(MEAN_FACE[None], FRAMES, axis=0)
    face[:, [57, 58, 59, 56, 55, 65, 66, 67, 8], 1] += strength * 0.25 * opening[:, None]
    for corner, way in ((48, -1), (54, 1)):
        face[:, corner, 0] += strength * way * 0.08 * smile
        face[:, corner, 1] -= strength * 0.06 * smile
    face[:, 17:27, 1] -= strength * 0.08 * brows[:, None]
    face[:, [37, 38, 43, 44], 1] += strength * 0.05 * lids[:, None]
    yaw = np.radians(turned) * np.sin(time)
    across = face[:, :, 0] * np.cos(yaw)[:, None] - face[:, :, 2] * np.sin(yaw)[:, None]
    return 200 + 90 * np.stack([across, face[:, :, 1]], axis=2)


def watched(landmarks: Floats, name: str, aligner: str = "fan") -> ClipReadings:
    return ClipReadings(
        video=Path(f"{name}.mp4"),
        fps=FPS,
        size=(400, 400),
        seconds=np.arange(len(landmarks)) / FPS,
        landmarks=landmarks,
        pose=np.zeros((len(landmarks), 3)),
        blendshapes=None,
        probabilities=None,
        circumplex=None,
        units=None,
        aligner=aligner,
    )


def told(group: Group) -> dict[str, Measure]:
    return {each.name.removeprefix("geometry_"): each for each in group.measures}


PARTS = ("mouth", "mouth_opening", "mouth_width", "mouth_corners", "brows", "lids", "jaw")


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_gain_is_the_strength_and_correlation_the_time(strength: float) -> None:
    performer = watched(played(), "performer")
    # Elsewhere in the frame, larger, and with holes.
    landmarks = 1.3 * played(strength) + 15
    landmarks[40:60] = np.nan
    sides = PairReadings(watched(landmarks, "swap"), performer, performer)
    measures = told(geometry_group(sides, 0))
    assert set(measures) == {f"{part}_{key}" for part in PARTS for key in ("gain", "correlation")}
    for part in PARTS:
        gain, correlation = measures[f"{part}_gain"], measures[f"{part}_correlation"]
        assert gain.value == pytest.approx(strength, abs=0.04), part
        assert correlation.value == pytest.approx(1, abs=0.01), part
        assert (gain.ceiling, correlation.ceiling) == pytest.approx((1, 1)), part
        assert abs(correlation.floor) < 0.6, part
        assert gain.better == "one"


def test_a_steady_lag_is_taken_out_of_the_swap_alone() -> None:
    performer = watched(played(), "performer")
    late = watched(np.roll(played(), 4, axis=0), "swap")
    sides = PairReadings(late, performer, performer)
    measures = told(geometry_group(sides, 4))
    assert measures["mouth_correlation"].value > 0.99
    assert (
        measures["mouth_correlation"].value
        > told(geometry_group(sides, 0))["mouth_correlation"].value
    )
    assert measures["mouth_correlation"].ceiling == pytest.approx(1)


def test_what_hardly_moves_is_not_told() -> None:
    still = played(0.1)
    measures = told(geometry_group(PairReadings(watched(2 * still, "a"), watched(still, "b")), 0))
    for name in ("mouth_gain", "brows_correlation", "lids_gain"):
        assert np.isnan(measures[name].value)
        assert measures[name].why_not == UNDETERMINED


def test_faces_turned_away_and_wild_points_have_no_geometry() -> None:
    landmarks = played()
    landmarks[3] = np.column_stack([np.arange(68.0), np.arange(68.0)])
    landmarks[5] = np.nan
    clip = watched(landmarks, "clip")
    missing = np.flatnonzero(~np.isfinite(clip.geometry.values).all(axis=1))
    assert missing.tolist() == [3, 5]
    assert clip.geometry is clip.geometry  # read once
    assert np.abs(np.nan_to_num(clip.geometry.values)).max() < 2


@pytest.mark.parametrize(("strength", "expressive"), [(1.0, True), (0.85, True), (0.5, False)])
def test_geometry_alone_gives_a_verdict(strength: float, expressive: bool) -> None:
    performer = watched(played(), "performer")
    sides = PairReadings(watched(played(strength) + 1, "swap"), performer, performer)
    assert sides.expression().instrument == GEOMETRY
    found, diagnosis = diagnose_pair(sides)
    assert found.units.gain == pytest.approx(strength, abs=0.04)
    assert diagnosis.expressive == expressive
    assert np.abs(sides.expression().performer.values).max() < 2  # as strong as other readers'


def test_one_table_for_both_tells_nothing() -> None:
    performer, swap = watched(played(), "performer"), watched(played(), "swap")
    sides = PairReadings(swap, performer)
    assert sides.shared_landmarks
    assert "its landmarks are the performer's" in shared_landmark_warnings(sides)[0]
    with pytest.raises(ValueError, match="nor geometry"):
        sides.expression()
    # A clip held against itself does have its own landmarks.
    assert not PairReadings(performer, performer).shared_landmarks
    other = watched(played(0.9), "swap")
    assert shared_landmark_warnings(PairReadings(other, performer, performer)) == []
    answer = shared_landmark_warnings(
        PairReadings(other, performer, watched(played(), "answer"), has_truth=True)
    )
    assert answer[0].startswith("the ground truth's landmarks are the performer's")


# --- landmarks that taught the model --------------------------------------------------------------


def report(sides: PairReadings) -> Report:
    groups = (
        Group("Emotion", "xception", (Measure("emotion_kappa", "κ", 0.5),)),
        Group("Expression over time", GEOMETRY, (Measure("gain", "Gain", 0.5),)),
        geometry_group(sides, 0),
        head_group(sides),
    )
    return Report(
        "t", "It comes through.", True, (), ("gaze",), sides.swap.seconds, (), (), None, (),
        GEOMETRY, groups, (), {},
    )  # fmt: skip


def seen(aligner: str) -> PairReadings:
    return PairReadings(
        watched(played(0.9), "swap", aligner), watched(played(), "performer", aligner)
    )


def test_what_its_own_teacher_reads_is_partial() -> None:
    sides = seen("mediapipe")
    shapes = Traces(("jawOpen",), np.zeros((FRAMES, 1)))
    sides = replace(sides, swap=replace(sides.swap, blendshapes=shapes))
    plain = report(sides)
    for lineage in ((), ("landmarks:fan", "mediapipe:12", "xception:34"), ("landmarks:openface",)):
        assert mark_dependent_aligner(plain, sides, lineage) is plain
    taught = mark_dependent_aligner(plain, sides, ("xception:34", "landmarks:mediapipe"))
    assert taught.undetermined == (
        "mediapipe's landmarks were used in training, so geometry, blendshapes, pose and gaze are "
        "biased in the model's favour: pass another aligner=",
        "gaze",
    )
    assert [group.instrument_label for group in taught.groups] == [
        "xception",
        "landmark geometry (used in training)",
        "landmarks by mediapipe (used in training)",
        "landmarks by mediapipe (used in training)",
    ]
    assert taught.verdict == "It comes through. Partial: mediapipe was used in training."
    assert taught.unit_instrument == "landmark geometry (used in training)"
    measures = taught.to_dict()["measures"]
    assert not measures["emotion_kappa"]["partial"]
    assert measures["geometry_mouth_gain"]["partial"]
    assert measures["pose_error"]["instrument"] == "landmarks by mediapipe (used in training)"


def test_a_verdict_of_another_reader_stays_as_it_is() -> None:
    sides = seen("fan")
    plain = replace(report(sides), unit_instrument="action units")
    taught = mark_dependent_aligner(plain, sides, ("landmarks:fan",))
    assert taught.verdict == plain.verdict
    assert taught.unit_instrument == "action units"
    assert taught.undetermined[0] == (
        "fan's landmarks were used in training, so geometry and pose are biased in the model's "
        "favour: pass another aligner="
    )


def test_a_table_may_come_from_whoever_taught() -> None:
    sides = seen("openface")
    taught = mark_dependent_aligner(report(sides), sides, ("landmarks:openface",))
    assert taught.undetermined[0].startswith(
        "openface: landmarks of the same tracker may have been used in training, so geometry and "
    )
    assert (
        taught.groups[2].instrument_label
        == "landmarks by openface (may have been used in training)"
    )
    assert taught.verdict.endswith(" Partial: openface may have been used in training.")
