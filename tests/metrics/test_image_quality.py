from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import structural_similarity_index_measure

from swapper.metrics import image_quality

DRAW = np.random.default_rng(4)
TRUTH = DRAW.integers(30, 200, (24, 32, 3), dtype=np.uint8)
LEFT = np.zeros((24, 32), np.float32)
LEFT[:, :16] = 1.0


def test_equal_pictures_are_as_good_as_can_be() -> None:
    assert image_quality.mean_square_error(TRUTH, TRUTH) == 0.0
    assert image_quality.psnr(0.0) == image_quality.MAX_DB


def test_a_known_error_has_its_known_size() -> None:
    off = TRUTH + np.uint8(10)
    assert image_quality.mean_square_error(off, TRUTH) == pytest.approx(100.0)
    assert image_quality.mean_absolute_error(off, TRUTH) == pytest.approx(10.0)
    assert image_quality.psnr(100.0) == pytest.approx(20 * math.log10(255 / 10))


def test_structural_similarity_is_as_torchmetrics_has_it() -> None:
    blurred = cv2.GaussianBlur(TRUTH, (3, 3), 0)

    def grey(picture: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(picture @ np.array([0.299, 0.587, 0.114]))[None, None]

    _, whole = structural_similarity_index_measure(
        grey(blurred), grey(TRUTH), sigma=1.5, data_range=255.0, return_full_image=True
    )
    expected = whole[0, 0].numpy()
    # What is mirrored at the rim differs between the two.
    inner = np.zeros_like(LEFT)
    inner[6:-6, 6:-6] = 1
    rows, columns = expected.shape
    assert (rows, columns) == TRUTH.shape[:2]
    found = image_quality.ssim(blurred, TRUTH, inner)
    assert found == pytest.approx(float(expected[6:-6, 6:-6].mean()), abs=1e-6)
    assert 0.1 < found < 0.95
    assert image_quality.ssim(TRUTH, TRUTH) == pytest.approx(1.0)


def test_gradient_energy_falls_with_blur_and_grows_with_the_square_of_contrast() -> None:
    inner = np.ones(TRUTH.shape[:2], np.float32)
    truth = TRUTH.astype(np.float32)
    halved = (truth - truth.mean()) / 2
    assert image_quality.gradient_energy(halved, truth, inner) == pytest.approx(0.25, rel=1e-4)
    blurred = cv2.GaussianBlur(truth, (0, 0), 2.0)
    assert image_quality.gradient_energy(blurred, truth, inner) < 0.5
    assert math.isnan(image_quality.gradient_energy(truth, np.zeros_like(truth), inner))


def test_only_what_the_weight_holds_counts() -> None:
    off = TRUTH.copy()
    off[:, 16:] += 20
    assert image_quality.mean_square_error(off, TRUTH, LEFT) == 0.0
    assert image_quality.mean_square_error(off, TRUTH, 1 - LEFT) == pytest.approx(400.0)
    soft = np.where(LEFT > 0, 0.25, 0.75).astype(np.float32)
    assert image_quality.mean_absolute_error(off, TRUTH, soft) == pytest.approx(15.0)


def test_nothing_weighed_is_no_number_rather_than_perfect() -> None:
    error = image_quality.mean_square_error(TRUTH, TRUTH, np.zeros_like(LEFT))
    assert math.isnan(error)
    assert math.isnan(image_quality.psnr(error))


def test_overlap_of_masks() -> None:
    middle = np.zeros_like(LEFT)
    middle[:, 8:24] = 1.0
    assert image_quality.intersection_over_union(LEFT, LEFT) == 1.0
    assert image_quality.intersection_over_union(LEFT, middle) == pytest.approx(1 / 3)
    assert image_quality.intersection_over_union(LEFT, 1 - LEFT) == 0.0
    assert image_quality.intersection_over_union(LEFT * 0.6, LEFT) == 1.0
    empty = np.zeros_like(LEFT)
    assert image_quality.intersection_over_union(empty, empty) == 1.0
    assert image_quality.intersection_over_union(empty, LEFT) == 0.0


def test_a_mask_that_lets_the_performer_through_is_told() -> None:
    half = np.where(LEFT > 0, 0.5, 0.0).astype(np.float32)
    assert image_quality.opacity(half, LEFT) == pytest.approx(0.5)
    assert image_quality.intersection_over_union(half, LEFT) == 1.0
    rim = LEFT.copy()
    rim[:, 12:16] = 0.1
    assert image_quality.opacity(rim, LEFT) == 1.0
    assert math.isnan(image_quality.opacity(LEFT * 0, LEFT))
    assert math.isnan(image_quality.opacity(LEFT, LEFT * 0))


def test_tone_is_forgiven_and_shape_is_not() -> None:
    gain, offset = np.array([0.7, 0.9, 1.1]), np.array([20.0, -5.0, 3.0])
    toned = (TRUTH * gain + offset).astype(np.float32)
    back = image_quality.fit_tone(toned, TRUTH, LEFT)
    np.testing.assert_allclose(back, TRUTH, atol=0.01)
    shuffled = DRAW.permutation(TRUTH.reshape(-1, 3)).reshape(TRUTH.shape)
    fitted = image_quality.fit_tone(shuffled, TRUTH, LEFT)
    # With nothing in common, the best tone is the truth's mean.
    error = image_quality.mean_square_error(fitted, TRUTH, LEFT)
    assert error == pytest.approx(TRUTH[:, :16].var(axis=(0, 1)).mean(), rel=0.05)


def test_tone_never_turns_a_picture_over() -> None:
    negative = (255 - TRUTH).astype(np.uint8)
    fitted = image_quality.fit_tone(negative, TRUTH, np.ones_like(LEFT))
    assert fitted.std(axis=(0, 1)).max() < 1e-3


def test_an_empty_weight_leaves_the_tone() -> None:
    np.testing.assert_array_equal(image_quality.fit_tone(TRUTH, TRUTH, LEFT * 0), TRUTH)


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="must both be"):
        image_quality.mean_square_error(TRUTH, TRUTH[1:])
    with pytest.raises(ValueError, match="weight"):
        image_quality.mean_square_error(TRUTH, TRUTH, LEFT[1:])
    with pytest.raises(ValueError, match="one shape"):
        image_quality.intersection_over_union(LEFT, LEFT[1:])
    with pytest.raises(ValueError, match="one shape"):
        image_quality.opacity(LEFT, LEFT[1:])
