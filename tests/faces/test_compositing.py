from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swapper.faces import compositing, geometry

Matrix = NDArray[np.float64]
DRAW = np.random.default_rng(3)
FRAME = cv2.GaussianBlur(DRAW.integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 1.5)
SIZE = 64


def similarity(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]])


def solid(value: float, size: int = SIZE) -> NDArray[np.float32]:
    return np.full((size, size, 3), value, np.float32)


def disc(size: int = SIZE, radius: float = 20.0) -> NDArray[np.float32]:
    y, x = np.indices((size, size)) - (size - 1) / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


class TestComposite:
    def test_a_whole_shift_is_exact(self) -> None:
        mask = np.zeros((SIZE, SIZE), np.float32)
        mask[10:20, 30:50] = 1.0
        picture, changed = compositing.composite(
            FRAME, solid(1.0), mask, similarity(1, 0, -40, -25)
        )
        expected = FRAME.copy()
        expected[35:45, 70:90] = 255
        np.testing.assert_array_equal(picture, expected)
        np.testing.assert_array_equal(changed, (expected != FRAME).any(axis=2))

    @pytest.mark.parametrize("matrix", [similarity(1.7, 15, -20, -60), similarity(0.4, -70, 9, 70)])
    def test_the_mask_in_the_frame_is_what_composite_laid(self, matrix: Matrix) -> None:
        black = np.zeros_like(FRAME)
        picture, _ = compositing.composite(black, solid(1.0), disc(), matrix)
        mask = compositing.mask_in_frame(disc(), matrix, (FRAME.shape[1], FRAME.shape[0]))
        assert mask.shape == FRAME.shape[:2]
        assert mask.dtype == np.float32
        np.testing.assert_array_equal(np.rint(mask * 255), picture[..., 0])
        assert picture.any()

    def test_a_mask_beside_the_frame_is_empty(self) -> None:
        mask = compositing.mask_in_frame(disc(), similarity(1, 0, 9000, 0), (160, 120))
        assert mask.shape == (120, 160)
        assert not mask.any()

    @settings(max_examples=40, deadline=None)
    @given(
        scale=st.floats(0.2, 6),
        degrees=st.floats(-180, 180),
        x=st.floats(-200, 200),
        y=st.floats(-200, 200),
    )
    def test_outside_the_mask_the_frame_is_kept_to_the_bit(
        self, scale: float, degrees: float, x: float, y: float
    ) -> None:
        matrix = similarity(scale, degrees, x, y)
        picture, changed = compositing.composite(FRAME, solid(0.0), disc(), matrix)
        np.testing.assert_array_equal(picture[~changed], FRAME[~changed])
        np.testing.assert_array_equal(changed, (picture != FRAME).any(axis=2))
        rows, columns = np.nonzero(changed)
        aligned = geometry.transform_points(matrix, np.stack([columns, rows], axis=1))
        distance = np.hypot(*(aligned - (SIZE - 1) / 2).T)
        # A pixel of the frame sees the mask within a pixel of the coarser of the two grids.
        assert (distance < 20.5 + 1.5 * max(1.0, scale) * math.sqrt(2)).all()

    def test_the_middle_of_the_mask_is_the_swap(self) -> None:
        picture, changed = compositing.composite(
            FRAME, solid(0.5), disc(), similarity(0.8, 30, 0, -40)
        )
        centre = geometry.transform_points(
            geometry.invert(similarity(0.8, 30, 0, -40)), np.array([[31.5, 31.5]])
        )[0]
        x, y = (round(float(v)) for v in centre)
        assert (np.abs(picture[y - 5 : y + 6, x - 5 : x + 6].astype(int) - 127.5) <= 1).all()
        assert changed[y - 5 : y + 6, x - 5 : x + 6].mean() > 0.9

    def test_the_input_is_left_alone(self) -> None:
        before = FRAME.copy()
        compositing.composite(FRAME, solid(1.0), disc(), similarity(1, 0, 0, 0))
        np.testing.assert_array_equal(FRAME, before)

    @pytest.mark.parametrize("size", [32, 64, 256])
    def test_a_frame_pasted_on_itself_hardly_changes(self, size: int) -> None:
        smooth = cv2.GaussianBlur(FRAME, (0, 0), 4)
        matrix = similarity(size / 80, 12, size * 0.1, -size * 0.2)
        aligned = geometry.warp(smooth, matrix, size).astype(np.float32) / 255
        picture, _ = compositing.composite(smooth, aligned, disc(size, size * 0.3), matrix)
        assert np.abs(picture.astype(int) - smooth).max() <= 6
        assert np.abs(picture.astype(int) - smooth).mean() < 0.5

    def test_a_large_swap_shrinks_without_aliasing(self) -> None:
        board = (np.indices((512, 512)).sum(axis=0) % 2).astype(np.float32)
        swap = np.repeat(board[..., None], 3, axis=2)
        matrix = similarity(512 / 60, 7, -200, -150)
        grey = np.full((120, 160, 3), 10, np.uint8)
        picture, changed = compositing.composite(grey, swap, disc(512, 200), matrix)
        values = picture[cv2.erode(changed.astype(np.uint8), np.ones((9, 9))) > 0]
        assert values.size > 0
        assert values.std() < 8
        assert values.mean() == pytest.approx(127.5, abs=3)

    def test_the_edge_is_antialiased(self) -> None:
        black = np.zeros((120, 160, 3), np.uint8)
        picture, _ = compositing.composite(black, solid(1.0), disc(), similarity(1.7, 15, -20, -60))
        edge = picture[..., 0]
        assert ((edge > 20) & (edge < 235)).sum() > 40

    @pytest.mark.parametrize(
        "matrix",
        [similarity(1, 0, 1e4, 0), similarity(1, 0, -1e4, -1e4), similarity(40, 0, -1e5, 3)],
    )
    def test_a_face_outside_the_frame_changes_nothing(self, matrix: NDArray[np.float64]) -> None:
        picture, changed = compositing.composite(FRAME, solid(1.0), disc(), matrix)
        np.testing.assert_array_equal(picture, FRAME)
        assert not changed.any()

    def test_an_empty_mask_changes_nothing(self) -> None:
        empty = np.zeros((SIZE, SIZE), np.float32)
        picture, changed = compositing.composite(FRAME, solid(1.0), empty, similarity(1, 0, 0, 0))
        np.testing.assert_array_equal(picture, FRAME)
        assert not changed.any()

    def test_values_out_of_range_are_limited(self) -> None:
        picture, _ = compositing.composite(
            FRAME, solid(9.0), disc() * 5, similarity(1, 0, -20, -20)
        )
        assert picture[50, 50].tolist() == [255, 255, 255]

    def test_misfits_are_refused(self) -> None:
        plain = similarity(1, 0, 0, 0)
        with pytest.raises(ValueError, match="square"):
            compositing.composite(FRAME, solid(1.0), disc(32), plain)
        with pytest.raises(ValueError, match="frame"):
            compositing.composite(FRAME[..., 0], solid(1.0), disc(), plain)
        with pytest.raises(ValueError, match="finite"):
            compositing.composite(FRAME, solid(np.nan), disc(), plain)
        with pytest.raises(ValueError, match="inverse"):
            compositing.composite(FRAME, solid(1.0), disc(), np.zeros((2, 3)))


