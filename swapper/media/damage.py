"""Count and place the frames that a damaged clip has lost, or shows damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Share of intervals that must be equal for longer ones to be losses: clips of phones and screens
# have uneven ones by nature.
_STEADY = 0.9
_MOST_PLACES = 5


@dataclass
class DamageLog:
    """Collects what one pass over a clip finds.

    Attributes:
        corrupt: Seconds of frames that the decoder could only conceal.
    """

    corrupt: list[float] = field(default_factory=list)
    _intervals: Counter[int] = field(default_factory=Counter)
    _long: list[tuple[float, int]] = field(default_factory=list)

    def add(self, time: float, ticks: int | None, *, corrupt: bool) -> None:
        """Add a frame.

        Args:
            time: Seconds since the clip's first frame.
            ticks: To the next frame; None for the last.
            corrupt: Whether the decoder found it damaged.
        """
        if corrupt:
            self.corrupt.append(time)
        if ticks is None:
            return
        self._intervals[ticks] += 1
        usual = self._usual
        if ticks > 1.5 * usual:
            self._long.append((time, ticks))

    def describe(self) -> list[str]:
        """Return a line for lost and one for damaged frames, where there are any."""
        lines = []
        if lost := self._lost():
            lines.append(_placed("lost", lost))
        if self.corrupt:
            lines.append(_placed("damaged", [(time, 1) for time in self.corrupt]))
        return lines

    @property
    def _usual(self) -> int:
        return max(self._intervals, key=self._intervals.__getitem__)

    def _lost(self) -> list[tuple[float, int]]:
        """Return where frames are missing, and how many; nothing in clips of uneven frames."""
        if not self._long:
            return []
        usual, total = self._usual, sum(self._intervals.values())
        # Containers that count in milliseconds round an interval up or down.
        steady = sum(count for ticks, count in self._intervals.items() if abs(ticks - usual) <= 1)
        if steady < _STEADY * total:
            return []
        counts = [(time, round(ticks / usual) - 1) for time, ticks in self._long]
        return [(time, count) for time, count in counts if count > 0]


def _placed(what: str, found: list[tuple[float, int]]) -> str:
    total = sum(count for _, count in found)
    places = ", ".join(_clock_time(time) for time, _ in found[:_MOST_PLACES])
    more = f" and {len(found) - _MOST_PLACES} more places" if len(found) > _MOST_PLACES else ""
    return f"{total} frame{'s' if total > 1 else ''} {what} at {places}{more}"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02}:{rest:06.3f}"
