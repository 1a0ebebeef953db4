"""Brows of the performer that a swap leaves visible are filled with skin; nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces.brow_cover import cover_brows
from swapper.faces.compositing import composite
from swapper.faces.geometry import similarity_from_landmarks, transform_points
from tests.faces.conftest import drawn_landmarks, placed

SIZE = 128
SKIN, HAIR, OTHER_SKIN = (200, 155, 130), (60, 40, 30), (0.7, 0.55, 0.5)


@pytest.fixture
def points() -> NDArray[np.float32]:
    landmarks = placed(drawn_landmarks(), scale=2.0)
    return transform_points(similarity_from_landmarks(landmarks, SIZE, "face"), landmarks)


def performer(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    for brow in (points[17:22], points[22:27]):
        cv2.polylines(picture, [np.rint(brow).astype(np.int32)], False, HAIR, 4)
    return picture


def narrow_mask(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ends in the middle of the right brow of the picture."""
    mask = np.ones((SIZE, SIZE), np.float32)
    mask[:, round(float(points[24, 0])) :] = 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 2.0))


def blended(swap: NDArray[np.float32], mask: NDArray[np.float32], plate: NDArray[np.uint8]) -> (
    NDArray[np.float32]
):  # fmt: skip
    return np.asarray(mask[..., None] * swap + (1 - mask[..., None]) * (plate / 255.0))


def test_a_brow_beside_the_swap_becomes_skin(points: NDArray[np.float32]) -> None:
    plate, mask = performer(points), narrow_mask(points)
    swap = np.full((SIZE, SIZE, 3), OTHER_SKIN, np.float32)
    before = blended(swap, mask, plate)
    after = blended(*cover_brows(swap, mask, plate, points), plate)
    brow = (plate[..., 0] < 100) & (mask < 0.5)
    assert brow.sum() > 30
    assert before[brow, 0].mean() < 0.35
    # Its outer end lies at the border of the hull, where the cover fades.
    assert np.quantile(after[brow, 0], 0.2) > 0.6
    assert after[brow].mean(axis=0) == pytest.approx(np.array(SKIN) / 255, abs=0.08)
    far = np.hypot(*(np.indices((SIZE, SIZE)) - points[22:27].mean(axis=0)[::-1, None, None])) > 30
    np.testing.assert_allclose(after[far], before[far], atol=1e-6)


def test_a_swap_that_covers_the_brows_is_unchanged(points: NDArray[np.float32]) -> None:
    swap, mask = np.full((SIZE, SIZE, 3), 0.5, np.float32), np.ones((SIZE, SIZE), np.float32)
    extended, covered = cover_brows(swap, mask, performer(points), points)
    assert extended is swap
    assert covered is mask


def test_a_fringe_across_the_brows_is_not_painted_over(points: NDArray[np.float32]) -> None:
    plate, mask = performer(points), narrow_mask(points)
    plate[: round(float(points[42:48, 1].min())) - 6] = HAIR
    swap = np.full((SIZE, SIZE, 3), OTHER_SKIN, np.float32)
    before = blended(swap, mask, plate)
    after = blended(*cover_brows(swap, mask, plate, points), plate)
    fringe = cv2.erode((plate[..., 0] < 100).astype(np.uint8), np.ones((5, 5))) > 0
    brow = cv2.dilate((performer(points)[..., 0] < 100).astype(np.uint8), np.ones((3, 3))) > 0
    assert (fringe & brow & (mask < 0.5)).sum() > 20
    assert np.abs(after - before)[fringe].mean(axis=1).max() < 0.1


def test_dark_hair_beside_the_cover_does_not_shine_through_its_edge(
    points: NDArray[np.float32],
) -> None:
    """Masks are resampled with the swap: what lies just outside of them counts as well."""
    plate, mask = performer(points), narrow_mask(points)
    swap = np.full((SIZE, SIZE, 3), OTHER_SKIN, np.float32)
    swap[mask < 0.01] = 0.0
    extended, covered = cover_brows(swap, mask, plate, points)
    matrix = np.array([[1.7, 0.3, 5.4], [-0.3, 1.7, 40.2]])
    frame = np.full((300, 300, 3), SKIN, np.uint8)
    picture, changed = composite(frame, extended, covered, np.linalg.inv(
        np.vstack([matrix, [0, 0, 1]])
    )[:2])  # fmt: skip
    assert changed.any()
    assert picture.min() > 120  # both skins are lighter
