"""Diagnose the faults of a clip from its figures.

Each fault rests on one figure that is insensitive to the other faults: strength is measured below
2 Hz, where jitter is not; jitter is what the performer's neighbouring frames do not explain; brief
movements are matched after lag removal and relative to the gain. So one fault gives one finding,
and two faults give two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.metrics.brief_movements import BriefMovements, brief_movements
from swapper.metrics.chance import floor, relative_score
from swapper.metrics.dynamics import (
    MAX_LAG_SECONDS,
    Lag,
    TraceAgreement,
    jitter,
    lag,
    trace_agreement,
)
from swapper.metrics.paired_traces import PairedTraces
from swapper.metrics.traces import MIN_MOTION, gain_and_correlation

MIN_FOLLOWING: Final = 0.5
"""Least relative score (0 floor, 1 ceiling) of a correlation that counts as following: jitter of
0.8 of the motion leaves 0.8, and a shuffled clip scatters about 0 by 0.2."""
DAMPED_BELOW: Final = 0.8
"""Gain. Instrument noise takes 0.03 off a perfect copy, and a re-encoding less."""
EXAGGERATED_ABOVE: Final = 1.25
"""Gain; as far above 1 as `DAMPED_BELOW` is below, as a ratio."""
FROZEN_BELOW: Final = 0.2
"""Gain, and share of the performer's energy, below which nothing is left to correlate."""
JITTERY_FROM: Final = 0.12
"""Share of the performer's motion. Perfect copies reached .07 on traces and .06 on film, where
faces with jitter of 0.8 of each unit's motion measured .14: film and jaws attenuate it."""
MIN_LAG: Final = 0.75
"""Frames: half a frame may come from different time bases of two files."""
LAG_ERRORS: Final = 3.0
"""Standard errors."""
_MAX_LAG_ERROR: Final = 1.5
"""Frames of standard error up to which a lag is steady and may be removed."""
MIN_BRIEF_LOST: Final = 2
"""Least number of lost brief movements: one may be an instrument error."""
MIN_BRIEF_LOST_SHARE: Final = 0.2
"""Least share of brief movements lost to count as a fault: preserved speech is brief too."""
MIN_EMOTION_MOTION: Final = 0.03
"""Standard deviation of a class probability from which an emotion counts as changing."""

Floats = NDArray[np.float64]


class Fault(StrEnum):
    """Faults of a swap's expression."""

    DAMPED = "damped"
    EXAGGERATED = "exaggerated"
    FROZEN = "frozen"
    JITTERY = "jittery"
    LATE = "late"
    EARLY = "early"
    UNRELATED = "unrelated"
    OTHER_EMOTION = "other emotion"
    BRIEF_LOST = "micro-expressions lost"


INEXPRESSIVE: Final = frozenset(
    {Fault.DAMPED, Fault.FROZEN, Fault.JITTERY, Fault.UNRELATED, Fault.OTHER_EMOTION}
)
"""A swap with any of these is not expressive, however much it moves."""


@dataclass(frozen=True)
class Figures:
    """Figures that a diagnosis rests on; NaN where undetermined.

    Attributes:
        lag: Of the swap behind the performer, in frames and seconds.
        lag_frames: Steady lag in whole frames, removed before all further figures.
        units: Gain and correlation of the units, with a steady lag removed.
        units_floor: Correlation with the performer shifted in time.
        jitter: Fast movement that is not the performer's, relative to the performer's motion.
        brief: Brief movements of the performer, and those lost.
        brief_gain: Best gain of brief movements, relative to that of slow ones.
        emotions: Gain and correlation of emotion probabilities, with the lag removed; NaN if none
            were read.
        emotions_floor: Correlation with the performer shifted in time.
    """

    lag: Lag
    lag_frames: int
    units: TraceAgreement
    units_floor: float
    jitter: float
    brief: BriefMovements
    brief_gain: float
    emotions: TraceAgreement
    emotions_floor: float


@dataclass(frozen=True)
class Ceiling:
    """Best attainable figures, measured on a self-swap, a re-encoding or the ground truth.

    Attributes:
        gain: Of the units; another face may show the same expression with less.
        correlation: Of the units, and of the emotions.
        other_face_gain: Gain that the instrument measures of a perfect copy on another face; its
            sensitivity differs between faces. Applies to the damped threshold only.
        assesses_brief: Whether undetected brief movements are lost. Between two faces an instrument
            misses too many of those that are present.
    """

    gain: float = 1.0
    correlation: float = 1.0
    other_face_gain: float = 1.0
    assesses_brief: bool = True

    def __post_init__(self) -> None:
        if not (self.gain > 0 and 0 < self.correlation <= 1 and 0 < self.other_face_gain <= 1):
            raise ValueError(
                f"a ceiling must be above 0, correlation and other_face_gain at most 1, got {self}"
            )


