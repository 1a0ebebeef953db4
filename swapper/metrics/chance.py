"""What a figure would be if a swap had nothing to do with its performer, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_SHIFT_SECONDS: Final = 1.0
"""Seconds. Most expressions have changed by then; less would leave the performer in step."""
NUM_SHIFTS: Final = 8
MIN_RANGE: Final = 0.1
"""Between floor and ceiling, below which a place between them is mostly noise."""

Floats = NDArray[np.float64]


def shifts(frames: int, fps: float, many: int = NUM_SHIFTS) -> tuple[int, ...]:
    """Circular shifts of at least a second either way, evenly spread over a clip.

    Returns:
        At most `many`, in frames; none if the clip is shorter than two seconds.
    """
    least = int(np.ceil(MIN_SHIFT_SECONDS * fps))
    if frames < 2 * least:
        return ()
    spread = np.linspace(least, frames - least, many)
    return tuple(dict.fromkeys(np.round(spread).astype(int).tolist()))


def floor(figure: Callable[[Floats], float], performer: Floats, fps: float) -> float:
    """The figure that the performer shuffled in time gives, averaged over several shifts.

    A shift in a circle keeps everything of the performance but its moment: what a figure still
    finds is what any other take of the same person would have given.

    Args:
        figure: Of a performer's readings (T, ...), with the swap held fast.
        performer: The readings (T, ...).
        fps: Frames a second.

    Returns:
        NaN if the clip is too short or the figure says nothing of any shift.
    """
    found = [figure(np.roll(performer, shift, axis=0)) for shift in shifts(len(performer), fps)]
    told = [each for each in found if np.isfinite(each)]
    return float(np.mean(told)) if told else float("nan")


def relative_score(value: float, floor: float, ceiling: float) -> float:
    """Where a figure stands: 0 at the floor, 1 at the ceiling, whichever of them is the higher.

    Returns:
        NaN where floor and ceiling are less than `MIN_RANGE` apart or one is unknown.
    """
    room = ceiling - floor
    if not np.isfinite(room) or abs(room) < MIN_RANGE:
        return float("nan")
    return (value - floor) / room
