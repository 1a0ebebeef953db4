"""Hair and background within the upper part of a mask are found; skin, brows and rims stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces.geometry import similarity_from_landmarks, transform_points
from swapper.faces.hairline import skin_weight
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import Stage
from swapper.synth.actor import Actor
from tests.faces.conftest import drawn_landmarks, placed

SIZE = 128
SKIN, HAIR = (0.78, 0.6, 0.5), (0.25, 0.16, 0.12)


@pytest.fixture
def points() -> NDArray[np.float32]:
    landmarks = placed(drawn_landmarks(), scale=2.0)
    return transform_points(similarity_from_landmarks(landmarks, SIZE, "face"), landmarks)


def face(seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 0.01, (SIZE, SIZE, 3))
    return np.clip(np.array(SKIN) + noise, 0, 1).astype(np.float32)


def test_plain_skin_keeps_its_weight(points: NDArray[np.float32]) -> None:
    weight = skin_weight(face(), points)
    assert weight.shape == (SIZE, SIZE)
    assert weight.dtype == np.float32
    assert weight.min() > 0.99


@pytest.mark.parametrize("colour", [HAIR, (0.15, 0.3, 0.7), (0.95, 0.95, 0.95)])
def test_a_lock_at_the_temple_is_left_out(
    points: NDArray[np.float32], colour: tuple[float, float, float]
) -> None:
    picture = face()
    edge = round(float(points[26, 0])) + 2
    picture[:, edge:] = colour  # all the way down: only what lies above the eyes counts
    weight = skin_weight(picture, points)
    eyes = round(float(points[42:48, 1].mean()))
    assert weight[: eyes - 24, edge + 4 :].max() < 0.05
    assert weight[eyes:].min() == 1
    assert weight[:, : edge - 6].min() > 0.9


def test_brows_and_rims_of_glasses_stay(points: NDArray[np.float32]) -> None:
    picture = face()
    for brow in (points[17:22], points[22:27]):
        cv2.polylines(picture, [np.rint(brow).astype(np.int32)], False, HAIR, 5)
    weight = skin_weight(picture, points)
    assert weight[picture[..., 0] < 0.5].mean() > 0.95
    assert weight.min() > 0.6  # at their ends, which the brow mask fades over
    rim = face()
    line = round(float(points[19, 1])) - 9
    rim[line : line + 2] = HAIR
    assert skin_weight(rim, points).min() > 0.9


def test_shadows_between_brow_and_lid_stay(points: NDArray[np.float32]) -> None:
    """Else the performer's own lids show under the identity's brows."""
    picture = face()
    for brow, lid in ((slice(17, 22), [37, 38]), (slice(22, 27), [43, 44])):
        corners = np.concatenate([points[brow], points[lid]])
        cv2.fillConvexPoly(picture, cv2.convexHull(np.rint(corners).astype(np.int32)), HAIR)
    weight = skin_weight(picture, points)
    assert weight[picture[..., 0] < 0.5].mean() > 0.95


def test_a_picture_without_visible_cheeks_is_left_alone(points: NDArray[np.float32]) -> None:
    tiny = points * 0 + SIZE / 2
    np.testing.assert_array_equal(skin_weight(face(), tiny), 1)


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_actors_lose_hair_and_no_forehead(seed: int) -> None:
    shot = Actor(sample_identity(seed), detail=2).render(
        HeadState(pose=(20.0, 0.0, 0.0)), Stage(), 256, supersample=1
    )
    landmarks = shot.landmarks.astype(np.float32)
    matrix = similarity_from_landmarks(landmarks, SIZE, "face")
    crop, face_only = (
        cv2.warpAffine(each, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA)
        for each in (shot.image.astype(np.float32) / 255, shot.face_mask)
    )
    weight = skin_weight(crop, transform_points(matrix, landmarks))
    skin = cv2.erode(face_only, np.ones((7, 7))) > 0.99
    assert weight[skin].mean() > 0.97
