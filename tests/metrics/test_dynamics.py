"""Each figure of the time course moves with its own fault and stands still under the others."""

from __future__ import annotations

import numpy as np
import pytest

from swapper.metrics.brief_movements import brief_movements
from swapper.metrics.dynamics import (
    asymmetry,
    estimator_noise,
    fast_band,
    jitter,
    lag,
    trace_agreement,
    velocity,
)
from swapper.metrics.paired_traces import PairedTraces, contiguous_runs, low_pass
from tests.metrics import plants
from tests.metrics.plants import Plant

TAKE = plants.drawn(5, 16.0, 25.0)


def pair(plant: Plant = plants.copy, noise: float = 0.02, fps: float = 25.0) -> PairedTraces:
    made = plants.readings(plants.drawn(5, 16.0, fps), plant, 5, noise)
    return PairedTraces.of(made["swap"], made["performer"], fps)


class TestAlongside:
    def test_short_holes_are_bridged_and_long_ones_part(self) -> None:
        swap = np.linspace(0, 1, 200)[:, None].repeat(2, axis=1)
        performer = swap.copy()
        swap[50:52] = np.nan
        performer[100:130] = np.nan
        found = PairedTraces.of(swap, performer, 25.0)
        assert [len(each) for each, _ in found.stretches] == [100, 70]
        np.testing.assert_allclose(found.stretches[0][0], found.stretches[0][1], atol=1e-12)
        assert found.seconds == pytest.approx(170 / 25)

    def test_the_callers_traces_are_left_alone(self) -> None:
        swap = np.ones((100, 1))
        swap[50] = np.nan
        PairedTraces.of(swap, np.ones((100, 1)), 25.0)
        assert np.isnan(swap[50, 0])

    def test_a_column_nobody_read_is_left_out(self) -> None:
        swap = np.zeros((100, 3))
        swap[:, 1] = np.nan
        found = PairedTraces.of(swap, np.zeros((100, 3)), 25.0)
        np.testing.assert_array_equal(found.columns, [0, 2])

    def test_nothing_known_is_no_stretch(self) -> None:
        found = PairedTraces.of(np.full((90, 2), np.nan), np.zeros((90, 2)), 25.0)
        assert not found.enough
        assert np.isnan(trace_agreement(found).gain)
        assert np.isnan(lag(found).frames)
        assert np.isnan(velocity(found).onset_slope)
        assert np.isnan(fast_band(found).coherence)
        assert brief_movements(found).total == 0

    @pytest.mark.parametrize("frames", [-2, 3])
    def test_aligned_takes_a_lag_out(self, frames: int) -> None:
        late = np.roll(TAKE.units, frames, axis=0)
        swap, performer = PairedTraces.of(late, TAKE.units, 25.0).aligned(frames).joined()
        np.testing.assert_array_equal(swap[5:-5], performer[5:-5])
        assert len(swap) == len(late) - abs(frames)

    def test_slow_and_fast_are_all_there_is(self) -> None:
        whole, slow, fast = (each.joined()[0] for each in (pair(), pair().slow(), pair().fast()))
        np.testing.assert_allclose(slow + fast, whole, atol=1e-12)
        tone = np.sin(2 * np.pi * 0.5 * np.arange(400) / 25)[:, None]
        np.testing.assert_allclose(low_pass(tone, 25.0, 2.0)[50:-50], tone[50:-50], atol=0.02)
        quick = np.sin(2 * np.pi * 8.0 * np.arange(400) / 25)[:, None]
        assert np.abs(low_pass(quick, 25.0, 2.0)[50:-50]).max() < 0.02

    def test_runs(self) -> None:
        found = list(contiguous_runs(np.array([True, True, False, True])))
        assert found == [(0, 2), (3, 4)]
        assert list(contiguous_runs(np.zeros(3, bool))) == []

    def test_shapes_must_fit(self) -> None:
        with pytest.raises(ValueError, match="must both be"):
            PairedTraces.of(np.zeros((9, 2)), np.zeros((9, 3)), 25.0)
        with pytest.raises(ValueError, match="fps"):
            PairedTraces.of(np.zeros((9, 2)), np.zeros((9, 2)), 0.0)


def test_strength_is_told_through_jitter() -> None:
    assert trace_agreement(pair()).gain == pytest.approx(1.0, abs=0.02)
    damped = trace_agreement(pair(plants.damped_jitter))
    assert damped.gain == pytest.approx(0.6, abs=0.06)
    assert damped.correlation > 0.8
    assert trace_agreement(pair(plants.freezing)).gain == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("fps", [25.0, 30.0])
@pytest.mark.parametrize("frames", [-4, 0, 1, 3, 7])
def test_a_planted_lag_is_found_to_a_fifth_of_a_frame(frames: int, fps: float) -> None:
    found = lag(pair(plants.lagging(frames), 0.04, fps))
    assert found.frames == pytest.approx(frames, abs=0.2)
    assert found.seconds == pytest.approx(frames / fps, abs=0.01)
    assert found.error < 0.25


def test_a_lag_of_half_a_frame_is_told_as_that() -> None:
    assert lag(pair(plants.between_frames)).frames == pytest.approx(0.5, abs=0.1)


