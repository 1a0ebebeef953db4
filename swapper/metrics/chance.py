"""Chance level of a figure, by shifting the performer in time, and scores relative to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

MIN_SHIFT_SECONDS: Final = 1.0
"""Most expressions have changed by then; less would leave the performer in step."""
NUM_SHIFTS: Final = 8
MIN_RANGE: Final = 0.1
"""Least range from floor to ceiling, as a share of the figure's scale; below it a relative score is
mostly noise."""

Floats = NDArray[np.float64]


def shifts(frames: int, fps: float, many: int = NUM_SHIFTS) -> tuple[int, ...]:
    """Circular shifts of at least a second either way, evenly spread over a clip.

    Returns:
        At most `many`, in frames; none if the clip is shorter than two seconds.
    """
    minimum = int(np.ceil(MIN_SHIFT_SECONDS * fps))
    if frames < 2 * minimum:
        return ()
    spread = np.linspace(minimum, frames - minimum, many)
    return tuple(dict.fromkeys(np.round(spread).astype(int).tolist()))


def floor(figure: Callable[[Floats], float], performer: Floats, fps: float) -> float:
    """Mean of a figure over circular shifts of the performer in time.

    A circular shift keeps everything of the performance but its timing, so the figure is what
    another take of the same person would give.

    Args:
        figure: Of a performer's readings (T, ...), with the swap fixed.
        performer: The readings (T, ...).
        fps: Frames per second.

    Returns:
        NaN if the clip is too short or the figure is NaN for every shift.
    """
    values = [figure(np.roll(performer, shift, axis=0)) for shift in shifts(len(performer), fps)]
    finite = [each for each in values if np.isfinite(each)]
    return float(np.mean(finite)) if finite else float("nan")


def relative_score(
    value: float,
    floor: float,
    ceiling: float,
    better: Literal["higher", "lower", "one"] = "higher",
    dimensionless: bool = True,
) -> float:
    """Scale a value so that the floor is 0 and the ceiling 1.

    Args:
        value: The figure.
        floor: What chance gives.
        ceiling: The best that the instrument can report.
        better: Which direction is better; "one" is best at 1.
        dimensionless: Whether 1 is a natural size of the figure, as of correlations and gains.

    Returns:
        NaN if one is NaN, or the ceiling is not better than the floor by `MIN_RANGE` of the
        figure's scale: the larger of the two, at least 1 where it is dimensionless. Such a figure
        does not separate good swaps from bad ones.
    """
    if not np.isfinite(value + floor + ceiling):
        return float("nan")
    span = {
        "higher": ceiling - floor,
        "lower": floor - ceiling,
        "one": abs(1 - floor) - abs(1 - ceiling),
    }[better]
    if span < MIN_RANGE * max(abs(floor), abs(ceiling), float(dimensionless)) or span <= 0:
        return float("nan")
    return (value - floor) / (ceiling - floor)
