"""From the figures of a clip to what is wrong with it, in plain words.

Each name rests on one figure of its own, and each figure is blind to the other faults: strength is
read below 2 Hz, where jitter is not; jitter is what the performer's neighbouring frames do not
explain; brief movements are looked for after the lag is taken out and in proportion to the
strength. So one fault gives one name, and two faults give two.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from swapper.metrics.traces import gain_and_correlation

MIN_FOLLOWING: Final = 0.5
"""Of the way from floor to ceiling that a correlation must come to count as following: jitter of
0.8 of the motion leaves 0.8, and a shuffled clip scatters about 0 by 0.2."""
DAMPED_BELOW: Final = 0.8
"""Gain. A reader's noise takes 0.03 off a perfect copy, and a re-encoding less."""
EXAGGERATED_ABOVE: Final = 1.25
"""Gain; as far above 1 as `DAMPED_BELOW` is below, as a ratio."""
FROZEN_BELOW: Final = 0.2
"""Gain, and share of the performer's energy: below there is nothing left to correlate."""
JITTERY_FROM: Final = 0.12
"""Of the performer's motion. Perfect copies reached .07 on traces and .06 on film, where faces that
shook by 0.8 of each unit's motion came out at .14: film and jaws soften what shakes."""
MIN_LAG: Final = 0.75
"""Frames: half a frame may come from how two files count time."""
LAG_ERRORS: Final = 3.0
"""Standard errors."""
_MAX_LAG_ERROR: Final = 1.5
"""Frames of standard error up to which a lag is one lag, and may be taken out."""
MIN_BRIEF_LOST: Final = 2
"""Brief movements that must be lost: one may be a reader's slip."""
MIN_BRIEF_LOST_SHARE: Final = 0.2
"""Of brief movements lost from which they count as gone: talk, which is kept, is brief too."""
MIN_EMOTION_MOTION: Final = 0.03
"""Deviation of a class probability from which the feeling changes at all."""

Floats = NDArray[np.float64]


class Fault(StrEnum):
    """What can be wrong with the feeling of a swap."""

    DAMPED = "damped"
    EXAGGERATED = "exaggerated"
    FROZEN = "frozen"
    JITTERY = "jittery"
    LATE = "late"
    EARLY = "early"
    UNRELATED = "unrelated"
    OTHER_EMOTION = "other feeling"
    BRIEF_LOST = "micro-expressions gone"


INEXPRESSIVE: Final = frozenset(
    {Fault.DAMPED, Fault.FROZEN, Fault.JITTERY, Fault.UNRELATED, Fault.OTHER_EMOTION}
)
"""With any of these a swap does not score as expressive, however much it moves."""


@dataclass(frozen=True)
class Figures:
    """What a diagnosis rests on; NaN where a clip cannot tell.

    Attributes:
        lag: Of the swap behind the performer, in frames and seconds.
        lag_frames: What of it is steady and was taken out of all that follows, in whole frames.
        units: Gain and correlation of the units, with a steady lag taken out.
        units_floor: Correlation with the performer shuffled in time.
        jitter: Fast movement that is not the performer's, over the performer's motion.
        brief: What became of the performer's brief movements.
        brief_gain: How strong they could have been read at best, of what slow ones let expect.
        emotions: Gain and correlation of the emotions' probabilities, with the lag taken out; NaN
            where none were read.
        emotions_floor: Correlation with the performer shuffled in time.
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
    """The best that could be had, as a self-swap, a re-encoding or the exact answer shows.

    Attributes:
        gain: Of the units; another face may show the same feeling with less.
        correlation: Of the units, and of the emotions.
        other_face: What a reader makes of a perfect copy on another face, of what it makes of the
            performer's own: no reader is equally keen on every face. It only excuses weakness.
        tells_brief: Whether brief movements that are not found are gone. Between two faces a reader
            misses too many of those that are there.
    """

    gain: float = 1.0
    correlation: float = 1.0
    other_face: float = 1.0
    assesses_brief: bool = True

    def __post_init__(self) -> None:
        if not (self.gain > 0 and 0 < self.correlation <= 1 and 0 < self.other_face <= 1):
            raise ValueError(
                f"a ceiling must be above 0, correlation and other_face at most 1, got {self}"
            )


PERFECT: Final = Ceiling()


@dataclass(frozen=True)
class Finding:
    """A fault and what shows it.

    Attributes:
        fault: Its name.
        words: One sentence with the figure in it.
    """

    fault: Fault
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with one clip.

    Attributes:
        findings: Worst first; empty if nothing was found.
        untold: What this clip could not show, one reason each.
    """

    findings: tuple[Finding, ...]
    undetermined: tuple[str, ...]

    @property
    def faults(self) -> frozenset[Fault]:
        """The names alone."""
        return frozenset(finding.fault for finding in self.findings)

    @property
    def expressive(self) -> bool:
        """Whether the performance came through; False also where its units could not tell."""
        return UNDETERMINED_UNITS not in self.undetermined and not self.faults & INEXPRESSIVE

    @property
    def summary(self) -> str:
        """All of it as one line."""
        if self.findings:
            return " ".join(finding.message for finding in self.findings)
        if UNDETERMINED_UNITS in self.undetermined:
            return "Nothing can be told: " + "; ".join(self.undetermined) + "."
        return "Nothing wrong was found."


