"""Data of a report on one swap, ready for rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from swapper.files import without_nan
from swapper.metrics.chance import relative_score

Floats = NDArray[np.float64]
MEASURE_KEYS: Final = (
    *("title", "value", "floor", "ceiling", "self_swap", "better", "unit", "why_not"),
)
"""Fields of a measure in the JSON."""


@dataclass(frozen=True)
class Measure:
    """A figure with the floor and ceiling of the same instrument on this clip.

    Attributes:
        name: Key in the JSON.
        title: Display name.
        value: NaN if undetermined.
        floor: Of the swap against the performer shifted in time; NaN if not meaningful.
        ceiling: Of the ground truth, or else of the performer's own clip, re-encoded; NaN likewise.
        better: Which direction is better; "one" is best at 1.
        unit: Such as "°" or "frames"; "" if dimensionless.
        why_not: Why the value is undetermined; "" if it is not.
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
    """Scale a value (None: the measure's own) so that the floor is 0 and the ceiling 1.

    As `metrics.chance.relative_score`.
    """
    return relative_score(
        measure.value if value is None else value,
        measure.floor,
        measure.ceiling,
        measure.better,
        dimensionless=not measure.unit,
    )


@dataclass(frozen=True)
class Group:
    """Measures of one kind, by one instrument.

    Attributes:
        title: Such as "Emotion".
        instrument: That measured them.
        measures: In display order.
        partial: Why the instrument is not independent, such as "used in training"; "" if it is.
    """

    title: str
    instrument: str
    measures: tuple[Measure, ...]
    partial: str = ""

    @property
    def instrument_label(self) -> str:
        """The instrument, with its `partial` mark."""
        return f"{self.instrument} ({self.partial})" if self.partial else self.instrument


@dataclass(frozen=True)
class UnitAgreement:
    """Agreement of one expression unit, such as "jawOpen" or "AU12", with the performer's.

    Attributes:
        gain, correlation: β and ρ.
        motion: Standard deviation of the performer's.
    """

    name: str
    gain: float
    correlation: float
    motion: float


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame selected for display.

    Attributes:
        frame: Index.
        seconds: Time.
        caption: Such as "happiness 0.93".
        performer, swap: Aligned crops, JPEG.
        truth: Of the ground truth, if there is one.
    """

    frame: int
    seconds: float
    caption: str
    performer: bytes
    swap: bytes
    truth: bytes | None = None


@dataclass(frozen=True, eq=False)
class Emotions:
    """Emotion readings of both faces over time; rows are NaN without a face.

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
    """Report on one swap.

    Attributes:
        title: Such as the names of the two files.
        verdict: One sentence.
        expressive: Whether the performance came through; None if undetermined.
        findings: Faults, worst first, a sentence each.
        undetermined: What could not be measured, and why.
        seconds: (T,) time of each frame.
        strongest: Frames of the performer's strongest expression, in order of time.
        worst: Frames of the largest difference, worst first.
        emotions: None without an emotion estimator.
        units: Of expression; empty if none were read.
        unit_instrument: Instrument that read the units.
        groups: All measures.
        lineage: What the model was trained with, and what measured it.
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
        """JSON values, without pictures and traces; None stands for NaN."""
        data = {
            "title": self.title,
            "verdict": self.verdict,
            "expressive": self.expressive,
            "findings": self.findings,
            "undetermined": self.undetermined,
            "measures": {
                measure.name: {key: getattr(measure, key) for key in MEASURE_KEYS}
                | {"normalised": normalised_score(measure)}
                | {"instrument": group.instrument_label, "group": group.title}
                | {"partial": bool(group.partial)}
                for group in self.groups
                for measure in group.measures
            },
            "units": {
                unit.name: {key: getattr(unit, key) for key in ("gain", "correlation", "motion")}
                for unit in self.units
            },
            "worst": [{"frame": each.frame, "words": each.caption} for each in self.worst],
            "strongest": [{"frame": each.frame, "words": each.caption} for each in self.strongest],
            "lineage": self.lineage,
            "facts": self.facts,
        }
        return dict(without_nan(data))
