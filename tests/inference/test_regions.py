"""Region dials: they move what lies in their region, by its deviation from neutral."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import Shapes, aligned_landmarks, origin, pixels_per_unit, signals
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.units import unit_values
from swapper.inference.affect_conditioner import conditioning_claim, describe_controls
from swapper.inference.region_warp import RegionWarp
from swapper.options.groups import AffectOptions, RegionOptions
from swapper.synth.actor import Actor
from swapper.types import MESH_POINTS

SIZE = 96
MOUTH, BROWS = (66, 62), (24, 44)
"""Pairs of landmarks whose distance tells how far the mouth is open, and a brow raised."""


@pytest.fixture(scope="module")
def actor() -> Actor:
    return Actor(dataclasses.replace(sample_identity(4), stubble=0.0), detail=2)


@pytest.fixture(scope="module")
def neutral(actor: Actor) -> NDArray[np.float64]:
    """Frontal shape at rest, (68, 3)."""
    points = actor.landmarks(HeadState(), Stage(), 256)
    return Shapes.of(aligned_landmarks(points[None])).front[0]


def shot(actor: Actor, state: HeadState) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """An aligned crop and its landmarks."""
    frame = actor.render(state, Stage(), 256, supersample=1)
    points = frame.landmarks.astype(np.float32)
    matrix = similarity_from_landmarks(points, SIZE, "face")
    return warp(frame.image, matrix, SIZE), transform_points(matrix, points)


def moved(
    neutral: NDArray[np.float64], landmarks: NDArray[np.float32], **amounts: float
) -> NDArray[np.float64]:
    """Where a warp takes each landmark: the centre of a dot drawn there, warped alone."""
    there = []
    change = RegionWarp(neutral, amounts)
    for x, y in landmarks:
        dot = np.zeros((SIZE, SIZE, 3), np.uint8)
        cv2.circle(dot, (round(float(x)), round(float(y))), 2, (255, 255, 255), -1)
        seen = change(dot, landmarks, "face")[..., 0].astype(float)
        rows, columns = np.indices(seen.shape)
        there.append((
            (seen * columns).sum() / seen.sum() - round(float(x)) + x,
            (seen * rows).sum() / seen.sum() - round(float(y)) + y,
        ))  # fmt: skip
    return np.array(there)


def gap(points: NDArray[np.floating], pair: tuple[int, int]) -> float:
    return float(math.dist(*(points[each] for each in pair)))


@pytest.mark.parametrize("yaw", [0.0, 20.0])
def test_a_dial_scales_its_region_and_leaves_the_others(
    actor: Actor, neutral: NDArray[np.float64], yaw: float
) -> None:
    state = HeadState(unit_values(au26=0.8, au25=0.6, au1=0.9, au2=0.9), pose=(yaw, 0.0, 0.0))
    _, landmarks = shot(actor, state)
    _, rest = shot(actor, HeadState(pose=(yaw, 0.0, 0.0)))
    open_by = gap(landmarks, MOUTH) - gap(rest, MOUTH)
    raised_by = gap(landmarks, BROWS) - gap(rest, BROWS)
    assert open_by > 3
    assert raised_by > 1.2
    for amount in (0.5, 2.0):
        after = moved(neutral, landmarks, lips=amount)
        assert gap(after, MOUTH) - gap(rest, MOUTH) == pytest.approx(
            amount * open_by, rel=0.12, abs=1.0
        )
        assert gap(after, BROWS) == pytest.approx(gap(landmarks, BROWS), abs=0.5)
    # Dots on both lips cannot come closer than they are large.
    assert gap(moved(neutral, landmarks, lips=0.0), MOUTH) < 0.65 * gap(landmarks, MOUTH)
    after = moved(neutral, landmarks, brows=2.0)
    assert gap(after, BROWS) - gap(rest, BROWS) == pytest.approx(2 * raised_by, abs=1.0)
    assert gap(after, MOUTH) == pytest.approx(gap(landmarks, MOUTH), abs=0.5)


def test_a_face_at_rest_stays(actor: Actor, neutral: NDArray[np.float64]) -> None:
    crop, landmarks = shot(actor, HeadState())
    change = RegionWarp(neutral, {"lips": 2.0, "brows": 2.0, "eyes": 0.0, "jaw": 2.0})
    assert np.abs(change(crop, landmarks, "face").astype(int) - crop).mean() < 1.5


def test_dials_at_1_change_next_to_nothing_and_the_border_stays(
    actor: Actor, neutral: NDArray[np.float64]
) -> None:
    crop, landmarks = shot(actor, HeadState(unit_values(au26=0.8)))
    same = RegionWarp(neutral, {"lips": 1.0})(crop, landmarks, "face")
    assert np.abs(same.astype(int) - crop).max() <= 1
    wide = RegionWarp(neutral, {"lips": 2.0, "jaw": 2.0})(crop, landmarks, "face")
    edge = np.ones((SIZE, SIZE), bool)
    edge[4:-4, 4:-4] = False
    assert np.abs(wide.astype(int) - crop)[edge].mean() < 6
    shut = signals(Shapes.of(aligned_landmarks(landmarks[None].astype(float))).front)[0, 0]
    assert shut > 0.05, "the actor opens the mouth"


def test_a_region_without_landmarks_is_refused(neutral: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="cheeks"):
        RegionWarp(neutral, {"cheeks": 2.0})


def test_cheeks_follow_where_the_mesh_has_points_on_them(
    actor: Actor, neutral: NDArray[np.float64]
) -> None:
    _, landmarks = shot(actor, HeadState())
    cheek = 205  # a mesh point below the image's left eye
    rest = np.zeros((MESH_POINTS, 3))
    rest[MESH_OF_LANDMARK] = neutral
    unit, start = pixels_per_unit(SIZE, "face"), origin(SIZE, "face")
    rest[cheek] = (-0.35, 0.5, 0.0)
    raised = rest[:, :2] * unit + start
    raised[cheek] += (0, -0.06 * unit)
    dot = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(dot, [round(v) for v in raised[cheek]], 2, (255, 255, 255), -1)

    def height(amount: float) -> float:
        change = RegionWarp(rest, {"cheeks": amount})
        seen = change(dot, landmarks, "face", raised.astype(np.float32))[..., 0].astype(float)
        return float((seen.sum(axis=1) * np.arange(SIZE)).sum() / seen.sum())

    lift = 0.06 * unit
    assert height(2.0) - height(1.0) == pytest.approx(-lift, rel=0.3)
    assert height(0.0) - height(1.0) == pytest.approx(lift, rel=0.3)


def test_dials_are_named_in_log_and_manifest() -> None:
    options = AffectOptions(valence=0.2, regions=RegionOptions(brows=1.5, jaw=0.0))
    assert describe_controls(options) == "valence +0.20, brows x1.50, jaw x0.00"
    assert conditioning_claim(options)["regions"] == {"brows": 1.5, "jaw": 0.0}