UNDETERMINED_UNITS: Final = (
    "the performer hardly moves, or there are less than two seconds of both faces"
)
UNDETERMINED_EMOTIONS: Final = "the performer's feeling hardly changes, or was not read"
UNDETERMINED_BRIEF: Final = "there are too few brief movements to tell whether they are kept"
UNDETERMINED_BRIEF_ON_OTHER_FACE: Final = (
    "whether micro-expressions are kept cannot be told on another face without the exact answer"
)
UNDETERMINED_JITTER: Final = "the frame rate is too low to tell jitter"


def clip_figures(
    swap: Floats,
    performer: Floats,
    fps: float,
    emotions: tuple[Floats, Floats] | None = None,
    lids: Sequence[int] = (),
    brief_gain: float = 1.0,
) -> Figures:
    """Measure one clip.

    Args:
        swap: (T, U) calibrated intensities read off the swap, about in [0, 1]; NaN where no face
            was found.
        performer: The same of the performer, by the same reader.
        fps: Frames a second.
        emotions: Class probabilities (T, C) of swap and performer.
        lids: Columns that close the eyes; blinks are no micro-expressions.
        brief_gain: What a reader sees of brief movements on another face at best, of what it sees
            of slow ones.

    Raises:
        ValueError: The shapes differ.
    """
    pair = PairedTraces.of(swap, performer, fps)
    late = lag(pair)
    frames = round(late.frames) if _is_steady(late, fps) else 0
    inline = pair.aligned(frames)
    units = trace_agreement(inline)
    moves = inline.moving()
    shaky = float(np.sqrt((jitter(inline)[moves] ** 2).mean())) if moves.any() else np.nan
    felt, felt_floor = TraceAgreement(np.nan, np.nan, np.nan, np.nan), np.nan
    if emotions is not None:
        felt, felt_floor = _agreement_and_floor(*emotions, fps, frames, MIN_EMOTION_MOTION)
    return Figures(
        lag=late,
        lag_frames=frames,
        units=units,
        units_floor=_agreement_and_floor(swap, performer, fps, frames)[1],
        jitter=shaky / units.motion,
        brief=brief_movements(inline, brief_gain * _unit_gains(inline, units.gain), lids),
        brief_gain=brief_gain,
        emotions=felt,
        emotions_floor=felt_floor,
    )


def _unit_gains(pair: PairedTraces, pooled: float) -> Floats:
    """(U,) gain of each unit's slow movements; the pooled one where a unit hardly has any."""
    swap, performer = pair.slow().joined()
    overall = float(np.nan_to_num(pooled, nan=1.0))
    if len(swap) < 2:
        return np.full(pair.columns.size, overall)
    gain, _ = gain_and_correlation(swap, performer)
    return np.where(np.isfinite(gain), gain, overall)


def diagnose(found: Figures, ceiling: Ceiling = PERFECT) -> Diagnosis:
    """Name what is wrong.

    Args:
        found: Of one clip.
        ceiling: The best that could be had.
    """
    untold = _undetermined(found, ceiling)
    findings: list[Finding] = []
    if UNDETERMINED_UNITS not in untold:
        findings += _unit_findings(found, ceiling)
    frozen = any(finding.fault == Fault.FROZEN for finding in findings)
    placed = relative_score(found.emotions.correlation, found.emotions_floor, ceiling.correlation)
    if placed < MIN_FOLLOWING and not frozen:
        findings.append(
            Finding(
                Fault.OTHER_EMOTION,
                f"It feels something else: its emotions go with the performer's no better than "
                f"{found.emotions.correlation:.2f}, where another moment of the same performance "
                f"gives {found.emotions_floor:.2f}.",
            )
        )
    return Diagnosis(tuple(findings), tuple(untold))


