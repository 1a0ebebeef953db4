from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces import geometry
from swapper.faces.tracking import CutDetector, Smoother, Tracker, smooth_alignments
from swapper.types import Face
from tests.faces.conftest import StillFrame, drawn_landmarks, placed

SIZE = 128
GREY = np.full((90, 160, 3), 128, np.uint8)


def face(x: float, y: float = 150.0, scale: float = 1.0) -> Face:
    return Face(placed(drawn_landmarks(), scale=scale, at=(x, y)))


def matrix(
    x: float, y: float = 0.0, log_scale: float = 0.0, angle: float = 0.0
) -> NDArray[np.float64]:
    """aligned_from_frame of a crop whose middle lies at x, y of the frame."""
    middle, scale = (SIZE - 1) / 2, math.exp(log_scale)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    return np.hstack([linear, (middle - linear @ (x, y))[:, None]])


def middle(m: NDArray[np.float64]) -> NDArray[np.float32]:
    return geometry.transform_points(geometry.invert(m), np.full((1, 2), (SIZE - 1) / 2))[0]


def smoothed(
    matrices: list[NDArray[np.float64] | None], radius: int
) -> list[dict[int, NDArray[np.float64]]]:
    smoother: Smoother[int] = Smoother(radius, SIZE)
    ready = []
    for i, each in enumerate(matrices):
        ready += smoother.push(i, {} if each is None else {1: each})
    ready += smoother.finish()
    assert [i for i, _ in ready] == list(range(len(matrices)))
    return [found for _, found in ready]


class TestTracker:
    def test_numbers_last_whatever_the_order(self) -> None:
        tracker = Tracker()
        assert [f.track for f in tracker([face(100), face(400)])] == [1, 2]
        assert [f.track for f in tracker([face(405), face(110)])] == [2, 1]
        assert [f.track for f in tracker([face(120), face(410), face(700)])] == [1, 2, 3]

    def test_the_better_overlap_wins(self) -> None:
        tracker = Tracker()
        tracker([face(100), face(170)])
        assert [f.track for f in tracker([face(160), face(98)])] == [2, 1]

    def test_quick_moves_are_followed_but_not_jumps_or_other_sizes(self) -> None:
        tracker = Tracker()
        tracker([face(200)])
        assert tracker([face(290)])[0].track == 1
        assert tracker([face(600)])[0].track == 2
        tracker.reset()
        tracker([face(200)])
        assert tracker([face(200, scale=4)])[0].track == 4

    def test_short_gaps_are_bridged_and_long_ones_not(self) -> None:
        tracker = Tracker(max_gap=2)
        tracker([face(200)])
        tracker([])
        tracker([])
        assert tracker([face(205)])[0].track == 1
        for _ in range(3):
            tracker([])
        assert tracker([face(205)])[0].track == 2

    def test_reset_never_uses_a_number_again(self) -> None:
        tracker = Tracker()
        tracker([face(200)])
        tracker.reset()
        assert tracker([face(200)])[0].track == 2

    def test_what_it_remembers_is_bounded(self) -> None:
        tracker = Tracker(max_gap=3)
        for i in range(200):
            tracker([face(1000.0 * i)])
        assert len(tracker._last) <= 5

    def test_a_negative_gap_is_refused(self) -> None:
        with pytest.raises(ValueError, match="max_gap"):
            Tracker(max_gap=-1)


class TestSmoother:
    def test_radius_zero_changes_and_delays_nothing(self) -> None:
        smoother: Smoother[str] = Smoother(0, SIZE)
        given = matrix(3.7, 1.1, 0.2, 0.3)
        ((item, found),) = smoother.push("frame", {4: given})
        assert item == "frame"
        np.testing.assert_array_equal(found[4], given)
        assert smoother.finish() == []

    def test_delay_is_the_radius(self) -> None:
        smoother: Smoother[int] = Smoother(3, SIZE)
        given = [len(smoother.push(i, {1: matrix(i)})) for i in range(6)]
        assert given == [0, 0, 0, 1, 1, 1]
        assert [i for i, _ in smoother.finish()] == [3, 4, 5]

    @pytest.mark.parametrize("radius", [1, 2, 5])
    def test_steady_motion_is_not_held_back_even_at_the_ends(self, radius: int) -> None:
        moving: list[NDArray[np.float64] | None] = [
            matrix(10 + 3 * i, 500 - 2 * i, 0.02 * i, 0.03 * i) for i in range(20)
        ]
        for before, after in zip(moving, smoothed(moving, radius), strict=True):
            assert before is not None
            np.testing.assert_allclose(after[1], before, atol=1e-9 * 1e3)

    def test_jitter_goes_down(self) -> None:
        draw = np.random.default_rng(0)
        noisy: list[NDArray[np.float64] | None] = [
            matrix(100 + draw.normal(), 100 + draw.normal(), draw.normal(0, 0.01))
            for _ in range(200)
        ]
        after = np.array([middle(found[1]) for found in smoothed(noisy, 4)])
        before = np.array([middle(each) for each in noisy if each is not None])
        assert after.std() < 0.6 * before.std()
        assert np.abs(after.mean(axis=0) - before.mean(axis=0)).max() < 0.1

    def test_half_a_turn_is_no_jump(self) -> None:
        angles = [math.pi - 0.05 + 0.01 * i for i in range(11)]
        turning: list[NDArray[np.float64] | None] = [matrix(0, 0, 0, angle) for angle in angles]
        for before, after in zip(turning, smoothed(turning, 4), strict=True):
            assert before is not None
            np.testing.assert_allclose(after[1], before, atol=1e-6)

    def test_a_gap_parts_a_track(self) -> None:
        still_then_elsewhere = [matrix(0)] * 5 + [None] + [matrix(50)] * 5
        found = smoothed(still_then_elsewhere, 3)
        assert found[5] == {}
        positions = [float(middle(each[1])[0]) for i, each in enumerate(found) if i != 5]
        np.testing.assert_allclose(positions, [0] * 5 + [50] * 5, atol=1e-6)

    def test_far_from_the_origin_rotation_noise_does_not_shake_the_crop(self) -> None:
        draw = np.random.default_rng(0)
        noisy: list[NDArray[np.float64] | None] = [
            matrix(3000, 2000, 0, draw.normal(0, 0.02)) for _ in range(50)
        ]
        for found in smoothed(noisy, 3):
            np.testing.assert_allclose(middle(found[1]), (3000, 2000), atol=1e-2)

    def test_memory_is_bounded(self) -> None:
        smoother: Smoother[int] = Smoother(4, SIZE)
        for i in range(300):
            smoother.push(i, {1: matrix(i)})
            assert len(smoother._poses) <= 2 * 4 + 1
            assert len(smoother._waiting) <= 4

    def test_it_can_be_used_again(self) -> None:
        smoother: Smoother[int] = Smoother(2, SIZE)
        for x in (0.0, 900.0):
            ready = [each for i in range(5) for each in smoother.push(i, {1: matrix(x)})]
            ready += smoother.finish()
            assert [round(float(middle(found[1])[0])) for _, found in ready] == [x] * 5


