from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from swapper.faces import geometry
from swapper.types import COVERAGES, Coverage
from tests.faces.conftest import placed
from tests.faces.heads import flip_landmarks


def similarity(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[scale * c, -scale * s, x], [scale * s, scale * c, y]])


def head(
    yaw: float,
    pitch: float,
    roll: float,
    *,
    at: tuple[float, float, float] = (0.0, 0.0, 800.0),
    focal: float = 640.0,
    size: tuple[int, int] = (640, 480),
) -> NDArray[np.float32]:
    """Landmarks of the generic head seen by a camera, turned by yaw, then pitch, then roll."""
    y, p, r = (math.radians(v) for v in (yaw, pitch, roll))
    about_y = [[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]]
    about_x = [[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]]
    about_z = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
    rotation = np.array(about_z) @ np.array(about_x) @ np.array(about_y)
    points = (rotation @ geometry._MODEL_MM.T).T + at
    landmarks = np.zeros((68, 2))
    middle = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    landmarks[geometry._INDICES] = points[:, :2] / points[:, 2:] * focal + middle
    return landmarks.astype(np.float32)


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("degrees", [0.0, 37.0, -120.0, 180.0])
def test_crop_is_upright_and_the_same_wherever_the_face_is(
    face_mm: NDArray[np.float64], coverage: Coverage, degrees: float
) -> None:
    plain = placed(face_mm, scale=2.0)
    moved = placed(face_mm, scale=0.7, degrees=degrees, at=(900.0, -40.0))
    expected = geometry.transform_points(
        geometry.similarity_from_landmarks(plain, 256, coverage), plain
    )
    found = geometry.transform_points(
        geometry.similarity_from_landmarks(moved, 256, coverage), moved
    )
    np.testing.assert_allclose(found, expected, atol=2e-2)
    eyes_left, eyes_right = found[36:42].mean(axis=0), found[42:48].mean(axis=0)
    assert eyes_left[1] == pytest.approx(eyes_right[1], abs=0.05)
    assert eyes_left[0] + eyes_right[0] == pytest.approx(255.0, abs=0.1)


def test_similarity_has_no_shear_or_reflection(face_mm: NDArray[np.float64]) -> None:
    noisy = placed(face_mm) + np.random.default_rng(0).normal(0, 3, (68, 2)).astype(np.float32)
    linear = geometry.similarity_from_landmarks(noisy, 64, "face")[:, :2]
    scale = np.linalg.det(linear)
    assert scale > 0
    np.testing.assert_allclose(linear @ linear.T, scale * np.eye(2), atol=1e-12)


def test_an_open_jaw_and_a_blink_leave_the_crop_alone(face_mm: NDArray[np.float64]) -> None:
    shut = placed(face_mm, scale=2.0)
    acting = face_mm.copy()
    acting[4:13] += (0, 30)
    acting[55:60] += (0, 26)
    acting[64:68] += (0, 25)
    acting[17:27] -= (0, 10)
    acting[[37, 38, 43, 44]] += (0, 8)
    np.testing.assert_array_equal(
        geometry.similarity_from_landmarks(shut, 256, "face"),
        geometry.similarity_from_landmarks(placed(acting, scale=2.0), 256, "face"),
    )
    inside = geometry.transform_points(
        geometry.similarity_from_landmarks(shut, 256, "face"), placed(acting, scale=2.0)
    )
    assert inside.min() >= 0
    assert inside.max() <= 255


def test_a_smile_moves_the_crop_little(face_mm: NDArray[np.float64]) -> None:
    smile = face_mm.copy()
    smile[[48, 54]] += [(-8, -8), (8, -8)]
    calm = geometry.similarity_from_landmarks(placed(face_mm), 256, "face")
    happy = geometry.similarity_from_landmarks(placed(smile), 256, "face")
    eyes = placed(face_mm)[36:48]
    moved = geometry.transform_points(happy, eyes) - geometry.transform_points(calm, eyes)
    assert np.abs(moved).max() < 2.0


@pytest.mark.parametrize("yaw", [-50.0, 50.0])
def test_a_turned_head_keeps_its_place_and_size(yaw: float) -> None:
    front, turned = head(0, 0, 0), head(yaw, 0, 0)
    at_front = geometry.similarity_from_landmarks(front, 256, "face")
    at_turned = geometry.similarity_from_landmarks(turned, 256, "face")
    assert 0.9 < geometry.scale_of(at_turned) / geometry.scale_of(at_front) < 1.35
    nose = geometry.transform_points(at_turned, turned)[[27, 33]]
    assert (np.abs(nose - geometry.transform_points(at_front, front)[[27, 33]]) < 32).all()