def _unit_findings(found: Figures, ceiling: Ceiling) -> list[Finding]:
    """What movement alone shows, worst first."""
    units = found.units
    if units.gain < FROZEN_BELOW and units.energy_ratio < FROZEN_BELOW:
        words = f"The face is frozen: {units.gain:.0%} of the performer's expression is left."
        return [Finding(Fault.FROZEN, words), *_jitter_findings(found)]
    placed = relative_score(units.correlation, found.units_floor, ceiling.correlation)
    if placed < MIN_FOLLOWING:
        # Of a face that moves by itself, neither strength nor time can be held against anything.
        words = (
            f"It does not move with the performer: correlation {units.correlation:.2f}, where "
            f"another moment of the same performance gives {found.units_floor:.2f}."
        )
        return [Finding(Fault.UNRELATED, words)]
    return [
        *_strength_findings(units, ceiling),
        *_jitter_findings(found),
        *_lag_findings(found.lag),
        *_brief_findings(found, ceiling),
    ]


def _strength_findings(units: TraceAgreement, ceiling: Ceiling) -> list[Finding]:
    told = f"{units.gain:.2f} of the performer's strength at correlation {units.correlation:.2f}."
    strength = units.gain / ceiling.gain
    if strength < DAMPED_BELOW * ceiling.other_face:
        return [Finding(Fault.DAMPED, f"The expression is damped: {told}")]
    if strength > EXAGGERATED_ABOVE:
        return [Finding(Fault.EXAGGERATED, f"The expression is exaggerated: {told}")]
    return []


def _jitter_findings(found: Figures) -> list[Finding]:
    if not found.jitter >= JITTERY_FROM:
        return []
    words = (
        f"It jitters: fast movement that is not the performer's, {found.jitter:.2f} of the "
        "performer's own motion."
    )
    return [Finding(Fault.JITTERY, words)]


def _lag_findings(late: Lag) -> list[Finding]:
    if not abs(late.frames) >= max(MIN_LAG, LAG_ERRORS * late.error):
        return []
    fault = Fault.LATE if late.frames > 0 else Fault.EARLY
    words = (
        f"It comes {fault.value}: by {abs(late.frames):.1f} frames "
        f"({abs(late.seconds) * 1000:.0f} ms)."
    )
    return [Finding(fault, words)]


def _brief_findings(found: Figures, ceiling: Ceiling) -> list[Finding]:
    if not ceiling.assesses_brief:
        return []
    # A reader that sees less of them misses more of those that are there.
    brief, share = found.brief, MIN_BRIEF_LOST_SHARE / found.brief_gain
    if brief.lost < MIN_BRIEF_LOST or brief.lost < share * brief.total:
        return []
    words = (
        f"Micro-expressions are gone: {brief.lost} of {brief.total} movements of under half a "
        "second are missing."
    )
    return [Finding(Fault.BRIEF_LOST, words)]


def _undetermined(found: Figures, ceiling: Ceiling) -> list[str]:
    checks = (
        (np.isfinite(found.units.gain), UNDETERMINED_UNITS),
        (np.isfinite(found.emotions.gain), UNDETERMINED_EMOTIONS),
        (np.isfinite(found.jitter), UNDETERMINED_JITTER),
        (found.brief.total >= MIN_BRIEF_LOST, UNDETERMINED_BRIEF),
        (
            ceiling.assesses_brief or found.brief.total < MIN_BRIEF_LOST,
            UNDETERMINED_BRIEF_ON_OTHER_FACE,
        ),
    )
    return [reason for told, reason in checks if not told]


def _is_steady(late: Lag, fps: float) -> bool:
    """Whether a lag is one lag, and not the best of many bad ones."""
    edge = MAX_LAG_SECONDS * fps - 1
    return bool(abs(late.frames) < edge and late.error < _MAX_LAG_ERROR)


def _agreement_and_floor(
    swap: Floats, performer: Floats, fps: float, frames: int, least: float | None = None
) -> tuple[TraceAgreement, float]:
    """Following, with a lag of `frames` taken out, and the floor of its correlation."""

    def follow(them: Floats) -> TraceAgreement:
        pair = PairedTraces.of(swap, them, fps).aligned(frames)
        return trace_agreement(pair) if least is None else trace_agreement(pair, least)

    return follow(performer), floor(lambda them: follow(them).correlation, performer, fps)
