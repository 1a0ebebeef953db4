"""Temporal figures of a swap: gain, correlation, lag, velocity, fast band and jitter.

Every figure is pooled over units, weighted by the performer's motion, so that units which hardly
move, and are mostly instrument noise, hardly count. Gain and correlation are computed below 2 Hz:
there jitter has little energy and expressions nearly all of theirs, and instrument noise on the
performer's side, which flattens every slope, loses five sixths of its energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from swapper.metrics.paired_traces import SLOW_HZ, PairedTraces, robust_spread
from swapper.metrics.traces import MIN_MOTION

MAX_LAG_SECONDS: Final = 0.4
"""Search range of the lag, in either direction."""
FAST_HZ: Final = 12.0
"""Micro-expressions of 1/25 to 1/2 second (Yan et al., 2013) lie between 2 and 12 Hz."""
_MIN_BAND_HZ: Final = 2.0
"""Least usable width of the fast band in Hz: 25 fps cover all but its top, 10 fps less than this.
"""
_TIMING_HZ: Final = 5.0
_VELOCITY_HZ: Final = 4.0
_SEGMENT_SECONDS: Final = 1.28
"""Seconds of a Welch segment: 32 frames at 25 a second, 0.8 Hz a bin."""
_BLOCK_SECONDS: Final = 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TraceAgreement:
    """Agreement of swap and performer below 2 Hz; NaN where the performer hardly moves.

    Attributes:
        gain: Slope of the swap on the performer.
        correlation: Of the two.
        motion: Standard deviation of the performer's moving units, root mean square.
        energy_ratio: Variance of the swap over the performer's.
    """

    gain: float
    correlation: float
    motion: float
    energy_ratio: float


@dataclass(frozen=True)
class Lag:
    """Delay of a swap behind the performer; NaN where undetermined.

    Attributes:
        frames: Positive is late; sub-frame resolution.
        seconds: The same in seconds.
        error: Standard error of `frames`, by a jackknife over seconds.
        correlation: At that lag.
    """

    frames: float
    seconds: float
    error: float
    correlation: float


@dataclass(frozen=True)
class Velocity:
    """Agreement of velocities; NaN where the performer hardly moves.

    Attributes:
        onset_slope: Slope of the swap's velocity on the performer's at onsets; 1 is as steep.
        correlation: Of the two velocities.
    """

    onset_slope: float
    correlation: float


@dataclass(frozen=True)
class FastBand:
    """Agreement in the band of micro-expressions; NaN if clip length or frame rate are too low.

    Attributes:
        low_hz, high_hz: The band: from 2 to 12 Hz, or to 0.8 of half the frame rate.
        coherence: Of swap and performer in the band, in [0, 1].
        energy_ratio: Power of the swap over the performer's. Jitter raises it, so interpret it only
            together with the coherence.
    """

    low_hz: float
    high_hz: float
    coherence: float
    energy_ratio: float


def trace_agreement(pair: PairedTraces, least_motion: float = MIN_MOTION) -> TraceAgreement:
    """Gain and correlation below 2 Hz, over all units that the performer moves.

    Args:
        pair: Aligned, if a lag should not count.
        least_motion: Standard deviation from which a unit counts as moving.
    """
    moves = pair.moving(least_motion)
    if not moves.any():
        return TraceAgreement(np.nan, np.nan, np.nan, np.nan)
    swap, performer = pair.select(moves).slow().joined()
    gain, correlation, ratio = _slope(swap, performer)
    return TraceAgreement(gain, correlation, float(np.sqrt(performer.var(axis=0).mean())), ratio)


def lag(pair: PairedTraces) -> Lag:
    """Estimate the delay of the swap, pooled over units, in a pair that is not aligned.

    The maximum of the pooled correlation over lags, refined by a parabola. Both are low-passed at
    5 Hz first, so that noise does not decide between neighbours of a broad peak.
    """
    undetermined = Lag(np.nan, np.nan, np.nan, np.nan)
    max_frames = round(MAX_LAG_SECONDS * pair.fps)
    moves = pair.moving()
    if not moves.any() or max_frames < 1:
        return undetermined
    sums = _lagged_sums(pair.select(moves).slow(_TIMING_HZ), max_frames)
    if len(sums) < 2:
        return undetermined
    total = sums.sum(axis=0)
    frames, correlation = _peak(total, max_frames)
    # Jackknife over seconds: one blink must not decide.
    left_out = np.array([_peak(total - block, max_frames)[0] for block in sums])
    spread = ((left_out - left_out.mean()) ** 2).sum()
    error = float(np.sqrt((len(sums) - 1) / len(sums) * spread))
    return Lag(frames, frames / pair.fps, error, correlation)


def velocity(pair: PairedTraces) -> Velocity:
    """Slope and correlation of velocities, in an aligned pair.

    The slope of the swap's velocity on the performer's, in the faster half of the frames where the
    performer's trace rises. A ratio of speeds would be raised by jitter; a slope is not, since
    jitter is uncorrelated with the performer.
    """
    moves = pair.moving()
    if not moves.any():
        return Velocity(np.nan, np.nan)
    slow = pair.select(moves).slow(_VELOCITY_HZ)
    rates = [
        tuple(np.gradient(each, axis=0) * pair.fps for each in both) for both in slow.stretches
    ]
    swap, performer = (np.concatenate(each) for each in zip(*rates, strict=True))
    _, correlation, _ = _slope(swap, performer)
    medians = [np.median(each[each > 0]) if (each > 0).any() else np.inf for each in performer.T]
    steep = performer > np.array(medians)
    power = float((performer[steep] ** 2).sum())
    slope = float((swap[steep] * performer[steep]).sum()) / power if power > 0 else np.nan
    return Velocity(slope, correlation)


def fast_band(pair: PairedTraces) -> FastBand:
    """Coherence and energy between 2 and 12 Hz (Welch), weighted by the performer's power.

    The pair must be aligned: a lag of more than a third of a segment would reduce the coherence.
    """
    high = min(FAST_HZ, pair.ceiling_hz)
    length = round(_SEGMENT_SECONDS * pair.fps)
    long = [both for both in pair.stretches if len(both[0]) >= length]
    frames = sum(len(swap) for swap, _ in long)
    if high - SLOW_HZ < _MIN_BAND_HZ or frames < 2 * length or not pair.enough:
        return FastBand(SLOW_HZ, high, np.nan, np.nan)
    frequencies, *spectra = zip(
        *(_spectra(swap, performer, pair.fps, length) for swap, performer in long), strict=True
    )
    band = (frequencies[0] >= SLOW_HZ) & (frequencies[0] <= high)
    cross, own, theirs = (np.sum(parts, axis=0)[band] for parts in spectra)
    coherence = np.abs(cross) ** 2 / np.maximum(own * theirs, 1e-18)
    power = float(theirs.sum())
    if power < 1e-12 * frames:
        return FastBand(SLOW_HZ, high, np.nan, np.nan)
    weight = theirs.sum(axis=0) / power
    return FastBand(
        SLOW_HZ,
        high,
        coherence=float((coherence.mean(axis=0) * weight).sum()),
        energy_ratio=float(own.sum() / power),
    )


def jitter(pair: PairedTraces) -> Floats:
    """Fast movement of a swap that the performer does not explain, in a pair aligned to the frame.

    The part that a short filter over the performer's neighbouring frames explains is removed, and
    then the contribution of instrument noise, estimated on the performer, to both clips. The spread
    is a median absolute deviation, so that a missing blink is not jitter.

    Returns:
        (U,) standard deviation above 2 Hz, in the units of the traces; NaN if clip length or frame
        rate are too low.
    """
    units = pair.columns.size
    if not pair.enough or pair.ceiling_hz - SLOW_HZ < _MIN_BAND_HZ:
        return np.full(units, np.nan)
    pieces = pair.fast().stretches
    swap = np.concatenate([each[1:-1] for each, _ in pieces])
    around = np.concatenate(
        [np.stack([them[:-2], them[1:-1], them[2:]], axis=2) for _, them in pieces]
    )
    # Share of white noise above 2 Hz.
    share = 1 - 2 * SLOW_HZ / pair.fps
    noise_power = share * estimator_noise(pair) ** 2
    variances = np.zeros(units)
    for u in range(units):
        taps = np.linalg.lstsq(around[:, u], swap[:, u], rcond=1e-6)[0]
        residual = float(robust_spread(swap[:, u] - around[:, u] @ taps))
        # Instrument noise is on the swap, and again on the explained part.
        variances[u] = residual**2 - noise_power[u] * (1 + (taps**2).sum())
    return np.sqrt(np.maximum(variances, 0.0))


def estimator_noise(pair: PairedTraces) -> Floats:
    """(U,) standard deviation of instrument noise, from third differences of the performer."""
    thirds = np.concatenate(
        [np.diff(them, n=3, axis=0) for _, them in pair.stretches if len(them) > 4]
    )
    return np.asarray(robust_spread(thirds) / np.sqrt(20.0))


def asymmetry(left: PairedTraces, right: PairedTraces) -> TraceAgreement:
    """Agreement of left minus right, such as a crooked smile or one raised brow.

    Raises:
        ValueError: The two sides have different frames or numbers of units.
    """
    shapes = [[swap.shape for swap, _ in side.stretches] for side in (left, right)]
    if shapes[0] != shapes[1] or left.fps != right.fps:
        raise ValueError("left and right must have the same frames and number of units")
    pieces = tuple(
        (a - c, b - d) for (a, b), (c, d) in zip(left.stretches, right.stretches, strict=True)
    )
    difference = PairedTraces(left.fps, pieces, left.columns)
    # Differences of left and right are smaller than the movements themselves.
    return trace_agreement(difference, MIN_MOTION / 2)


def _slope(swap: Floats, performer: Floats) -> tuple[float, float, float]:
    """Pooled slope, correlation and ratio of variances of (T, U)."""
    y, x = swap - swap.mean(axis=0), performer - performer.mean(axis=0)
    together, spread, own = (float(each.sum()) for each in (x * y, x * x, y * y))
    if spread < 1e-12:
        return np.nan, np.nan, np.nan
    return together / spread, together / np.sqrt(spread * max(own, 1e-12)), own / spread


def _lagged_sums(pair: PairedTraces, most: int) -> Floats:
    """(blocks, lags, 6, U): count, sums of x, y, xx, yy, xy over each second, at each lag."""
    block = max(round(_BLOCK_SECONDS * pair.fps), 2)
    rows = []
    for swap, performer in pair.stretches:
        for start in range(most, len(swap) - most, block):
            here = slice(start, min(start + block, len(swap) - most))
            y = swap[here]
            lag_sums = []
            for shift in range(-most, most + 1):
                x = performer[here.start - shift : here.stop - shift]
                lag_sums.append([np.ones_like(x), x, y, x * x, y * y, x * y])
            rows.append(np.array(lag_sums).sum(axis=2))
    return np.array(rows)


def _peak(sums: Floats, most: int) -> tuple[float, float]:
    """Lag in frames and correlation at the maximum of (lags, 6, U) sums."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, 1, 0)
    together = (xy - x * y / count).sum(axis=1)
    spread = (xx - x * x / count).sum(axis=1) * (yy - y * y / count).sum(axis=1)
    rho = together / np.sqrt(np.maximum(spread, 1e-18))
    top = int(np.argmax(rho))
    offset = 0.0
    if 0 < top < len(rho) - 1:
        before, here, after = rho[top - 1 : top + 2]
        bend = before - 2 * here + after
        offset = float(0.5 * (before - after) / bend) if bend < -1e-12 else 0.0
    return top - most + offset, float(rho[top])


def _spectra(
    swap: Floats, performer: Floats, fps: float, length: int
) -> tuple[Floats, NDArray[np.complex128], Floats, Floats]:
    """Frequencies (F,), cross and own spectra (F, U), each times the number of frames."""
    settings = {"fs": fps, "nperseg": length, "axis": 0, "detrend": "linear"}
    frequency, cross = signal.csd(performer, swap, **settings)
    _, own = signal.welch(swap, **settings)
    _, theirs = signal.welch(performer, **settings)
    many = len(swap)
    return frequency, cross * many, own * many, theirs * many
