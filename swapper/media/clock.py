"""Timestamps that never step back, also where a file's do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

_LEAP = 120
"""Seconds. In MPEG-TS, whose parts may bear clocks of their own, a longer leap ahead is a break."""
_IN_STEP = 10
"""Seconds. The streams of one part begin no further apart."""

_MOST_NAMED = 5


@dataclass
class Clock:
    """Places a stream's timestamps on a clock that goes on where the stream's steps back.

    A single timestamp that is out of line is moved by as little as possible. Where all that follows
    is earlier, as in spliced recordings, the rest is moved to follow on; where the first clock
    comes back, so does its place.

    Args:
        time_base: Seconds per tick.
        start: Seconds by which everything is moved towards zero.
        leaps: Whether a leap of more than two minutes ahead is a break as well.

    Attributes:
        offsets: Seconds added after each break, in order, besides `start`.
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
        self._begin = self._offset = -round(self.start / self.time_base)
        self._former: list[int] = []  # offsets of clocks that may come back
        self._last: int | None = None
        self._end = 0  # of the last frame or packet

    def place(self, timestamp: int, duration: int, following: int | None) -> int:
        """Return where a timestamp goes.

        Args:
            timestamp: In ticks, as in the file.
            duration: Of its frame or packet, in ticks; at least 1.
            following: The stream's next timestamp; None at its end.
        """
        if self._is_single(timestamp, following):
            assert following is not None, "it is what the others go on with"
            self.repeats += 1
            ahead = following + self._offset
            return self._put(max(self._after_last, min(self._end, ahead - 1)), duration)
        if self.is_break(timestamp, following):
            self._break(self._end - timestamp)
        elif self._former and timestamp + self._offset > self._end + duration:
            self._come_back(timestamp, duration)
        return self._put(max(timestamp + self._offset, self._after_last), duration)

    def is_break(self, timestamp: int, following: int | None) -> bool:
        """Return whether a timestamp, and what follows, is on another clock than before."""
        return not (self._goes_on(timestamp) or self._is_single(timestamp, following))

    def seconds(self, timestamp: int) -> Fraction:
        """Return where a timestamp lies if nothing breaks before it."""
        return (timestamp + self._offset) * self.time_base

    @property
    def now(self) -> Fraction:
        """Seconds at which the stream has arrived."""
        return self._end * self.time_base

    def describe(self) -> str:
        """Return what was done to the clock, for the log; or nothing."""
        parts = [
            f"steps back or leaps at {float(when):.3f} s; what follows was moved to go on there"
            for when in self.breaks[:_MOST_NAMED]
        ]
        if len(self.breaks) > _MOST_NAMED:
            parts.append(f"does so {len(self.breaks) - _MOST_NAMED} times more")
        if self.repeats:
            parts.append(f"has {self.repeats} timestamps out of line, which were moved")
        return f"its clock {', '.join(parts)}" if parts else ""

    @property
    def _after_last(self) -> int:
        return -(1 << 62) if self._last is None else self._last + 1

    def _put(self, placed: int, duration: int) -> int:
        self._last, self._end = placed, placed + duration
        return placed

    def _goes_on(self, timestamp: int) -> bool:
        if self._last is None:
            return True
        placed = timestamp + self._offset
        leaps = self.leaps and (placed - self._end) * self.time_base > _LEAP
        return placed > self._last and not leaps

    def _is_single(self, timestamp: int, following: int | None) -> bool:
        """Return whether only this timestamp is out of line, with room for it before the next."""
        if following is None or self._last is None or self._goes_on(timestamp):
            return False
        return self._goes_on(following) and following + self._offset > self._last + 1

    def _break(self, offset: int) -> None:
        self._former.append(self._offset)
        self._offset = offset
        self.offsets.append((offset - self._begin) * self.time_base)
        self.breaks.append(self.now)

    def _come_back(self, timestamp: int, duration: int) -> None:
        """Take an earlier offset again, if it lets `timestamp` follow on."""
        for earlier in self._former:
            placed = timestamp + earlier
            if abs(placed - self._end) <= duration and placed >= self._after_last:
                self._offset, self._former = earlier, []
                return


@dataclass
class TrackClock(Clock):
    """Clock of a track that stays in step with the video's.

    Where both step back, it takes the video's offset. Where only the track does, as after a cut
    that kept sound from before its first frame, it drops what it has had already.
    """

    _drops: bool = field(default=False, init=False)

    def place_in_step(
        self, timestamp: int, duration: int, following: int | None, video: Sequence[Fraction]
    ) -> int | None:
        """Return where a timestamp goes, or None to drop its packet.

        Args:
            timestamp: As of `place`, like the next two.
            duration: Of the packet.
            following: The track's next timestamp.
            video: `offsets` of the video's clock so far.
        """
        if not self._drops and self.is_break(timestamp, following):
            own = self._end - timestamp
            known = [self._begin, *(self._begin + round(each / self.time_base) for each in video)]
            nearest = min(known, key=lambda each: abs(each - own))
            if abs(nearest - own) * self.time_base <= _IN_STEP:
                self._break(nearest)
                self._drops = True
            elif own < self._offset:  # ahead, and the video is not: a gap in the sound
                return self._put(timestamp + self._offset, duration)
        if self._drops:
            if timestamp + self._offset + duration // 2 < self._end:
                return None
            self._drops = False
            return self._put(max(timestamp + self._offset, self._after_last), duration)
        return self.place(timestamp, duration, following)
