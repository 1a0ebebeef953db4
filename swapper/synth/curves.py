"""Smooth functions of time for muscle activation and idle motion.

All are functions of time rather than of frames, so a performance at another frame rate samples the
same values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def minimum_jerk(share: Floats) -> Floats:
    """Minimum-jerk profile from 0 at 0 to 1 at 1, at rest at both ends; constant outside.

    Source: Flash and Hogan, The coordination of arm movements, J. Neuroscience 5, 1985.
    """
    s = np.clip(share, 0.0, 1.0)
    return np.asarray(s**3 * (10.0 + s * (6.0 * s - 15.0)))


def rise(times: Floats, start: float, duration: float) -> Floats:
    """Return 0 before `start`, 1 from ``start + duration`` on, minimum jerk between."""
    return minimum_jerk((times - start) / max(duration, 1e-6))


def bump(times: Floats, start: float, attack: float, hold: float, release: float) -> Floats:
    """Rise to 1 in `attack` seconds, hold for `hold`, fall to 0 in `release`."""
    return rise(times, start, attack) * (1.0 - rise(times, start + attack + hold, release))


def smooth_noise(times: Floats, rate: float, rng: np.random.Generator) -> Floats:
    """Smooth noise about 0 with a standard deviation of about 1, never beyond about 3.

    Args:
        times: Seconds, 0 or more.
        rate: Frequency of the first octave in Hz; the second has twice it, and 0.6 of the
            amplitude.
        rng: Source of the phases; the same generator gives the same noise at any times.
    """
    total, power = np.zeros_like(times), 0.0
    for octave in range(2):
        strength = 0.6**octave
        # Incommensurable rates, so that the noise does not repeat.
        for detune in (0.61, 0.83, 1.0, 1.29, 1.57):
            hertz = rate * 2**octave * detune * float(rng.uniform(0.92, 1.08))
            phase = float(rng.uniform(0.0, 2.0 * np.pi))
            total += strength * np.sin(2.0 * np.pi * hertz * times + phase)
            power += strength**2 / 2.0
    return np.asarray(total / np.sqrt(power))


def interpolate_keys(times: Floats, keys: Floats, values: Floats) -> Floats:
    """Interpolate (K, D) values at increasing keys (K,) seconds by minimum-jerk segments: (T, D).

    Constant before the first and after the last.
    """
    after = np.clip(np.searchsorted(keys, times, side="right"), 1, len(keys) - 1)
    start, end = keys[after - 1], keys[after]
    share = minimum_jerk((times - start) / np.maximum(end - start, 1e-6))[:, None]
    return np.asarray(values[after - 1] + share * (values[after] - values[after - 1]))