def test_onsets_are_as_steep_as_they_are_however_it_jitters() -> None:
    assert velocity(pair()).onset_slope == pytest.approx(1.0, abs=0.05)
    assert velocity(pair(plants.damping)).onset_slope == pytest.approx(0.6, abs=0.05)
    shaky = pair(plants.damped_jitter)
    assert velocity(shaky).onset_slope == pytest.approx(0.6, abs=0.12)
    # Speed by itself would say that it is livelier than the performer.
    swap, performer = (np.abs(np.diff(each, axis=0)) for each in shaky.joined())
    assert np.quantile(swap, 0.9) > np.quantile(performer, 0.9)
    assert velocity(shaky).correlation < 0.8

    def sluggish(take: plants.Take, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return low_pass(take.units, take.fps, 0.7), take.emotions

    slow = pair(sluggish)
    assert velocity(slow).onset_slope < 0.8
    assert velocity(slow).onset_slope < trace_agreement(slow).gain


def test_the_fast_band_tells_jitter_from_life() -> None:
    same, gone = fast_band(pair(noise=0.005)), fast_band(pair(plants.smoothing, 0.005))
    shaky = fast_band(pair(plants.jittering(0.8), 0.005))
    assert same.coherence > 0.8
    assert same.energy_ratio == pytest.approx(1.0, abs=0.1)
    assert gone.energy_ratio < 0.3
    assert shaky.energy_ratio > 3
    assert shaky.coherence < same.coherence / 2
    still = PairedTraces.of(TAKE.units, np.zeros_like(TAKE.units), 25.0)
    assert np.isnan(fast_band(still).coherence)


def test_nothing_is_claimed_of_a_band_the_film_does_not_hold() -> None:
    assert fast_band(pair(fps=25.0)).high_hz == pytest.approx(10.0)
    assert fast_band(pair(fps=30.0)).high_hz == pytest.approx(12.0)
    slow = pair(fps=8.0)
    assert np.isnan(fast_band(slow).coherence)
    assert np.isnan(jitter(slow)).all()
    short = PairedTraces.of(TAKE.units[:45], TAKE.units[:45], 25.0)
    assert np.isnan(fast_band(short).energy_ratio)


def test_jitter_is_measured_in_its_own_size() -> None:
    assert jitter(pair()).max() < 0.02
    planted = 0.5 * TAKE.units.std(axis=0)
    found = jitter(pair(plants.jittering(0.5)))
    np.testing.assert_allclose(found, np.sqrt(1 - 4 / 25) * planted, rtol=0.2)
    assert jitter(pair(plants.damping)).max() < 0.02


def test_of_a_still_performer_everything_fast_is_jitter() -> None:
    rng = np.random.default_rng(7)
    still = 0.3 + rng.normal(0, 0.01, (500, 3))
    shaky = 0.3 + rng.normal(0, 0.05, (500, 3))
    assert jitter(PairedTraces.of(still, still, 25.0)).max() < 0.005
    np.testing.assert_allclose(jitter(PairedTraces.of(shaky, still, 25.0)), 0.045, rtol=0.15)


def test_a_readers_noise_is_told_from_what_it_reads() -> None:
    for noise in (0.02, 0.04):
        found = estimator_noise(pair(noise=noise))
        np.testing.assert_allclose(found, noise, rtol=0.35)


class TestBriefMovements:
    def test_they_are_found_and_kept_in_a_copy(self) -> None:
        found = brief_movements(pair())
        assert found.total >= 5
        assert found.lost == 0
        assert found.gain == pytest.approx(1.0, abs=0.15)

    def test_those_that_are_gone_are_counted(self) -> None:
        found = brief_movements(pair(plants.without_brief))
        assert found.lost >= 0.5 * found.total
        assert found.gain < 0.6

    def test_damping_damps_them_and_does_not_take_them_away(self) -> None:
        found = brief_movements(pair(plants.damping), gain=0.6)
        assert found.lost == 0
        assert found.gain == pytest.approx(1.0, abs=0.2)  # of the 0.6 that is to be expected

    def test_lids_can_be_left_out(self) -> None:
        take = plants.acted(2, 16.0, 25.0)
        sides = PairedTraces.of(take.units, take.units, 25.0)
        assert brief_movements(sides).total > brief_movements(sides, lids=take.lids).total

    def test_noise_alone_shows_none(self) -> None:
        rng = np.random.default_rng(3)
        noise = rng.normal(0.2, 0.04, (2, 1500, 8))
        assert brief_movements(PairedTraces.of(noise[0], noise[1], 25.0)).total == 0


class TestAsymmetry:
    def sides(self, gain: float) -> tuple[PairedTraces, PairedTraces]:
        """A smile on both sides, more of it on the left at its second half."""
        crooked = 0.4 * TAKE.units * np.linspace(0, 1, len(TAKE.units))[:, None]
        left, right = TAKE.units + crooked / 2, TAKE.units - crooked / 2
        swapped = TAKE.units + gain * crooked / 2, TAKE.units - gain * crooked / 2
        return PairedTraces.of(swapped[0], left, 25.0), PairedTraces.of(swapped[1], right, 25.0)

    @pytest.mark.parametrize("gain", [1.0, 0.5])
    def test_how_crooked_a_smile_still_is(self, gain: float) -> None:
        found = asymmetry(*self.sides(gain))
        assert found.gain == pytest.approx(gain, abs=0.02)
        assert found.correlation == pytest.approx(1.0, abs=0.01)

    def test_an_evened_face_has_none(self) -> None:
        assert asymmetry(*self.sides(0.0)).gain == pytest.approx(0.0, abs=0.01)

    def test_sides_must_fit(self) -> None:
        left, right = self.sides(1.0)
        with pytest.raises(ValueError, match="same frames"):
            asymmetry(left, right.aligned(1))
