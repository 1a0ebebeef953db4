"""The instruments find what was planted: damping, jitter, a frozen face."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.metrics.traces import Calibration, gain_and_correlation, pooled_gain

DRAW = np.random.default_rng(11)


def bursts(frames: int = 300) -> NDArray[np.float64]:
    """(T, 3) three units that come and go smoothly, in [0, 1]."""
    seconds = np.arange(frames) / 25
    phases = np.array([[0.0, 1.3, 2.9]])
    return np.clip(np.sin(seconds[:, None] * 1.7 + phases), 0, 1) ** 2


TRUTH = bursts()


def test_a_perfect_copy_is_one_and_one() -> None:
    gain, correlation = gain_and_correlation(TRUTH, TRUTH)
    np.testing.assert_allclose(gain, 1.0)
    np.testing.assert_allclose(correlation, 1.0)
    assert pooled_gain(TRUTH, TRUTH) == pytest.approx(1.0)


def test_damping_shows_in_the_gain_alone() -> None:
    gain, correlation = gain_and_correlation(0.6 * TRUTH + 0.1, TRUTH)
    np.testing.assert_allclose(gain, 0.6)
    np.testing.assert_allclose(correlation, 1.0)
    assert pooled_gain(0.6 * TRUTH, TRUTH) == pytest.approx(0.6)


def test_jitter_does_not_hide_damping() -> None:
    jitter = DRAW.normal(0, 0.8 * TRUTH.std(axis=0), TRUTH.shape)
    swap = 0.6 * TRUTH + jitter
    # By its spread alone it would look as lively as the truth.
    assert (swap.std(axis=0) / TRUTH.std(axis=0)).min() > 0.9
    gain, correlation = gain_and_correlation(swap, TRUTH)
    np.testing.assert_allclose(gain, 0.6, atol=0.12)
    assert correlation.max() < 0.75


def test_a_frozen_face_has_neither() -> None:
    gain, correlation = gain_and_correlation(np.full_like(TRUTH, 0.3), TRUTH)
    np.testing.assert_array_equal(gain, 0.0)
    np.testing.assert_array_equal(correlation, 0.0)
    assert pooled_gain(np.zeros_like(TRUTH), TRUTH) == 0.0


def test_what_does_not_move_is_not_judged() -> None:
    still = np.concatenate([TRUTH, np.full((len(TRUTH), 1), 0.2)], axis=1)
    gain, correlation = gain_and_correlation(still + 0.01, still)
    assert np.isnan([gain[3], correlation[3]]).all()
    assert np.isfinite(gain[:3]).all()
    assert np.isnan(pooled_gain(TRUTH, np.zeros_like(TRUTH)))


class TestCalibration:
    def reader(self, units: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
        gain, offset = np.array([0.5, 0.8, 1.4]), np.array([0.1, 0.0, 0.3])
        return units * gain + offset + DRAW.normal(0, noise, units.shape)

    def test_it_gives_back_a_readers_own_truth(self) -> None:
        calibration = Calibration.fit(self.reader(TRUTH, 0.0), TRUTH)
        assert calibration.readable.all()
        back = calibration.apply(self.reader(TRUTH, 0.0))
        np.testing.assert_allclose(back, TRUTH, atol=1e-9)

    def test_a_noisy_reader_neither_damps_nor_lifts(self) -> None:
        truth = bursts(4000)
        calibration = Calibration.fit(self.reader(truth, 0.15), truth)
        for planted in (1.0, 0.6):
            read = calibration.apply(self.reader(planted * truth, 0.15))
            gain, correlation = gain_and_correlation(read, truth)
            np.testing.assert_allclose(gain, planted, atol=0.04)
            assert correlation.max() < 0.99

    def test_what_it_cannot_read_it_leaves_out(self) -> None:
        readings = self.reader(TRUTH, 0.02)
        readings[:, 1] = DRAW.normal(0, 1, len(TRUTH))
        calibration = Calibration.fit(readings, TRUTH)
        np.testing.assert_array_equal(calibration.readable, [True, False, True])
        assert np.isnan(calibration.apply(readings)[:, 1]).all()

    def test_a_reader_that_is_turned_round_is_not_readable(self) -> None:
        assert not Calibration.fit(1 - TRUTH, TRUTH).readable.any()


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="T > 1"):
        gain_and_correlation(TRUTH[:1], TRUTH[:1])
    with pytest.raises(ValueError, match="must both be"):
        pooled_gain(TRUTH, TRUTH[1:])
