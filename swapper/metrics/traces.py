"""Gain and correlation of expression traces, and calibration of instruments.

A swap may follow in time but too weakly (gain below 1), or strongly but at the wrong times
(correlation below 1). Neither suffices alone: jitter raises the motion of a damped face, and a face
that hardly moves can correlate perfectly. So both are always reported together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_MOTION: Final = 0.04
"""Standard deviation of a unit, of full intensity, from which it counts as moving."""
MIN_READABLE: Final = 0.6
"""Correlation with the truth from which an instrument's unit is used."""


def gain_and_correlation(
    trace: Floats, truth: Floats, least_motion: float = MIN_MOTION
) -> tuple[Floats, Floats]:
    """Slope (β) and correlation (ρ) of each trace against the truth over time.

    The slope is of the trace on the truth, so noise in the trace lowers the correlation and
    leaves the gain.

    Args:
        trace: (T, U) readings of the swap.
        truth: (T, U) expected values.
        least_motion: Standard deviation of the truth below which a column is NaN.

    Returns:
        β (U,) and ρ (U,); both NaN where the truth hardly moves. A constant trace has a gain and
        correlation of 0.

    Raises:
        ValueError: The shapes differ or there are fewer than two frames.
    """
    if trace.shape != truth.shape or trace.ndim != 2 or len(trace) < 2:
        raise ValueError(f"traces {trace.shape} and {truth.shape} must both be (T, U), T > 1")
    x, y = truth - truth.mean(axis=0), trace - trace.mean(axis=0)
    together, spread = (x * y).mean(axis=0), (x * x).mean(axis=0)
    moves = np.sqrt(spread) >= max(least_motion, 1e-9)
    spread = np.where(moves, spread, np.nan)
    own = (y * y).mean(axis=0)
    still = own < 1e-18
    together = np.where(still, 0.0, together)
    return together / spread, together / np.sqrt(np.where(still, 1.0, own) * spread)


def pooled_gain(trace: Floats, truth: Floats) -> float:
    """Pooled gain of a whole expression: slope through the origin over all units and frames.

    Both are deviations (T, U) from rest.

    Returns:
        1 for the expected strength, 0 for no expression; NaN if the truth is at rest throughout.

    Raises:
        ValueError: The shapes differ.
    """
    if trace.shape != truth.shape or trace.ndim != 2:
        raise ValueError(f"traces {trace.shape} and {truth.shape} must both be (T, U)")
    power = float((truth**2).sum())
    return float((trace * truth).sum() / power) if power > 1e-9 else float("nan")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Linear calibration of an instrument's readings to intensities.

    Fitted on pictures with known truth: reading = gain · truth + offset. This line is inverted,
    rather than regressing the truth on the readings, which would shrink uncertain units and make a
    perfect swap appear damped.

    Attributes:
        gain: (U,) of the reading.
        offset: (U,) reading at rest.
        correlation: (U,) of reading and truth; NaN where the truth did not move.
    """

    gain: Floats
    offset: Floats
    correlation: Floats

    @classmethod
    def fit(cls, readings: Floats, truth: Floats) -> Calibration:
        """Fit each unit separately to readings (T, U) and truth (T, U).

        Raises:
            ValueError: The shapes differ or there are fewer than two frames.
        """
        gain, correlation = gain_and_correlation(readings, truth)
        offset = readings.mean(axis=0) - np.nan_to_num(gain) * truth.mean(axis=0)
        return cls(gain, offset, correlation)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(U,) whether a unit's correlation reaches `MIN_READABLE`."""
        return np.nan_to_num(self.correlation, nan=-1.0) >= MIN_READABLE

    def apply(self, readings: Floats) -> Floats:
        """Convert readings to intensities (T, U), unbounded; NaN in unreadable columns."""
        gain = np.where(self.readable, self.gain, np.nan)
        return (readings - self.offset) / gain