class TestShapeMask:
    def test_the_border_is_zero_whatever_the_mask(self) -> None:
        full = np.ones((SIZE, SIZE), np.float32)
        for erode in (-5.0, 0.0, 3.0):
            for feather in (0.0, 1.0, 10.0, 500.0):
                shaped = compositing.shape_mask(full, erode, feather)
                rim = np.concatenate([shaped[0], shaped[-1], shaped[:, 0], shaped[:, -1]])
                assert not rim.any()
                assert shaped.min() >= 0
                assert shaped.max() <= 1
                if feather <= 10:
                    assert shaped[SIZE // 2, SIZE // 2] == pytest.approx(1.0, abs=1e-3)

    @pytest.mark.parametrize("erode", [-6.0, 0.0, 6.0])
    def test_the_edge_moves_by_erode(self, erode: float) -> None:
        shaped = compositing.shape_mask(disc(128, 35), erode, 0)
        assert math.sqrt(shaped.sum() / math.pi) == pytest.approx(35 - erode, abs=1.0)

    def test_the_edge_fades_over_the_feather(self) -> None:
        line = compositing.shape_mask(disc(128, 35), 0, 16)[64, 64:]
        assert (np.diff(line) <= 1e-6).all()
        fading = np.flatnonzero((line > 0.025) & (line < 0.975))
        assert 12 <= fading.size <= 20
        assert np.interp(0.5, line[::-1], np.arange(64)[::-1]) == pytest.approx(34.5, abs=1.5)

    def test_nothing_asked_leaves_the_inside_alone(self) -> None:
        np.testing.assert_array_equal(compositing.shape_mask(disc(), 0, 0), disc())

    def test_misuse_is_refused(self) -> None:
        with pytest.raises(ValueError, match="feather"):
            compositing.shape_mask(disc(), 0, -1)
        with pytest.raises(ValueError, match="mask"):
            compositing.shape_mask(np.zeros((4, 5), np.float32), 0, 0)