PERFECT: Final = Ceiling()


@dataclass(frozen=True)
class Finding:
    """A fault, and one sentence with the figure that is its evidence."""

    fault: Fault
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """Diagnosis of one clip: findings, worst first, and why others are undetermined."""

    findings: tuple[Finding, ...]
    undetermined: tuple[str, ...]

    @property
    def faults(self) -> frozenset[Fault]:
        """Kinds of the findings."""
        return frozenset(finding.fault for finding in self.findings)

    @property
    def expressive(self) -> bool:
        """Whether the performance came through; False also if the units are undetermined."""
        return UNDETERMINED_UNITS not in self.undetermined and not self.faults & INEXPRESSIVE

    @property
    def summary(self) -> str:
        """The diagnosis as one line."""
        if self.findings:
            return " ".join(finding.message for finding in self.findings)
        if UNDETERMINED_UNITS in self.undetermined:
            return f"Undetermined: {'; '.join(self.undetermined)}."
        return "No faults found."


UNDETERMINED_UNITS: Final = (
    "the performer hardly moves, or both faces are visible for less than two seconds"
)
UNDETERMINED_EMOTIONS: Final = "the performer's emotion hardly changes, or was not measured"
UNDETERMINED_BRIEF: Final = "too few brief movements to assess whether they are preserved"
UNDETERMINED_BRIEF_ON_OTHER_FACE: Final = (
    "whether micro-expressions are preserved cannot be assessed on another face without the ground "
    "truth"
)
UNDETERMINED_JITTER: Final = "the frame rate is too low to measure jitter"


def clip_figures(
    swap: Floats,
    performer: Floats,
    fps: float,
    emotions: tuple[Floats, Floats] | None = None,
    lids: Sequence[int] = (),
    brief_gain: float = 1.0,
) -> Figures:
    """Compute the figures of one clip.

    Args:
        swap: (T, U) calibrated intensities of the swap, about in [0, 1]; NaN without a face.
        performer: The same of the performer, by the same instrument.
        fps: Frames per second.
        emotions: Class probabilities (T, C) of swap and performer.
        lids: Columns that close the eyes; blinks are not micro-expressions.
        brief_gain: Best gain of brief movements on another face, relative to that of slow ones.

    Raises:
        ValueError: The shapes differ.
    """
    pair = PairedTraces.of(swap, performer, fps)
    late = lag(pair)
    # Well determined, and not at the edge of the search range.
    is_steady = abs(late.frames) < MAX_LAG_SECONDS * fps - 1 and late.error < _MAX_LAG_ERROR
    frames = round(late.frames) if is_steady else 0
    aligned = pair.aligned(frames)
    units, units_floor = _agreement_and_floor(swap, performer, fps, frames)
    moves = aligned.moving()
    fast_motion = float(np.sqrt((jitter(aligned)[moves] ** 2).mean())) if moves.any() else np.nan
    emotion_scores, emotions_floor = TraceAgreement(np.nan, np.nan, np.nan, np.nan), np.nan
    if emotions is not None:
        emotion_scores, emotions_floor = _agreement_and_floor(
            *emotions, fps, frames, MIN_EMOTION_MOTION
        )
    return Figures(
        lag=late,
        lag_frames=frames,
        units=units,
        units_floor=units_floor,
        jitter=fast_motion / units.motion,
        brief=brief_movements(aligned, brief_gain * _unit_gains(aligned, units.gain), lids),
        brief_gain=brief_gain,
        emotions=emotion_scores,
        emotions_floor=emotions_floor,
    )


def _unit_gains(pair: PairedTraces, pooled: float) -> Floats:
    """(U,) gain of each unit's slow movements; the pooled gain for units that hardly move."""
    swap, performer = pair.slow().joined()
    overall = float(np.nan_to_num(pooled, nan=1.0))
    if len(swap) < 2:
        return np.full(pair.columns.size, overall)
    gain, _ = gain_and_correlation(swap, performer)
    return np.where(np.isfinite(gain), gain, overall)


