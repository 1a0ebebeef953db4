"""What a face does over time, against what it should have done.

A swap may follow in time but too weakly (gain below 1), or strongly but at the wrong moments
(correlation below 1). Each alone can be cheated: jitter makes a damped face look lively, and a face
that hardly moves can correlate perfectly. So both are always told together.
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
"""Correlation with the truth from which a reader is trusted with a unit."""


def gain_and_correlation(
    trace: Floats, truth: Floats, least_motion: float = MIN_MOTION
) -> tuple[Floats, Floats]:
    """Slope (β) and correlation (ρ) of each trace against the truth over time.

    The slope is of the trace on the truth, so noise in the trace lowers the correlation and
    leaves the gain.

    Args:
        trace: (T, U) what was read off the swap.
        truth: (T, U) what should have been.
        least_motion: Standard deviation below which a column of the truth says nothing.

    Returns:
        β (U,) and ρ (U,); both NaN where the truth hardly moves. A trace that stands still has a
        gain and correlation of 0.

    Raises:
        ValueError: The shapes differ or there are fewer than two frames.
    """
    _check(trace, truth)
    x, y = truth - truth.mean(axis=0), trace - trace.mean(axis=0)
    together, spread = (x * y).mean(axis=0), (x * x).mean(axis=0)
    moves = np.sqrt(spread) >= max(least_motion, 1e-9)
    spread = np.where(moves, spread, np.nan)
    own = (y * y).mean(axis=0)
    still = own < 1e-18
    together = np.where(still, 0.0, together)
    return together / spread, together / np.sqrt(np.where(still, 1.0, own) * spread)


def pooled_gain(trace: Floats, truth: Floats) -> float:
    """One gain for a whole expression: slope through rest of all units in all frames together.

    Args:
        trace: (T, U) deviations from rest.
        truth: (T, U) deviations from rest.

    Returns:
        1 where the expression is as strong as it should be, 0 where nothing of it is there; NaN if
        the truth is at rest throughout.

    Raises:
        ValueError: The shapes differ.
    """
    if trace.shape != truth.shape or trace.ndim != 2:
        raise ValueError(f"traces {trace.shape} and {truth.shape} must both be (T, U)")
    power = float((truth**2).sum())
    return float((trace * truth).sum() / power) if power > 1e-9 else float("nan")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a reader says of intensities, turned into intensities.

    Fitted on pictures whose truth is known: reading = gain · truth + offset. It is that line which
    is turned round, not a line through the truth on the readings: the latter shrinks what the
    reader is unsure of, and a perfect swap would seem damped.

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
        """Fit each unit by itself from readings (T, U) of pictures with the truth (T, U).

        Raises:
            ValueError: The shapes differ or there are fewer than two frames.
        """
        gain, correlation = gain_and_correlation(readings, truth)
        offset = readings.mean(axis=0) - np.nan_to_num(gain) * truth.mean(axis=0)
        return cls(gain, offset, correlation)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(U,) which units this reader can be trusted with."""
        return np.nan_to_num(self.correlation, nan=-1.0) >= MIN_READABLE

    def apply(self, readings: Floats) -> Floats:
        """Intensities (T, U), unbounded; NaN in the columns that are not readable."""
        gain = np.where(self.readable, self.gain, np.nan)
        intensities: Floats = (readings - self.offset) / gain
        return intensities


def _check(trace: Floats, truth: Floats) -> None:
    if trace.shape != truth.shape or trace.ndim != 2 or len(trace) < 2:
        raise ValueError(f"traces {trace.shape} and {truth.shape} must both be (T, U), T > 1")