def test_wider_coverage_shows_more(face_mm: NDArray[np.float64]) -> None:
    landmarks = placed(face_mm)
    scales = [
        geometry.scale_of(geometry.similarity_from_landmarks(landmarks, 256, coverage))
        for coverage in COVERAGES
    ]
    assert scales == sorted(scales, reverse=True)
    crown = placed(np.array([[0.0, -140.0]]))
    for coverage, seen in (("face", False), ("full", False), ("head", True)):
        matrix = geometry.similarity_from_landmarks(landmarks, 256, coverage)
        assert bool(geometry.transform_points(matrix, crown)[0, 1] >= 0) is seen


def test_every_expression_of_the_real_clips_stays_inside(
    real_landmarks: dict[str, NDArray[np.float32]],
) -> None:
    for landmarks in real_landmarks.values():
        aligned = np.stack(
            [
                geometry.transform_points(
                    geometry.similarity_from_landmarks(each, 256, "face"), each
                )
                for each in landmarks
            ]
        )
        assert aligned.min() >= 0
        assert aligned.max() <= 255
        eyes = aligned[:, [36, 39, 42, 45]].mean(axis=1)
        assert eyes.std(axis=0).max() < 2.5


@pytest.mark.parametrize(
    "landmarks",
    [
        np.full((68, 2), 7.0),
        np.full((68, 2), np.nan),
        np.full((68, 2), np.inf),
        np.zeros((5, 2)),
        np.full((68, 2), 7.0) + np.random.default_rng(0).normal(0, 1e-3, (68, 2)),
    ],
    ids=["point", "nan", "inf", "five", "speck"],
)
def test_dead_landmarks_are_refused(landmarks: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        geometry.similarity_from_landmarks(landmarks.astype(np.float32), 256, "face")
    with pytest.raises(ValueError, match="landmarks"):
        geometry.head_pose(landmarks.astype(np.float32), (640, 480))


def test_impossible_settings_are_refused(face_mm: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"coverage .*face, full, head"):
        geometry.similarity_from_landmarks(placed(face_mm), 256, "half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size"):
        geometry.similarity_from_landmarks(placed(face_mm), 0, "face")


@given(
    scale=st.floats(0.01, 100),
    degrees=st.floats(-180, 180),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
)
def test_invert_and_compose(scale: float, degrees: float, x: float, y: float) -> None:
    matrix = similarity(scale, degrees, x, y)
    np.testing.assert_allclose(
        geometry.compose(geometry.invert(matrix), matrix), np.eye(2, 3), atol=1e-6
    )
    other = similarity(2.0, 10.0, 3.0, -4.0)
    points = np.array([[0.0, 0.0], [13.0, -7.0]])
    one_by_one = geometry.transform_points(other, geometry.transform_points(matrix, points))
    at_once = geometry.transform_points(geometry.compose(other, matrix), points)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-4, atol=0.05)


def test_a_flat_transform_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="inverse"):
        geometry.invert(np.zeros((2, 3)))