def test_cuts_are_told_from_motion() -> None:
    is_cut = CutDetector()
    draw = np.random.default_rng(0)
    shot = draw.integers(60, 120, (90, 160, 3), dtype=np.uint8)
    assert not is_cut(shot)
    assert not is_cut(np.roll(shot, 3, axis=1))
    assert is_cut(255 - shot)
    assert not is_cut(255 - shot)


class TestSmoothAlignments:
    def frames(self, count: int) -> Iterator[tuple[StillFrame, list[Face]]]:
        for i in range(count):
            yield StillFrame(i, GREY), [face(200.0 + (i % 2)), face(500.0)]

    @pytest.mark.parametrize("radius", [0, 2])
    def test_every_frame_comes_back_in_order_with_its_faces(self, radius: int) -> None:
        found = list(smooth_alignments(self.frames(7), radius, size=SIZE, coverage="face"))
        assert [frame.index for frame, _ in found] == list(range(7))
        for _, faces in found:
            assert [each.track for each, _ in faces] == [1, 2]
        wobble = [faces[0][1] for _, faces in found]
        raw = geometry.similarity_from_landmarks(face(200.0).landmarks, SIZE, "face")
        if radius == 0:
            np.testing.assert_array_equal(wobble[0], raw)
            np.testing.assert_array_equal(wobble[2], raw)
        else:
            assert np.ptp([middle(m)[0] for m in wobble[2:-2]]) < 0.5

    def test_smoothing_stops_at_a_cut(self) -> None:
        shots = [(StillFrame(i, GREY), [face(200.0)]) for i in range(4)]
        shots += [(StillFrame(4 + i, GREY // 4), [face(230.0)]) for i in range(4)]
        found = list(smooth_alignments(shots, 3, size=SIZE, coverage="face"))
        tracks = [faces[0][0].track for _, faces in found]
        assert tracks == [1] * 4 + [2] * 4
        expected = geometry.similarity_from_landmarks(face(200.0).landmarks, SIZE, "face")
        np.testing.assert_allclose(found[3][1][0][1], expected, atol=1e-6)

    def test_faces_without_a_shape_are_left_out(self) -> None:
        dead = Face(np.full((68, 2), 5, np.float32))
        found = list(
            smooth_alignments(
                [(StillFrame(0, GREY), [dead, face(200)])], 2, size=SIZE, coverage="face"
            )
        )
        assert [len(faces) for _, faces in found] == [1]

    def test_no_more_than_the_radius_of_frames_is_held(self) -> None:
        alive: list[weakref.ref[StillFrame]] = []

        def clip() -> Iterator[tuple[StillFrame, list[Face]]]:
            for i in range(60):
                frame = StillFrame(i, GREY)
                alive.append(weakref.ref(frame))
                yield frame, [face(200.0)]

        most = 0
        for _ in smooth_alignments(clip(), 3, size=SIZE, coverage="face"):
            gc.collect(0)
            most = max(most, sum(each() is not None for each in alive))
        assert most <= 3 + 3

    def test_real_footage_gets_steadier(
        self, real_landmarks: dict[str, NDArray[np.float32]]
    ) -> None:
        clip = [
            (StillFrame(i, GREY), [Face(each)])
            for i, each in enumerate(real_landmarks["clip_b"][:200])
        ]
        shake = []
        for radius in (0, 4):
            found = list(smooth_alignments(clip, radius, size=SIZE, coverage="face"))
            path = np.array([middle(faces[0][1]) for _, faces in found])
            shake.append(np.sqrt((np.diff(path, n=2, axis=0) ** 2).sum(axis=1).mean()))
        assert shake[1] < 0.4 * shake[0]
