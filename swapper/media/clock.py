"""Timestamps that start at zero and never step back."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

_LEAP = 10
"""Seconds that a clock may jump ahead in MPEG-TS, whose parts may bear clocks of their own."""
_IN_STEP = 1
"""Seconds within which one stream's break is another's."""


@dataclass
class Clock:
    """Places one stream's timestamps on a clock that goes on where the stream's steps back.

    A single timestamp that is out of line is moved by as little as possible. Where all that follows
    is earlier, as in spliced recordings, the rest is moved to follow on; where the first clock
    comes back, so does its place.

    Args:
        time_base: Seconds per tick.
        start: Seconds by which everything is moved towards zero.
        leaps: Whether a leap of more than ten seconds ahead is a break as well.

    Attributes:
        offsets: Seconds added to the timestamps after each break, in order; `start` left out.
        breaks: Seconds at which they occurred, on the clock that goes on.
        repeats: Single timestamps that were moved.
    """

    time_base: Fraction
    start: Fraction = Fraction(0)
    leaps: bool = False
    offsets: list[Fraction] = field(default_factory=list)
    breaks: list[Fraction] = field(default_factory=list)
    repeats: int = 0

    def __post_init__(self) -> None:
        self._begin = -round(self.start / self.time_base)
        self._offset = self._begin
        self._before: list[int] = []  # offsets of clocks that may come back
        self._end: int | None = None  # of the last frame or packet
        self._last = 0

    def place(
        self,
        timestamp: int,
        duration: int,
        following: int | None,
        known: list[Fraction] | None = None,
    ) -> int:
        """Return where a timestamp goes.

        Args:
            timestamp: In ticks, as in the file.
            duration: Of its frame or packet, in ticks; at least 1.
            following: The stream's next timestamp; None at its end.
            known: `offsets` of another stream of the same file, to break in step with it.
        """
        placed = timestamp + self._offset
        if self._end is not None and not self._goes_on(placed):
            ahead = None if following is None else following + self._offset
            if ahead is not None and self._goes_on(ahead) and ahead > self._last + 1:
                self.repeats += 1
                placed = max(self._last + 1, min(self._end, ahead - 1))
            else:
                self._offset = self._new_offset(timestamp, self._end, known or [])
                self.offsets.append((self._offset - self._begin) * self.time_base)
                self.breaks.append(self._end * self.time_base)
                placed = max(timestamp + self._offset, self._last + 1)
        elif self._end is not None and self._before and placed > self._end + duration:
            self._come_back(timestamp, self._end, duration)
            placed = timestamp + self._offset
        self._last, self._end = placed, placed + duration
        return placed

    def is_break(self, timestamp: int, following: int | None) -> bool:
        """Return whether `place` would find a break there."""
        if self._end is None or self._goes_on(timestamp + self._offset):
            return False
        ahead = None if following is None else following + self._offset
        return ahead is None or not self._goes_on(ahead) or ahead <= self._last + 1

    def seconds(self, timestamp: int) -> Fraction:
        """Return where a timestamp lies if nothing breaks before it."""
        return (timestamp + self._offset) * self.time_base

    @property
    def now(self) -> Fraction:
        """Seconds at which the stream has arrived."""
        return (self._end or 0) * self.time_base

    def _goes_on(self, placed: int) -> bool:
        assert self._end is not None, "only after the first"
        ahead = (placed - self._end) * self.time_base
        return placed > self._last and not (self.leaps and ahead > _LEAP)

    def _new_offset(self, timestamp: int, end: int, known: list[Fraction]) -> int:
        """Return the offset that lets `timestamp` follow on, or another stream's near to it."""
        own = end - timestamp
        self._before.append(self._offset)
        others = [round(each / self.time_base) + self._begin for each in known]
        near = [each for each in others if abs(each - own) * self.time_base < _IN_STEP]
        return min(near, key=lambda each: abs(each - own), default=own)

    def _come_back(self, timestamp: int, end: int, duration: int) -> None:
        """Take an earlier offset again, if it lets `timestamp` follow on."""
        for earlier in self._before:
            if abs(timestamp + earlier - end) <= duration and timestamp + earlier > self._last:
                self._offset, self._before = earlier, []
                return