def diagnose(figures: Figures, ceiling: Ceiling = PERFECT) -> Diagnosis:
    """Derive findings from the figures of one clip, given the best attainable ones."""
    undetermined = _undetermined(figures, ceiling)
    findings: list[Finding] = []
    if UNDETERMINED_UNITS not in undetermined:
        findings += _unit_findings(figures, ceiling)
    frozen = any(finding.fault == Fault.FROZEN for finding in findings)
    score = relative_score(
        figures.emotions.correlation, figures.emotions_floor, ceiling.correlation
    )
    if score < MIN_FOLLOWING and not frozen:
        findings.append(
            Finding(
                Fault.OTHER_EMOTION,
                "The emotion differs: correlation of the emotion probabilities "
                f"{figures.emotions.correlation:.2f}, chance level {figures.emotions_floor:.2f}.",
            )
        )
    return Diagnosis(tuple(findings), tuple(undetermined))


def _unit_findings(figures: Figures, ceiling: Ceiling) -> Iterator[Finding]:
    """Findings from movement alone, worst first."""
    units = figures.units
    is_frozen = units.gain < FROZEN_BELOW and units.energy_ratio < FROZEN_BELOW
    score = relative_score(units.correlation, figures.units_floor, ceiling.correlation)
    if is_frozen:
        message = f"The face is frozen: {units.gain:.0%} of the performer's expression remains."
        yield Finding(Fault.FROZEN, message)
    elif score < MIN_FOLLOWING:
        message = (
            "The expression is unrelated to the performer's: correlation "
            f"{units.correlation:.2f}, chance level {figures.units_floor:.2f}."
        )
        yield Finding(Fault.UNRELATED, message)
        return  # strength and timing of an unrelated face are meaningless
    else:
        yield from _strength_findings(units, ceiling)
    if figures.jitter >= JITTERY_FROM:
        message = (
            "The face jitters: fast movement that the performer does not make, "
            f"{figures.jitter:.2f} of the performer's motion."
        )
        yield Finding(Fault.JITTERY, message)
    if not is_frozen:
        yield from _lag_findings(figures.lag)
        yield from _brief_findings(figures, ceiling)


def _strength_findings(units: TraceAgreement, ceiling: Ceiling) -> Iterator[Finding]:
    message = f"gain {units.gain:.2f}, correlation {units.correlation:.2f}."
    strength = units.gain / ceiling.gain
    if strength < DAMPED_BELOW * ceiling.other_face_gain:
        yield Finding(Fault.DAMPED, f"The expression is damped: {message}")
    elif strength > EXAGGERATED_ABOVE:
        yield Finding(Fault.EXAGGERATED, f"The expression is exaggerated: {message}")


def _lag_findings(late: Lag) -> Iterator[Finding]:
    if abs(late.frames) >= max(MIN_LAG, LAG_ERRORS * late.error):
        fault = Fault.LATE if late.frames > 0 else Fault.EARLY
        message = (
            f"The expression is {fault.value} by {abs(late.frames):.1f} frames "
            f"({abs(late.seconds) * 1000:.0f} ms)."
        )
        yield Finding(fault, message)


def _brief_findings(figures: Figures, ceiling: Ceiling) -> Iterator[Finding]:
    # An instrument of lower gain misses more of those that are present.
    brief, share = figures.brief, MIN_BRIEF_LOST_SHARE / figures.brief_gain
    if ceiling.assesses_brief and brief.lost >= max(MIN_BRIEF_LOST, share * brief.total):
        message = (
            f"Micro-expressions are lost: {brief.lost} of {brief.total} movements shorter than "
            "half a second are missing."
        )
        yield Finding(Fault.BRIEF_LOST, message)


def _undetermined(figures: Figures, ceiling: Ceiling) -> list[str]:
    checks = (
        (np.isfinite(figures.units.gain), UNDETERMINED_UNITS),
        (np.isfinite(figures.emotions.gain), UNDETERMINED_EMOTIONS),
        (np.isfinite(figures.jitter), UNDETERMINED_JITTER),
        (figures.brief.total >= MIN_BRIEF_LOST, UNDETERMINED_BRIEF),
        (
            ceiling.assesses_brief or figures.brief.total < MIN_BRIEF_LOST,
            UNDETERMINED_BRIEF_ON_OTHER_FACE,
        ),
    )
    return [reason for determined, reason in checks if not determined]


def _agreement_and_floor(
    swap: Floats, performer: Floats, fps: float, frames: int, least: float = MIN_MOTION
) -> tuple[TraceAgreement, float]:
    """Agreement with a lag of `frames` removed, and the floor of its correlation."""

    def follow(them: Floats) -> TraceAgreement:
        return trace_agreement(PairedTraces.of(swap, them, fps).aligned(frames), least)

    return follow(performer), floor(lambda them: follow(them).correlation, performer, fps)