class TestWarp:
    picture = np.random.default_rng(1).integers(0, 256, (48, 40, 3), dtype=np.uint8)

    def test_identity_and_whole_shifts_are_exact(self) -> None:
        np.testing.assert_array_equal(
            geometry.warp(self.picture, np.eye(2, 3), (40, 48)), self.picture
        )
        shifted = geometry.warp(self.picture, similarity(1, 0, -5, -3), (35, 45))
        np.testing.assert_array_equal(shifted, self.picture[3:, 5:])

    def test_halving_averages_blocks_with_centres_at_integers(self) -> None:
        even = geometry.warp(self.picture, similarity(0.5, 0, -0.25, -0.25), (20, 24))
        blocks = self.picture.reshape(24, 2, 20, 2, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(even, blocks, atol=0.51)

    @pytest.mark.parametrize("scale", [0.6, 0.31, 0.07])
    def test_shrinking_does_not_alias(self, scale: float) -> None:
        board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
        size = round(300 * scale)
        matrix = similarity(scale, 8, 0, 0)
        matrix[:, 2] = (size - 1) / 2 - matrix[:, :2] @ (255.5, 255.5)
        assert geometry.warp(board, matrix, size).std() < 6
        assert cv2.warpAffine(board, matrix, (size, size)).std() > 40

    def test_enlarging_is_smooth_and_invertible(self) -> None:
        smooth = cv2.GaussianBlur(self.picture, (0, 0), 2.5)
        matrix = similarity(2.5, 20, 10, 5)
        large = geometry.warp(smooth, matrix, 160)
        back = geometry.warp(large, geometry.invert(matrix), (40, 48))
        inside = (slice(12, 30), slice(14, 30))
        assert np.abs(back[inside].astype(int) - smooth[inside]).max() <= 3

    def test_borders(self) -> None:
        far = similarity(1, 0, 30, 0)
        kept = geometry.warp(self.picture, far, (40, 48))
        np.testing.assert_array_equal(kept[:, :25], np.repeat(self.picture[:, :1], 25, axis=1))
        assert not geometry.warp(self.picture, far, (40, 48), border="zero")[:, :25].any()

    def test_nearest_invents_no_values(self) -> None:
        labels = np.random.default_rng(0).choice(np.array([0, 90, 255], np.uint8), (40, 40))
        drawn = geometry.warp(labels, similarity(0.37, 13, 3, 1), 16, interpolation="nearest")
        assert set(np.unique(drawn)) <= {0, 90, 255}

    @pytest.mark.parametrize("shape", [(30, 20), (30, 20, 1), (30, 20, 3), (30, 20, 4)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    @pytest.mark.parametrize("scale", [0.3, 1.3])
    def test_shape_and_type_survive(
        self, shape: tuple[int, ...], dtype: type[np.generic], scale: float
    ) -> None:
        flat = np.full(shape, 7, dtype=dtype)
        drawn = geometry.warp(flat, similarity(scale, 5, 2, 2), 17)
        assert drawn.shape == (17, 17, *shape[2:])
        assert drawn.dtype == dtype
        np.testing.assert_allclose(drawn, 7, atol=1e-4)

    def test_a_vanishing_scale_stays_bounded(self) -> None:
        assert geometry.warp(self.picture, similarity(1e-7, 0, 0, 0), 64).shape == (64, 64, 3)

    def test_an_empty_picture_is_refused(self) -> None:
        with pytest.raises(ValueError, match="picture"):
            geometry.warp(np.zeros((0, 4, 3), np.uint8), np.eye(2, 3), 4)


class TestHeadPose:
    @given(yaw=st.floats(-70, 70), pitch=st.floats(-35, 35), roll=st.floats(-170, 170))
    def test_known_rotations_come_back(self, yaw: float, pitch: float, roll: float) -> None:
        found = geometry.head_pose(head(yaw, pitch, roll), (640, 480))
        np.testing.assert_allclose(found, (yaw, pitch, roll), atol=0.05)

    def test_a_wrong_guess_of_the_lens_matters_little(self) -> None:
        far = head(30, 10, 5, at=(0, 0, 3000), focal=2600)
        np.testing.assert_allclose(geometry.head_pose(far, (640, 480)), (30, 10, 5), atol=2.0)

    def test_noise_matters_little(self) -> None:
        draw = np.random.default_rng(0)
        errors = []
        for _ in range(100):
            wanted = draw.uniform((-45, -20, -30), (45, 20, 30))
            noisy = head(*wanted) + draw.normal(0, 1, (68, 2)).astype(np.float32)
            errors.append(np.abs(np.subtract(geometry.head_pose(noisy, (640, 480)), wanted)))
        assert np.median(errors, axis=0).max() < 2.0
        assert np.max(errors) < 9.0

    def test_at_the_rim_of_the_frame_pose_is_what_is_seen(self) -> None:
        # Parallel to the camera's axis but to its right: the lens sees the face turned away.
        seen = geometry.head_pose(head(0, 0, 0, at=(300, 0, 800)), (640, 480))
        assert seen[0] == pytest.approx(math.degrees(math.atan2(300, 800)), abs=0.5)

    @given(seed=st.integers(0, 1000))
    def test_nonsense_stays_bounded(self, seed: int) -> None:
        points = np.random.default_rng(seed).uniform(-50, 700, (68, 2)).astype(np.float32)
        yaw, pitch, roll = geometry.head_pose(points, (640, 480))
        assert abs(yaw) <= 90
        assert abs(pitch) <= 90
        assert abs(roll) <= 180

    def test_mirroring_flips_yaw_and_roll(self) -> None:
        landmarks = head(25, 10, 15)
        mirrored = flip_landmarks(landmarks, 640)
        found = geometry.head_pose(mirrored, (640, 480))
        np.testing.assert_allclose(found, (-25, 10, -15), atol=0.05)

    def test_real_performers_face_us(self, real_landmarks: dict[str, NDArray[np.float32]]) -> None:
        for landmarks in real_landmarks.values():
            poses = np.array([geometry.head_pose(each, (500, 500)) for each in landmarks[::10]])
            assert (np.abs(np.median(poses, axis=0)) < (5, 12, 5)).all()
            assert (np.abs(poses) < (40, 30, 20)).all()


def test_sharpness_falls_with_blur_and_ignores_contrast() -> None:
    draw = np.random.default_rng(0)
    sharp = cv2.resize(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8), (128, 128))
    blurred = [cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (0.7, 1.5, 4.0)]
    values = [geometry.sharpness(each) for each in (sharp, *blurred)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 5 * values[2]
    flat = (sharp.astype(np.float32) * 0.5 + 60).astype(np.uint8)
    assert geometry.sharpness(flat) == pytest.approx(values[0], rel=0.05)
    assert geometry.sharpness(np.zeros((64, 64, 3), np.uint8)) == 0.0
