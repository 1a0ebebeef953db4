"""Faces turned to the front: the same face from any side, and signals that mean one thing each."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces.geometry import MIRROR, head_pose
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import (
    INNER_LIPS,
    INNER_LIPS_MESH,
    IRISES,
    MEAN_FACE,
    RIGID,
    SIGNALS,
    Shapes,
    aligned_landmarks,
    aligned_points,
    eye,
    has_mesh,
    landmarks_of,
    origin,
    pixels_per_unit,
    signals,
)
from swapper.types import COVERAGES, Coverage
from tests.faces.heads import expressive, in_crops, mesh_of, record, rotation, rotations, seen

Floats = NDArray[np.float64]

VIEWS = [*itertools.product((-45.0, -20.0, 0.0, 20.0, 45.0), (-20.0, 0.0, 20.0))]
SPEAKING = expressive(opening=0.12, smile=0.08, brows=0.05)
OWN_SIZE = 1.014813
"""Of that face in its frontal crop: crops are made by another average face."""


def turned_to_the_front(head: Floats, views: list[tuple[float, float]]) -> Shapes:
    return Shapes.of(in_crops(seen(head[None], rotations(views))))


# --- the front ------------------------------------------------------------------------------------


def test_landmarks_seen_from_any_side_are_the_same_front() -> None:
    shapes = turned_to_the_front(SPEAKING, VIEWS)
    assert np.abs(shapes.front - SPEAKING).max() < 1e-5


def test_a_mesh_seen_from_any_side_is_the_same_front() -> None:
    head = mesh_of(SPEAKING)
    shapes = turned_to_the_front(head, VIEWS)
    assert np.abs(shapes.front - OWN_SIZE * head).max() < 1e-4


@pytest.mark.parametrize("view", [(40.0, 0.0), (-30.0, 15.0), (0.0, 25.0), (0.0, -20.0)])
def test_a_face_that_never_looks_ahead_is_as_large_as_one_that_does(
    view: tuple[float, float],
) -> None:
    head = mesh_of(SPEAKING)
    shapes = turned_to_the_front(head, [view] * 3)
    assert np.abs(shapes.front - OWN_SIZE * head).max() < 1e-4


def test_the_front_of_a_mesh_keeps_its_own_depth_and_landmarks_borrow_it() -> None:
    deep = SPEAKING * (1.0, 1.0, 1.25)
    crops = in_crops(seen(mesh_of(deep)[None], rotations(VIEWS)))
    nose, cheek = 30, 2
    mesh, flat = Shapes.of(crops), Shapes.of(landmarks_of(crops)[..., :2])
    for shapes, depth in ((mesh, 1.25 * OWN_SIZE), (flat, 1.0)):
        found = shapes.landmarks[:, cheek, 2] - shapes.landmarks[:, nose, 2]
        wanted = MEAN_FACE[cheek, 2] - MEAN_FACE[nose, 2]
        assert found == pytest.approx(depth * wanted, abs=0.03)


@pytest.mark.parametrize("mesh", [False, True])
def test_expression_alone_tells_faces_of_one_person_apart(mesh: bool) -> None:
    heads = np.array([expressive(), expressive(opening=0.1), expressive(smile=0.1, brows=0.1)])
    turns = rotations([(30, 10), (-30, 0), (10, -15)])
    shown = np.array([mesh_of(each) for each in heads]) if mesh else heads
    found = Shapes.of(in_crops(seen(shown, turns))).landmarks
    size = found[0, 45, 0] - found[0, 36, 0]
    wanted = (heads - heads[0]) * (size / (MEAN_FACE[45, 0] - MEAN_FACE[36, 0]))
    assert np.abs(found - found[0] - wanted).max() < 1e-5


@pytest.mark.parametrize("mesh", [False, True])
def test_an_unusual_face_is_the_same_from_any_side(mesh: bool) -> None:
    """A tenth wider and shorter than the average, which lends landmarks its depth."""
    unusual = SPEAKING * (1.1, 0.9, 1.0)
    front = turned_to_the_front(mesh_of(unusual) if mesh else unusual, VIEWS).landmarks
    assert np.abs(front - front.mean(axis=0)).max() < (1e-5 if mesh else 3e-3)
    eyes = front[:, 45, 0] - front[:, 36, 0]
    assert eyes == pytest.approx(1.08, abs=0.015)


@pytest.mark.parametrize("mesh", [False, True])
def test_misread_faces_do_not_touch_the_others(mesh: bool) -> None:
    head = mesh_of(SPEAKING) if mesh else SPEAKING
    clean = in_crops(seen(head[None], rotations(VIEWS * 3)))
    spoilt = clean.copy()
    misread = np.array([5, 20, 33])
    noise = np.random.default_rng(0).normal(0, 0.5, spoilt[misread].shape)
    spoilt[misread] = 2 * spoilt[misread] + 1 + noise
    others = np.setdiff1d(np.arange(len(clean)), misread)
    moved = Shapes.of(spoilt).front[others] - Shapes.of(clean).front[others]
    assert np.abs(moved).max() < 1e-4


@pytest.mark.parametrize("mesh", [False, True])
def test_the_crop_comes_back_from_the_front(mesh: bool) -> None:
    head = mesh_of(SPEAKING) if mesh else SPEAKING
    crops = in_crops(seen(head[None], rotations(VIEWS)))
    shapes = Shapes.of(crops)
    again = np.einsum("nij,npj->npi", shapes.rotation, shapes.front)
    again = shapes.scale[:, None, None] * again + shapes.offset[:, None]
    assert np.abs(again[..., : crops.shape[2]] - crops).max() < 1e-6


def test_take_keeps_rows_together() -> None:
    shapes = turned_to_the_front(SPEAKING, VIEWS)
    some = shapes.take(np.array([4, 1]))
    assert len(some) == 2
    for got, whole in zip(
        (some.front, some.rotation, some.scale, some.offset),
        (shapes.front, shapes.rotation, shapes.scale, shapes.offset),
        strict=True,
    ):
        np.testing.assert_array_equal(got, whole[[4, 1]])


# --- pose -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mesh", [False, True])
def test_pose_is_yaw_and_pitch_in_degrees_however_the_crop_is_tilted(mesh: bool) -> None:
    head = mesh_of(SPEAKING) if mesh else SPEAKING
    shapes = turned_to_the_front(head, VIEWS)
    np.testing.assert_allclose(shapes.pose[:, :2], VIEWS, atol=1e-3)


def test_a_face_to_the_images_right_has_a_positive_yaw_and_one_up_a_positive_pitch() -> None:
    heads = seen(MEAN_FACE[None], rotations([(25, 0), (0, 20)]))
    shapes = Shapes.of(in_crops(heads))
    nose = heads[:, 30] - heads[:, [36, 45]].mean(axis=1)
    frontal = seen(MEAN_FACE[None], np.eye(3)[None])[0]
    ahead = frontal[30] - frontal[[36, 45]].mean(axis=0)
    assert nose[0, 0] > ahead[0] + 10
    assert nose[1, 1] < ahead[1] - 5
    assert shapes.pose[0, 0] > 20
    assert shapes.pose[1, 1] > 15


def test_roll_is_what_tips_the_crown_to_the_images_right() -> None:
    turns = np.array([rotation(0, 0, 10), rotation(20, 10, -15)])
    points = seen(MEAN_FACE[None], turns)[..., :2] / 100
    pose = Shapes.of(points).pose
    np.testing.assert_allclose(pose, [(0, 0, 10), (20, 10, -15)], atol=1e-6)
    assert points[0, 27, 0] > points[0, 8, 0]


# --- crops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("mesh", [False, True])
def test_units_do_not_depend_on_the_crop(size: int, coverage: Coverage, mesh: bool) -> None:
    head = mesh_of(SPEAKING) if mesh else SPEAKING
    points = seen(head[None], rotations(VIEWS[::4]))
    found = in_crops(points, size=size, coverage=coverage)
    np.testing.assert_allclose(found, in_crops(points), atol=1e-5)


def test_an_eye_distance_is_ninety_millimetres_from_between_the_eyes() -> None:
    points = in_crops(seen(MEAN_FACE[None], np.eye(3)[None]))[0]
    np.testing.assert_allclose(points[[36, 45]].mean(axis=0), (0, 0), atol=0.02)
    assert points[45, 0] - points[36, 0] == pytest.approx(1, abs=0.02)
    # 96 mm on either side of the middle, which lies 48 mm below the eyes.
    assert pixels_per_unit(192, "face") == pytest.approx(90)
    np.testing.assert_allclose(origin(192, "face"), (95.5, 47.5))


def test_depth_is_on_the_scale_of_the_crop() -> None:
    head = mesh_of(SPEAKING)
    crop = in_crops(seen(head[None], np.eye(3)[None]))[0]
    spans = crop.max(axis=0) - crop.min(axis=0)
    own = head.max(axis=0) - head.min(axis=0)
    np.testing.assert_allclose(spans / own, OWN_SIZE, rtol=1e-4)


def test_landmarks_of_frames_are_those_of_their_crops() -> None:
    points = seen(SPEAKING[None], rotations(VIEWS))[..., :2]
    np.testing.assert_allclose(aligned_landmarks(points), in_crops(points), atol=1e-5)


def test_frames_without_a_face_stay_nan() -> None:
    points = seen(SPEAKING[None], rotations(VIEWS[:4]))[..., :2]
    points[1] = np.nan
    points[2, 40, 0] = np.nan
    found = aligned_landmarks(points)
    assert np.isnan(found[[1, 2]]).all()
    np.testing.assert_array_equal(found[[0, 3]], aligned_landmarks(points[[0, 3]]))


def test_a_face_without_a_mesh_is_refused_where_the_mesh_is_wanted() -> None:
    flat = seen(MEAN_FACE[None], np.eye(3)[None])[0]
    bare = record(flat, 256, "face", None)
    assert not has_mesh([bare])
    assert has_mesh([record(flat, 256, "face", mesh_of(flat))])
    with pytest.raises(ValueError, match="face 0 has no mesh"):
        aligned_points([bare], 256, "face", mesh=True)


@pytest.mark.parametrize(
    "shape", [(0, 478, 3), (0, 68, 2), (3, 68, 3), (3, 478, 2), (3, 67, 2), (68, 2)]
)
def test_other_points_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"points must be \(N, 478, 3\) or \(N, 68, 2\), got"):
        Shapes.of(np.zeros(shape))


# --- what the points are --------------------------------------------------------------------------


def test_the_average_face_is_symmetrical() -> None:
    np.testing.assert_array_equal(MEAN_FACE[MIRROR] * (-1, 1, 1), MEAN_FACE)
    assert (np.abs(MEAN_FACE).sum(axis=1) > 0).all()
    assert set(MIRROR[RIGID]) == set(RIGID)


def test_the_mesh_outlines_the_same_mouth_as_the_landmarks() -> None:
    landmarks = MESH_OF_LANDMARK[INNER_LIPS]
    places = [INNER_LIPS_MESH.tolist().index(point) for point in landmarks]
    assert places == sorted(places)
    assert places[0] == 0


def test_an_eye_is_told_by_its_corners() -> None:
    mesh = np.zeros((478, 3))
    _, inner, outer = IRISES[0]
    mesh[inner], mesh[outer] = (0.4, 0.1, 0.0), (0.1, 0.5, 0.0)
    middle, width = eye(mesh, inner, outer)
    np.testing.assert_allclose(middle, (0.25, 0.3, 0))
    assert width == pytest.approx(0.5)


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "move", "changed"),
    [
        ([65, 66, 67], (0, 0.1), {"mouth_opening": 0.1}),
        ([61, 62, 63], (0, -0.04), {"mouth_opening": 0.04}),
        ([54, 64], (0.05, 0), {"mouth_width": 0.05}),
        ([48, 60], (-0.05, 0), {"mouth_width": 0.05}),
        ([48, 54], (0, -0.06), {"mouth_corners": 0.06}),
        ([57], (0, 0.1), {"mouth_corners": 0.05}),
        ([17, 18, 19, 20, 21], (0, -0.05), {"brow_left": 0.05}),
        ([22, 23, 24, 25, 26], (0, -0.05), {"brow_right": 0.05}),
        ([22], (0, -0.05), {"brow_right": 0.01}),
        ([40, 41], (0, 0.02), {"lid_left": 0.02}),
        ([37, 38], (0, 0.02), {"lid_left": -0.02}),
        ([46, 47], (0, 0.02), {"lid_right": 0.02}),
        ([43, 44], (0, 0.02), {"lid_right": -0.02}),
        ([47], (0, 0.02), {"lid_right": 0.01}),
        ([8], (0, 0.07), {"jaw": 0.07}),
        ([33], (0, -0.02), {"jaw": 0.02}),
        ([17], (0, -0.05), {"brow_left": 0.01}),
        ([21], (0, -0.05), {"brow_left": 0.01}),
        ([45], (0, 0.02), {"brow_right": 0.01}),
        ([36], (0, 0.02), {"brow_left": 0.01}),
        ([60, 64, 65, 67], (0, 0.02), {}),
        ([60], (0.02, 0), {}),
        ([*range(48, 68)], (0.1, 0.1), {}),
        ([*range(68)], (0.3, -0.2), {}),
    ],
)
def test_a_signal_says_what_it_names_and_nothing_else(
    points: list[int], move: tuple[float, float], changed: dict[str, float]
) -> None:
    face = MEAN_FACE[:, :2].copy()
    face[points] += move
    difference = (signals(face[None]) - signals(MEAN_FACE[None]))[0]
    wanted = [changed.get(name, 0.0) for name in SIGNALS]
    np.testing.assert_allclose(difference, wanted, atol=1e-12)


# --- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", ["a", "d"])
def test_pose_moves_real_landmarks_less_once_they_are_turned(shared: Path, clip: str) -> None:
    """Of the two clips in which heads turn; pose is that of `head_pose`, which knows no front."""
    table = np.genfromtxt(shared / f"real/clip_{clip}.openface.csv", delimiter=",", skip_header=1)
    frames = np.stack([table[:, 5:73], table[:, 73:141]], axis=2)
    aligned = aligned_landmarks(frames)
    front = Shapes.of(aligned).front[..., :2]
    size = (512, 512) if clip == "a" else (1280, 720)
    pose = np.array([head_pose(each.astype(np.float32), size)[:2] for each in frames])
    before, after = (explained(points, pose) for points in (aligned, front))
    assert after < 0.5 * before


def explained(points: Floats, pose: Floats) -> float:
    """Variance of points (T, 68, 2) that a straight line in yaw and pitch explains."""
    flat = points.reshape(len(points), -1)
    design = np.column_stack([np.ones(len(pose)), pose])
    fitted = design @ np.linalg.lstsq(design, flat, rcond=None)[0]
    return float(np.square(fitted - flat.mean(axis=0)).mean())
