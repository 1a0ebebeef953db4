"""Measures of likeness: what is nearer to a face, to the mean of some, and among themselves."""

from __future__ import annotations

import numpy as np
import pytest

from swapper.faces.recognition import (
    COSINE,
    EUCLIDEAN,
    FaceMeasure,
    checked_crops,
    checked_landmarks,
)

NOBODY = [np.nan, np.nan]


def test_the_cosine_is_with_the_mean() -> None:
    own = np.array([[1.0, 0.0], [0.6, 0.8]])
    found = COSINE.to_mean(np.array([[0.8, 0.4], NOBODY, [-8, -4]]), own)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(-1)  # however long


def test_the_distance_is_to_the_mean() -> None:
    own = np.array([[1.0, 0.0], [3.0, 0.0]], np.float32)
    found = EUCLIDEAN.to_mean(np.array([[2.0, 0.0], [5.0, 4.0], NOBODY]), own)
    np.testing.assert_allclose(found, [0, 5, np.nan])


@pytest.mark.parametrize("measure", [COSINE, EUCLIDEAN], ids=lambda measure: measure.kind)
def test_among_themselves_none_finds_itself(measure: FaceMeasure) -> None:
    own = np.random.default_rng(0).normal(1, 0.5, (7, 5)).astype(np.float32)
    apart = [float(measure.to_mean(own[n : n + 1], np.delete(own, n, axis=0))[0]) for n in range(7)]
    np.testing.assert_allclose(measure.leave_one_out(own), apart, rtol=1e-6)
    assert np.isnan(measure.leave_one_out(own[:1])).all()
    assert measure.leave_one_out(own[:0]).shape == (0,)


@pytest.mark.parametrize("measure", [COSINE, EUCLIDEAN], ids=lambda measure: measure.kind)
def test_the_nearer_is_the_one_more_alike(measure: FaceMeasure) -> None:
    ours, theirs = np.array([[1.0, 0.1]]), np.array([[0.1, 1.0]])
    face = np.array([[0.9, 0.3], [0.2, 0.8], [1.0, 1.0]])
    one, other = measure.to_mean(face, ours), measure.to_mean(face, theirs)
    assert measure.is_nearer(one, other).tolist() == [True, False, False]
    assert measure.is_nearer(other, one).tolist() == [False, True, False]
    assert not measure.is_nearer(np.array([np.nan]), np.array([0.5])).any()


@pytest.mark.parametrize(
    "landmarks", [np.full((68, 2), np.nan), np.zeros((5, 2)), np.full((68, 2), 7.0)]
)
def test_what_are_no_landmarks_is_refused(landmarks: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="landmarks"):
        checked_landmarks(landmarks)


def test_what_are_no_crops_is_refused() -> None:
    crops = np.zeros((2, 30, 30, 3), np.uint8)
    assert checked_crops(crops[:, :, ::-1], 30).flags.c_contiguous
    for wrong in (crops[0], crops[:, :20], crops.astype(np.float32)):
        with pytest.raises(ValueError, match=r"crops must be uint8 \(N, 30, 30, 3\), got"):
            checked_crops(wrong, 30)
