"""What a report of one swap holds: plain values, ready to be laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MEASURE_KEYS: Final = (
    "title",
    "value",
    "floor",
    "ceiling",
    "self_swap",
    "better",
    "unit",
    "why_not",
)
"""Of a measure, in the JSON."""
_MIN_RANGE_SHARE: Final = 0.1
"""Floor and ceiling apart by less than this share say nothing."""


@dataclass(frozen=True)
class Measure:
    """One figure, between the worst and the best that the same instrument can say of this clip.

    Attributes:
        name: Key in the JSON.
        title: For a person.
        value: NaN where it cannot be told.
        floor: Of the swap against another moment of the performer; NaN where that means nothing.
        ceiling: Of the exact answer, or else of the performer's own clip, encoded anew; NaN
            likewise.
        better: Which way is better; "one" is best at 1.
        unit: Such as "°" or "frames"; "" for a bare number.
        why_not: Why the value cannot be told; "" if it can.
        self_swap: Of the performer on the performer's own face, by the same model; NaN likewise.
    """

    name: str
    title: str
    value: float
    floor: float = float("nan")
    ceiling: float = float("nan")
    better: Literal["higher", "lower", "one"] = "higher"
    unit: str = ""
    why_not: str = ""
    self_swap: float = float("nan")


def normalised_score(measure: Measure, value: float | None = None) -> float:
    """0 at the floor, 1 at the ceiling, whichever way is better; NaN where that is not known.

    Nor is it told where the ceiling is no better than the floor, or hardly: the figure then does
    not tell a good swap from a bad one, and a place between the two would only seem to.

    Args:
        measure: With its floor and ceiling.
        value: Of the same kind; None for the measure's own.
    """
    floor, ceiling = measure.floor, measure.ceiling
    value = measure.value if value is None else value
    if not np.isfinite(floor + ceiling + value):
        return float("nan")
    span = {
        "higher": ceiling - floor,
        "lower": floor - ceiling,
        "one": abs(1 - floor) - abs(1 - ceiling),
    }[measure.better]
    if span <= _MIN_RANGE_SHARE * max(abs(floor), abs(ceiling)):
        return float("nan")
    return (value - floor) / (ceiling - floor)


@dataclass(frozen=True)
class Group:
    """Measures of one kind, by one instrument.

    Attributes:
        title: Such as "Emotion".
        instrument: What measured them.
        measures: In the order in which they are told.
        partial: Why the instrument flatters this swap, such as "taught the model"; "" if it is
            independent.
    """

    title: str
    instrument: str
    measures: tuple[Measure, ...]
    partial: str = ""

    @property
    def instrument_label(self) -> str:
        """The instrument, with its mark."""
        return f"{self.instrument} ({self.partial})" if self.partial else self.instrument


@dataclass(frozen=True)
class UnitAgreement:
    """How one unit of expression follows the performer's.

    Attributes:
        name: Such as "jawOpen" or "AU12".
        gain, correlation: β and ρ.
        motion: Standard deviation of the performer's.
    """

    name: str
    gain: float
    correlation: float
    motion: float


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame worth looking at.

    Attributes:
        frame: Its index.
        seconds: When.
        words: What is to be seen, such as "happiness 0.93".
        performer, swap: Aligned crops, JPEG.
        truth: Of the exact answer, where there is one.
    """

    frame: int
    seconds: float
    caption: str
    performer: bytes
    swap: bytes
    truth: bytes | None = None


@dataclass(frozen=True, eq=False)
class Emotions:
    """What was read of both faces over time; rows are NaN where there was no face.

    Attributes:
        names: Of the classes, C of them.
        performer, swap: (T, C) probabilities.
        affect_performer, affect_swap: (T, 2) valence and arousal in [-1, 1], or None.
    """

    names: tuple[str, ...]
    performer: Floats
    swap: Floats
    affect_performer: Floats | None = None
    affect_swap: Floats | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """All that is told of one swap.

    Attributes:
        title: Such as the names of the two files.
        verdict: One sentence.
        expressive: Whether the performance came through; None where nothing can be told.
        findings: What is wrong, worst first, a sentence each.
        untold: What this clip cannot show, and why.
        seconds: (T,) time of each frame.
        strongest: Moments of the performer's strongest feeling, in order of time.
        worst: Moments in which the two are furthest apart, worst first.
        emotions: None where no reader of emotions was at hand.
        units: Of expression; empty where none were read.
        unit_reader: What read them.
        groups: All measures.
        lineage: What the model was trained against, and what measured it.
        facts: Hashes, settings, versions: name to text.
    """

    title: str
    verdict: str
    expressive: bool | None
    findings: tuple[str, ...]
    undetermined: tuple[str, ...]
    seconds: Floats
    strongest: tuple[KeyFrame, ...]
    worst: tuple[KeyFrame, ...]
    emotions: Emotions | None
    units: tuple[UnitAgreement, ...]
    unit_instrument: str
    groups: tuple[Group, ...]
    lineage: tuple[str, ...]
    facts: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, without pictures and traces; None stands for NaN."""
        return {
            "title": self.title,
            "verdict": self.verdict,
            "expressive": self.expressive,
            "findings": list(self.findings),
            "untold": list(self.undetermined),
            "measures": {
                measure.name: {key: _plain(getattr(measure, key)) for key in MEASURE_KEYS}
                | {"standing": _plain(normalised_score(measure))}
                | {"instrument": group.instrument_label, "group": group.title}
                | {"partial": bool(group.partial)}
                for group in self.groups
                for measure in group.measures
            },
            "units": {
                unit.name: {
                    "gain": _plain(unit.gain),
                    "correlation": _plain(unit.correlation),
                    "motion": _plain(unit.motion),
                }
                for unit in self.units
            },
            "worst": [{"frame": each.frame, "words": each.caption} for each in self.worst],
            "strongest": [{"frame": each.frame, "words": each.caption} for each in self.strongest],
            "lineage": list(self.lineage),
            "facts": dict(self.facts),
        }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
