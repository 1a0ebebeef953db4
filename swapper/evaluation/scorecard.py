"""Measures of a swap against its performer, with floor and ceiling, from their readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from swapper.evaluation.clip_readings import ClipReadings, Traces
from swapper.metrics.agreement import concordance, emotion_agreement
from swapper.metrics.chance import floor
from swapper.metrics.diagnosis import Ceiling, Diagnosis, Figures, clip_figures, diagnose
from swapper.metrics.dynamics import asymmetry, fast_band, trace_agreement, velocity
from swapper.metrics.paired_traces import PairedTraces
from swapper.metrics.traces import MIN_MOTION, gain_and_correlation
from swapper.report.content import Emotions, Group, Measure, UnitAgreement

Floats = NDArray[np.float64]
Better = Literal["higher", "lower", "one"]
Figure = Callable[[Floats, Floats], float]
"""Maps readings (T, ...) of a swap and of the performer to a number."""

GAZE: Final = "eyeLook"
LIDS: Final = ("eyeBlinkLeft", "eyeBlinkRight", "AU45", "AU43", "lid left", "lid right")
NEUTRAL: Final = ("neutral", "calm")
_MIN_CEILING: Final = 0.2
BRIEF_GAIN: Final = 0.6
"""Gain of brief movements on another face, as instruments measured it on perfect copies on film
(scripts/validate_evaluation.py): 0.57 and 0.77."""
BLENDSHAPES, UNITS, GEOMETRY = "MediaPipe blendshapes", "action units", "landmark geometry"
"""Instruments for expression."""
OTHER_FACE_GAIN: Final = {BLENDSHAPES: 0.85, UNITS: 0.95, GEOMETRY: 0.9}
"""Gain of perfect copies on another actor's face, by instrument: means over 16 pairs of faces, with
0.59 to 1.10 by MediaPipe and 0.88 to 1.03 by `judge` (docs/LOG.md, 2026-11-24). Geometry: 0.97 by
exact landmarks (0.87 to 1.13, 16 pairs), 0.93 by MediaPipe's on film (0.82 to 1.00, 10 pairs of
them), and a little less for noisier trackers (docs/LOG.md, 2026-11-29)."""
MIN_MOVEMENT: Final = 0.01
"""Standard deviation below 2 Hz, in eye distances, from which a geometry signal counts as moving:
tracker noise and the residual of head rotation on a still face are below."""
_FULL_MOVEMENT: Final = MIN_MOVEMENT / MIN_MOTION
"""Eye distances of a full movement, 1 in the units of other instruments."""
UNDETERMINED: Final = "undetermined on this clip"


@dataclass(frozen=True, eq=False)
class ExpressionReadings:
    """Expression traces of the clips of `PairReadings`, and the `instrument` that read them."""

    swap: Traces
    performer: Traces
    ceiling: Traces | None
    self_swap: Traces | None
    instrument: str


@dataclass(frozen=True, eq=False)
class PairReadings:
    """Readings of one performance by the same instruments; all clips have equal lengths.

    Attributes:
        swap: To be evaluated.
        performer: Whose expression it should reproduce.
        ceiling: The ground truth, else the performer's own clip, re-encoded; or None.
        self_swap: The performer on the performer's own face, by the same model: the loss of the
            network itself, independent of identity; or None.
        has_truth: Whether `ceiling` is the ground truth, on the identity's face.
    """

    swap: ClipReadings
    performer: ClipReadings
    ceiling: ClipReadings | None = None
    self_swap: ClipReadings | None = None
    has_truth: bool = False

    @property
    def shared_landmarks(self) -> bool:
        """Whether both clips share one landmark table, which then measures nothing of the swap."""
        return share_landmarks(self.swap, self.performer)

    def expression(self) -> ExpressionReadings:
        """Traces of blendshapes or action units without gaze; of geometry if neither was read.

        Raises:
            ValueError: Neither was read, and both clips share one landmark table.
        """
        for name, instrument in (("blendshapes", BLENDSHAPES), ("units", UNITS)):
            clips = [
                None if each is None else getattr(each, name)
                for each in (self.swap, self.performer, self.ceiling, self.self_swap)
            ]
            swap, performer, ceiling, self_swap = (
                None if each is None else each.select(lambda title: not title.startswith(GAZE))
                for each in clips
            )
            if swap is not None and performer is not None:
                return ExpressionReadings(swap, performer, ceiling, self_swap, instrument)
        if self.shared_landmarks:
            raise ValueError("neither blendshapes nor action units nor geometry were measured")
        return ExpressionReadings(
            _geometry_movements(self.swap),
            _geometry_movements(self.performer),
            None if self.ceiling is None else _geometry_movements(self.ceiling),
            None if self.self_swap is None else _geometry_movements(self.self_swap),
            GEOMETRY,
        )

    def measure(
        self,
        name: str,
        title: str,
        select: Callable[[ClipReadings], Floats | None],
        figure: Figure,
        better: Better = "higher",
        unit: str = "",
    ) -> Measure:
        """Compute a figure with its floor and ceiling.

        Args:
            name: Key.
            title: Display name.
            select: Selects the readings; None if they were not read.
            figure: Of swap and performer.
            better: Which direction is better.
            unit: Of the figure.
        """
        swap, performer = select(self.swap), select(self.performer)
        if swap is None or performer is None:
            return Measure(name, title, np.nan, better=better, unit=unit, why_not="not measured")
        value = figure(swap, performer)
        lowest = floor(lambda them: figure(swap, them), performer, self.swap.fps)
        highest, own = (
            np.nan if selected is None else figure(selected, performer)
            for selected in (
                None if each is None else select(each) for each in (self.ceiling, self.self_swap)
            )
        )
        why_not = "" if np.isfinite(value) else UNDETERMINED
        return Measure(name, title, value, lowest, highest, better, unit, why_not, own)


def share_landmarks(clip: ClipReadings, other: ClipReadings) -> bool:
    """Whether two different files have identical landmarks, which only a shared table gives."""
    if clip.video.resolve() == other.video.resolve():
        return False
    return np.array_equal(clip.landmarks, other.landmarks, equal_nan=True)


def _geometry_movements(clip: ClipReadings) -> Traces:
    """Geometry as deviation from its median, on the scale of the other instruments."""
    values = clip.geometry.values
    complete = values[np.isfinite(values).all(axis=1)]
    rest = np.median(complete, axis=0) if len(complete) else 0.0
    names = tuple(name.replace("_", " ") for name in clip.geometry.names)
    return Traces(names, (values - rest) / _FULL_MOVEMENT)


def emotion_group(readings: PairReadings, estimator_name: str) -> Group:
    """Agreement of emotion classes, and of valence and arousal."""
    probabilities = readings.performer.probabilities
    names = () if probabilities is None else probabilities.names
    neutral = next((names.index(each) for each in NEUTRAL if each in names), None)

    def classes(clip: ClipReadings) -> Floats | None:
        return None if clip.probabilities is None else clip.probabilities.values

    def agreement(key: str) -> Figure:
        return lambda a, b: float(getattr(emotion_agreement(a, b, neutral), key))

    measures = [
        readings.measure("emotion_accuracy", "Same emotion", classes, agreement("accuracy")),
        readings.measure("emotion_kappa", "Cohen's κ", classes, agreement("kappa")),
        readings.measure(
            "felt_kappa", "κ, performer not neutral", classes, agreement("emotional_kappa")
        ),
        readings.measure(
            "divergence", "Jensen-Shannon divergence", classes, agreement("divergence"),
            "lower", "bits",
        ),
    ]  # fmt: skip
    for column, name in enumerate(("valence", "arousal")):

        def level(clip: ClipReadings, column: int = column) -> Floats | None:
            return None if clip.circumplex is None else clip.circumplex[:, column]

        measures.append(readings.measure(f"{name}_ccc", f"{name.title()}, CCC", level, concordance))
    return Group("Emotion", estimator_name, tuple(measures))


def expression_group(readings: PairReadings, figures: Figures) -> Group:
    """Agreement of expression units: strength, timing, fast band and left-right asymmetry."""
    expression = readings.expression()
    fps = readings.swap.fps
    of_self_swap = None
    if expression.self_swap is not None:
        of_self_swap = _figures(readings, expression.self_swap, readings.self_swap, 1.0)

    def select(clip: ClipReadings) -> Floats | None:
        traces = {
            id(readings.swap): expression.swap,
            id(readings.performer): expression.performer,
            id(readings.ceiling): expression.ceiling,
            id(readings.self_swap): expression.self_swap,
        }[id(clip)]
        return None if traces is None else traces.values

    def over_time(
        name: str, title: str, figure: Callable[[PairedTraces], Any], key: str, better: Better
    ) -> Measure:
        def after_lag(a: Floats, b: Floats) -> float:
            # Ceilings have no lag: they are the performer's own movements.
            lag = figures.lag_frames if a is expression.swap.values else 0
            return float(getattr(figure(PairedTraces.of(a, b, fps).aligned(lag)), key))

        return readings.measure(name, title, select, after_lag, better)

    def without_floor(
        name: str,
        title: str,
        figure: Callable[[Figures], float],
        unit: str = "",
        why_not: str = UNDETERMINED,
    ) -> Measure:
        """A measure for which less is better and 0 is the best."""
        value = figure(figures)
        reason = "" if np.isfinite(value) else why_not
        own = np.nan if of_self_swap is None else figure(of_self_swap)
        return Measure(name, title, value, np.nan, 0.0, "lower", unit, reason, own)

    measures = [
        over_time("gain", "Gain β", trace_agreement, "gain", "one"),
        over_time("correlation", "Correlation ρ", trace_agreement, "correlation", "higher"),
        without_floor("lag", "Lag (0 is best)", lambda it: it.lag.frames, "frames"),
        over_time("onset_slope", "Slope of onsets", velocity, "onset_slope", "one"),
        over_time("velocity_correlation", "ρ of velocities", velocity, "correlation", "higher"),
        over_time("fast_coherence", "Coherence, 2 to 12 Hz", fast_band, "coherence", "higher"),
        over_time("fast_energy", "Energy, 2 to 12 Hz", fast_band, "energy_ratio", "one"),
        without_floor("jitter", "Jitter", lambda it: it.jitter),
        without_floor(
            "brief_lost", "Brief movements lost",
            lambda it: it.brief.lost / it.brief.total if it.brief.total else np.nan,
            why_not="the performer makes none that can be assessed",
        ),
        *_asymmetry_measures(expression, fps),
    ]  # fmt: skip
    return Group("Expression over time", expression.instrument, tuple(measures))


def _asymmetry_measures(expression: ExpressionReadings, fps: float) -> list[Measure]:
    """Gain and correlation of left minus right; empty if the units are not left and right."""
    lefts = [name for name in expression.performer.names if name.endswith("Left")]
    rights = [name.removesuffix("Left") + "Right" for name in lefts]
    if not lefts or set(rights) - set(expression.performer.names):
        return []

    def figure(key: str, traces: Traces | None) -> float:
        if traces is None:
            return float("nan")
        pairs = [
            PairedTraces.of(
                traces.select(names.__contains__).values,
                expression.performer.select(names.__contains__).values,
                fps,
            )
            for names in (lefts, rights)
        ]
        return float(getattr(asymmetry(*pairs), key))

    measures = []
    for key, title in (("gain", "Asymmetry, gain"), ("correlation", "Asymmetry, correlation")):
        value = figure(key, expression.swap)
        better: Better = "one" if key == "gain" else "higher"
        why_not = "" if np.isfinite(value) else UNDETERMINED
        best, self_swap = figure(key, expression.ceiling), figure(key, expression.self_swap)
        name = f"sidedness_{key}"
        measures.append(Measure(name, title, value, np.nan, best, better, "", why_not, self_swap))
    return measures


def diagnose_pair(readings: PairReadings) -> tuple[Figures, Diagnosis]:
    """Compute the figures behind the verdict, and diagnose them.

    The self-swap is not an allowance: what the network loses on the performer's own face too still
    counts as lost.
    """
    expression = readings.expression()
    figures = _figures(readings, expression.swap, readings.swap)
    best = None
    if expression.ceiling is not None:
        best = _figures(readings, expression.ceiling, readings.ceiling)
    if readings.has_truth and readings.ceiling is not None:
        # On the same face, brief movements are expected at full gain; but even in a re-encoded
        # ground truth instruments miss up to 0.27 on film, so the lost share keeps its allowance.
        against_answer = PairReadings(readings.swap, readings.ceiling)
        answer_figures = _figures(against_answer, expression.swap, readings.swap, brief_gain=1.0)
        figures = replace(figures, brief=answer_figures.brief)
    allowance = 1.0 if readings.has_truth else OTHER_FACE_GAIN[expression.instrument]
    return figures, diagnose(figures, _ceiling(best, allowance, assesses_brief=readings.has_truth))


def _figures(
    readings: PairReadings,
    traces: Traces,
    clip: ClipReadings | None,
    brief_gain: float = BRIEF_GAIN,
) -> Figures:
    """Figures of `clip`, whose expression traces are `traces`, against the performer."""
    assert clip is not None
    performer = readings.performer
    emotions = None
    if clip.probabilities is not None and performer.probabilities is not None:
        emotions = clip.probabilities.values, performer.probabilities.values
    performer_traces = readings.expression().performer
    lids = [column for column, name in enumerate(performer_traces.names) if name in LIDS]
    return clip_figures(
        traces.values, performer_traces.values, clip.fps, emotions, lids, brief_gain
    )


def _ceiling(best: Figures | None, other_face_gain: float, *, assesses_brief: bool) -> Ceiling:
    """Ceiling of the instrument, clipped to at least `_MIN_CEILING`."""
    if best is None:
        return Ceiling(other_face_gain=other_face_gain, assesses_brief=assesses_brief)
    gain, correlation = best.units.gain, best.units.correlation
    return Ceiling(
        gain=float(np.clip(np.nan_to_num(gain, nan=1.0), _MIN_CEILING, 1.25)),
        correlation=float(np.clip(np.nan_to_num(correlation, nan=1.0), _MIN_CEILING, 1.0)),
        other_face_gain=other_face_gain,
        assesses_brief=assesses_brief,
    )


def unit_agreement(readings: PairReadings) -> tuple[UnitAgreement, ...]:
    """β and ρ of each unit, sorted by the performer's motion, largest first."""
    expression = readings.expression()
    pair = PairedTraces.of(expression.swap.values, expression.performer.values, readings.swap.fps)
    ours, theirs = pair.slow().joined()
    if len(ours) < 2:
        return ()
    gain, correlation = gain_and_correlation(ours, theirs)
    motion = theirs.std(axis=0)
    order = np.argsort(-motion, kind="stable")
    return tuple(
        UnitAgreement(
            expression.performer.names[pair.columns[u]],
            float(gain[u]),
            float(correlation[u]),
            float(motion[u]),
        )
        for u in order
        if np.isfinite(gain[u])
    )


def emotion_traces(readings: PairReadings) -> Emotions | None:
    """Emotion probabilities and affect of both over time; None if they were not read."""
    swap, performer = readings.swap.probabilities, readings.performer.probabilities
    if swap is None or performer is None:
        return None
    return Emotions(
        performer.names, performer.values, swap.values,
        readings.performer.circumplex, readings.swap.circumplex,
    )  # fmt: skip
