"""Brief movements (at most half a second): which of the performer's are present in the swap.

Band energy does not answer that: blinks, speech, onsets and instrument noise fill the same band.
So each brief movement of the performer is detected and matched in the swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from swapper.metrics.paired_traces import PairedTraces, contiguous_runs, robust_spread

MAX_SECONDS: Final = 0.5
"""Seconds; micro-expressions last 1/25 to 1/2 (Yan et al., 2013)."""
_MAX_HALF_HEIGHT_SECONDS: Final = 0.35
"""Seconds that the longest of them stays above half its height. A longer window would detect the
rounded peaks of ordinary expressions."""
LOST_BELOW: Final = 0.5
"""Share of the expected strength below which a movement is lost."""
MIN_GAIN: Final = 0.3
"""Gain of a unit's slow movements below which its brief ones are lost in instrument noise."""
_NOISE_FACTOR: Final = 4.5
"""Standard deviations of noise from which a reading is a movement: at 25 fps and 20 units, noise
exceeds it less than twice a minute."""
_MIN_PEAK: Final = 0.08
_INVOLVED_SHARE: Final = 0.35
"""Share of the strongest unit's peak from which a unit is involved; weaker ones add only noise."""
_SEPARATION: Final = 2.5
"""Standard errors required between either case (present, absent) and the midpoint of the two."""
_CHATTER_COUNT: Final = 2
"""Number of similar movements within a second, either way, from which they are speech: at three to
six syllables a second they would outnumber all other brief movements."""
_CHATTER_SECONDS: Final = 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BriefMovements:
    """Counts of the performer's brief movements and of those lost in the swap.

    Attributes:
        total: Movements of the performer that can be assessed given the swap's noise.
        lost: Those of them that are absent in the swap.
        gain: Their mean strength relative to the expected one; NaN if there are none.
    """

    total: int
    lost: int
    gain: float


@dataclass(frozen=True, eq=False)
class _Movement:
    """Frames and units (U,) of one movement."""

    start: int
    end: int
    involved: NDArray[np.bool_]


def brief_movements(
    pair: PairedTraces, gain: float | Floats = 1.0, lids: Sequence[int] = ()
) -> BriefMovements:
    """Detect the performer's brief movements and match each in the swap.

    The residual of a running median, longer than twice a movement, is brief: the median keeps
    onsets and offsets, however steep, and removes short pulses.

    Args:
        pair: Aligned.
        gain: Of the swap's slow movements, a scalar or (U,) for the pair's columns: a damped swap
            damps brief ones too without losing them. Units below `MIN_GAIN` are excluded.
        lids: Columns, as passed to `PairedTraces.of`, that close the eyes; excluded, since blinks
            are brief too and would outnumber what is lost.
    """
    selected = ~np.isin(pair.columns, np.asarray(lids, np.intp))
    gains = np.broadcast_to(gain, pair.columns.shape)
    selected &= gains >= MIN_GAIN
    units, gains = pair.select(selected), gains[selected]
    if not units.enough or not units.columns.size:
        return BriefMovements(0, 0, np.nan)
    width = round(2 * _MAX_HALF_HEIGHT_SECONDS * pair.fps) | 1
    pieces = [
        tuple(each - ndimage.median_filter(each, size=(width, 1), mode="nearest") for each in both)
        for both in units.stretches
    ]
    swap_noise, noise = (robust_spread(np.concatenate(side)) for side in zip(*pieces, strict=True))
    standard_error = np.sqrt(swap_noise**2 + (gains * noise) ** 2)
    remaining = []
    for swap, performer in pieces:
        movements = _movements(performer, noise, pair.fps)
        expected = _smoothed(performer) * gains
        remaining += [
            _remaining(_smoothed(swap), expected, each, standard_error) for each in movements
        ]
    strength, errors = np.array(remaining).reshape(-1, 2).T
    clear = _SEPARATION * errors < LOST_BELOW
    lost = clear & (strength < LOST_BELOW)
    total = int(clear.sum())
    mean = float(strength[clear].mean()) if total else float("nan")
    return BriefMovements(total, int(lost.sum()), mean)


def _movements(brief: Floats, noise: Floats, fps: float) -> list[_Movement]:
    """Detect movements in the performer's brief traces (T, U), without chatter."""
    exceeds = np.abs(brief) > np.maximum(_NOISE_FACTOR * noise, _MIN_PEAK)
    active = ndimage.binary_closing(exceeds.any(axis=1), np.ones(3, bool))
    movements = []
    for start, end in contiguous_runs(active):
        if end - start > MAX_SECONDS * fps or start == 0 or end == len(brief):
            continue
        peak = np.abs(brief[start:end]).max(axis=0)
        involved = peak >= _INVOLVED_SHARE * peak.max()
        movements.append(_Movement(max(start - 1, 1), min(end + 1, len(brief) - 1), involved))
    return [each for each in movements if not _is_chatter(each, movements, fps)]


def _is_chatter(movement: _Movement, movements: list[_Movement], fps: float) -> bool:
    """Whether at least `_CHATTER_COUNT` movements around it involve the same units."""
    similar = [
        other
        for other in movements
        if other is not movement
        and abs(other.start + other.end - movement.start - movement.end) / 2
        < _CHATTER_SECONDS * fps
        and (other.involved & movement.involved).any()
    ]
    return len(similar) >= _CHATTER_COUNT


def _remaining(
    swap: Floats, expected: Floats, movement: _Movement, noise_scale: Floats
) -> tuple[float, float]:
    """Strength of one movement in the swap relative to the expected one, and its standard error."""
    start, end, involved = movement.start, movement.end, movement.involved
    x = expected[start:end, involved]
    power = float((x * x).sum())
    # A lag of less than a frame shifts a sharp peak to either side.
    slope = max(float((x * swap[start + s : end + s, involved]).sum()) / power for s in (-1, 0, 1))
    return slope, float(np.sqrt((_smoothed(x) ** 2 * noise_scale[involved] ** 2).sum())) / power


def _smoothed(trace: Floats) -> Floats:
    """Smooth over three frames: half a frame of lag halves the peak of a single-frame pulse."""
    return np.asarray(ndimage.convolve1d(trace, (0.25, 0.5, 0.25), axis=0, mode="nearest"))
