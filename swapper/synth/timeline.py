"""Timelines (scores): emotions with time and strength, and spans of speech."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from swapper.errors import UsageError, choices_text
from swapper.synth.emotions import EMOTIONS

SHORTEST_BEAT: Final = 0.4
"""Shortest segment in seconds."""
LONGEST: Final = 3600.0
_TALK: Final = 0.25
"""Share of random segments with speech."""
_ITEM: Final = re.compile(
    r"(?P<emotions>[a-z]+(?:\+[a-z]+)*):(?P<seconds>[^@+]+)(?:@(?P<strength>[^+]+))?"
    r"(?P<speech>\+speech)?"
)
_FORM: Final = "EMOTION[+EMOTION]:SECONDS[@STRENGTH][+speech]"


@dataclass(frozen=True)
class Segment:
    """One emotion, from its onset to the start of its offset.

    Attributes:
        emotion: One of `EMOTIONS`. Overlapping segments blend.
        start: Seconds.
        end: Seconds.
        strength: In (0, 1].

    Raises:
        UsageError: If a field is out of its range.
    """

    emotion: str
    start: float
    end: float
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.emotion not in EMOTIONS:
            raise UsageError(
                f"score: {self.emotion!r} is no emotion, choose from "
                f"{choices_text(self.emotion, EMOTIONS)}"
            )
        finite = all(math.isfinite(time) for time in (self.start, self.end))
        if not finite or self.start < 0 or self.end - self.start < SHORTEST_BEAT - 1e-3:
            raise UsageError(
                f"score: {self.emotion} from {self.start:g} to {self.end:g} s: a beat must last "
                f"at least {SHORTEST_BEAT:g} seconds"
            )
        if not 0 < self.strength <= 1:
            raise UsageError(
                f"score: {self.emotion}@{self.strength:g}: strength must be above 0 and at most 1"
            )


@dataclass(frozen=True)
class Timeline:
    """Segments of emotion and speech.

    Attributes:
        beats: Segments; neutral where none is active, blended where several are.
        duration: Seconds.
        speech: (start, end) of speech in seconds, ordered and disjoint.

    Raises:
        UsageError: If a beat or a speech does not lie within the duration.
    """

    beats: tuple[Segment, ...]
    duration: float
    speech: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration) and SHORTEST_BEAT <= self.duration <= LONGEST):
            raise UsageError(
                f"score: duration {self.duration:g}: must be from {SHORTEST_BEAT:g} to "
                f"{LONGEST:g} seconds"
            )
        for beat in self.beats:
            if beat.end > self.duration + 1e-6:
                raise UsageError(
                    f"score: {beat.emotion} ends at {beat.end:g} s, after the score's "
                    f"{self.duration:g} s"
                )
        last = 0.0
        for start, end in self.speech:
            if not (math.isfinite(start) and math.isfinite(end)) or not (
                last <= start < end <= self.duration + 1e-6
            ):
                raise UsageError(
                    f"score: speech from {start:g} to {end:g} s must lie within the score, in "
                    "order and without overlap"
                )
            last = end

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that occur, in the order of `EMOTIONS`."""
        played = {beat.emotion for beat in self.beats}
        return tuple(name for name in EMOTIONS if name in played)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "beats": [dataclasses.asdict(beat) for beat in self.beats],
            "duration": self.duration,
            "speech": [list(span) for span in self.speech],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Timeline:
        """The inverse of `to_dict`."""
        return cls(
            tuple(Segment(**beat) for beat in values["beats"]),
            values["duration"],
            tuple((start, end) for start, end in values["speech"]),
        )


def parse_timeline(text: str) -> Timeline:
    """Parse a score such as ``neutral:1.5,happy:2@0.8,sad+anger:2,anger:2+speech``.

    Its consecutive items are ``EMOTION[+EMOTION]:SECONDS[@STRENGTH][+speech]``.

    Raises:
        UsageError: Names the item and what is wrong with it.
    """
    beats: list[Segment] = []
    speech: list[tuple[float, float]] = []
    now = 0.0
    items = [item.strip() for item in text.split(",")]
    if items == [""]:
        raise UsageError(f"score is empty: pass {_FORM},..., such as neutral:1,happy:2@0.8")
    for item in items:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise UsageError(f"score: {item!r} is not {_FORM}, such as happy:2@0.8+speech")
        seconds = _number(item, "SECONDS", match["seconds"])
        strength = _number(item, "STRENGTH", match["strength"] or "1")
        end = round(now + seconds, 6)
        for emotion in match["emotions"].split("+"):
            beats.append(Segment(emotion, now, end, strength))
        if match["speech"]:
            speech.append((now, end))
        now = end
    return Timeline(tuple(beats), now, _joined(speech))


def _number(item: str, field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"score: {item!r}: {field} is {text!r}, not a number")
    return value


def _joined(spans: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Merge adjacent spans."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < 1e-9:
            start = joined.pop()[0]
        joined.append((start, end))
    return tuple(joined)


def random_timeline(
    seed: int,
    duration: float,
    emotions: Sequence[str] = EMOTIONS,
    *,
    strength: tuple[float, float] = (0.6, 1.0),
) -> Timeline:
    """Sample a timeline that contains each of `emotions` at least once; deterministic.

    Args:
        seed: Seed of order, lengths, strengths and speech.
        duration: Seconds.
        emotions: Emotions to play, in random order; repeated if time allows.
        strength: Range of strengths.

    Raises:
        UsageError: If there are too many emotions for the time.
    """
    rng = np.random.default_rng([seed, 0x5C0E])
    if duration < SHORTEST_BEAT * len(emotions):
        raise UsageError(
            f"{duration:g} seconds are too few to play {', '.join(emotions)}: "
            f"{SHORTEST_BEAT * len(emotions):g} are needed"
        )
    # About 2.5 seconds per segment.
    count = max(len(emotions), round(duration / 2.5))
    order: list[str] = []
    while len(order) < count:
        order += [str(name) for name in rng.permutation(np.array(emotions))]
    order = order[:count]
    spare = duration - SHORTEST_BEAT * count
    shares = rng.dirichlet(np.full(count, 6.0)) * spare + SHORTEST_BEAT
    ends = np.round(np.cumsum(shares), 4)
    ends[-1] = duration
    starts = [0.0, *ends[:-1].tolist()]
    beats = tuple(
        Segment(name, start, float(end), round(float(rng.uniform(*strength)), 3))
        for name, start, end in zip(order, starts, ends, strict=True)
    )
    spoken = rng.random(count) < _TALK
    speech = ((beat.start, beat.end) for beat, talks in zip(beats, spoken, strict=True) if talks)
    return Timeline(beats, duration, _joined(speech))
