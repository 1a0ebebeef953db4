"""Movements that are over within half a second: are they still there?

Energy alone cannot say: blinks, speech and onsets fill the same band, and a reader's noise does.
So each brief movement of the performer's is found by itself and looked for in the swap.
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
"""Seconds that the longest of them stays above half its height. A longer look would take the
rounded tops of ordinary expressions for brief ones."""
LOST_BELOW: Final = 0.5
"""Of the strength that is to be expected: less than this of a movement is gone."""
MIN_GAIN: Final = 0.3
"""Of a unit's slow movements: below it a brief one would be lost in the reader's noise anyway."""
_NOISE_FACTOR: Final = 4.5
"""Deviations of the noise from which a reading is a movement: at 25 frames a second and 20 units,
noise reaches that less than twice a minute."""
_MIN_PEAK: Final = 0.08
_INVOLVED_SHARE: Final = 0.35
"""Of the strongest unit's peak; what is below adds noise and no evidence."""
_SEPARATION: Final = 2.5
"""Standard errors that must lie between a movement that is there and one that is not, and the
middle of the two."""
_CHATTER_COUNT: Final = 2
"""Of the like within a second, either way, from which movements are speech: three to six syllables
a second, kept or not, would outnumber everything else that is brief."""
_CHATTER_SECONDS: Final = 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BriefMovements:
    """What became of a performer's brief movements.

    Attributes:
        shown: How many the performer made that the swap's noise allows to judge.
        lost: How many of them are missing in the swap beyond doubt.
        gain: Mean strength of those shown, of what is to be expected; NaN if there are none.
    """

    total: int
    lost: int
    gain: float


@dataclass(frozen=True, eq=False)
class _Movement:
    """Frames and units (U,) of one."""

    start: int
    end: int
    involved: NDArray[np.bool_]


def brief_movements(
    pair: PairedTraces, gain: float | Floats = 1.0, lids: Sequence[int] = ()
) -> BriefMovements:
    """Find the performer's brief movements and look for each in the swap.

    What a running median over longer than twice a movement leaves is brief: it keeps onsets and
    offsets, however steep, and takes away what comes and goes.

    Args:
        pair: Aligned.
        gain: Of the swap's slow movements, one or (U,) for the pair's columns: a damped swap damps
            these too, and has not lost them, and another face shows less of one unit and more of
            another. Units with less than `MIN_GAIN` of it cannot tell.
        lids: Columns, as handed to `PairedTraces.of`, that close the eyes: blinks are brief as
            well, there are more of them, and they would hide what is lost.
    """
    open_eyed = ~np.isin(pair.columns, np.asarray(lids, np.intp))
    gains = np.broadcast_to(gain, pair.columns.shape)
    open_eyed &= gains >= MIN_GAIN
    told, gains = pair.select(open_eyed), gains[open_eyed]
    if not told.enough or not told.columns.size:
        return BriefMovements(0, 0, np.nan)
    width = round(2 * _MAX_HALF_HEIGHT_SECONDS * pair.fps) | 1
    pieces = [tuple(_high_passed(each, width) for each in both) for both in told.stretches]
    swap_noise, noise = (
        np.array([robust_spread(each) for each in np.concatenate(side).T])
        for side in zip(*pieces, strict=True)
    )
    doubtful = np.sqrt(swap_noise**2 + (gains * noise) ** 2)
    found = []
    for swap, performer in pieces:
        movements = _movements(performer, noise, pair.fps)
        expected = _smoothed(performer) * gains
        found += [_remaining(_smoothed(swap), expected, each, doubtful) for each in movements]
    strength, doubt = np.array(found).reshape(-1, 2).T
    clear = _SEPARATION * doubt < LOST_BELOW
    lost = clear & (strength < LOST_BELOW)
    shown = int(clear.sum())
    mean = float(strength[clear].mean()) if shown else float("nan")
    return BriefMovements(shown, int(lost.sum()), mean)


def _high_passed(trace: Floats, width: int) -> Floats:
    left: Floats = trace - ndimage.median_filter(trace, size=(width, 1), mode="nearest")
    return left


def _movements(brief: Floats, noise: Floats, fps: float) -> list[_Movement]:
    """What of the performer's brief traces (T, U) is a movement and no chatter."""
    high = np.abs(brief) > np.maximum(_NOISE_FACTOR * noise, _MIN_PEAK)
    shown = ndimage.binary_closing(high.any(axis=1), np.ones(3, bool))
    found = []
    for start, end in contiguous_runs(shown):
        if end - start > MAX_SECONDS * fps or start == 0 or end == len(brief):
            continue
        peak = np.abs(brief[start:end]).max(axis=0)
        involved = peak >= _INVOLVED_SHARE * peak.max()
        found.append(_Movement(max(start - 1, 1), min(end + 1, len(brief) - 1), involved))
    return [each for each in found if not _is_chatter(each, found, fps)]


def _is_chatter(one: _Movement, among: list[_Movement], fps: float) -> bool:
    """Whether the same units do the like over and over around it."""
    beside = [
        other
        for other in among
        if other is not one
        and abs(other.start + other.end - one.start - one.end) / 2 < _CHATTER_SECONDS * fps
        and (other.involved & one.involved).any()
    ]
    return len(beside) >= _CHATTER_COUNT


def _remaining(
    swap: Floats, expected: Floats, movement: _Movement, doubtful: Floats
) -> tuple[float, float]:
    """How much of what is expected of one movement is in the swap, and the standard error of it."""
    start, end, involved = movement.start, movement.end, movement.involved
    x = expected[start:end, involved]
    power = float((x * x).sum())
    # A lag of less than a frame leaves a sharp peak on either side.
    slope = max(float((x * swap[start + s : end + s, involved]).sum()) / power for s in (-1, 0, 1))
    return slope, float(np.sqrt((_smoothed(x) ** 2 * doubtful[involved] ** 2).sum())) / power


def _smoothed(trace: Floats) -> Floats:
    """Over three frames, for half a frame of lag halves the peak of what shows in one."""
    soft: Floats = ndimage.convolve1d(trace, (0.25, 0.5, 0.25), axis=0, mode="nearest")
    return soft
