"""What was seen of a swap and its performer, turned into figures between a floor and a ceiling."""

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
"""Of readings (T, ...) of a swap and of the performer."""

GAZE: Final = "eyeLook"
LIDS: Final = ("eyeBlinkLeft", "eyeBlinkRight", "AU45", "AU43", "lid left", "lid right")
NEUTRAL: Final = ("neutral", "calm")
_MIN_CEILING: Final = 0.2
BRIEF_GAIN: Final = 0.6
"""Of brief movements on another face, as readers saw them in perfect copies on film
(scripts/validate_evaluation.py): 0.57 and 0.77."""
BLENDSHAPES, UNITS, GEOMETRY = "MediaPipe blendshapes", "action units", "landmarks' geometry"
"""Readers of expression."""
OTHER_FACE_GAIN: Final = {BLENDSHAPES: 0.85, UNITS: 0.95, GEOMETRY: 0.9}
"""Gain of perfect copies on another actor's face, by reader: means over 16 pairs of faces, where
MediaPipe saw 0.59 to 1.10 and `judge` 0.88 to 1.03 (docs/LOG.md, 2026-11-24). Geometry: 0.97 by
exact landmarks (0.87 to 1.13, 16 pairs), 0.93 by MediaPipe's on film (0.82 to 1.00, 10 pairs of
them), and a little less for trackers that shake more (docs/LOG.md, 2026-11-29)."""
MIN_MOVEMENT: Final = 0.01
"""Eye distances by which a signal of geometry deviates (standard deviation below 2 Hz) if it moves:
trackers' noise is below, and what a turned head leaves of itself in a still face."""
_FULL_MOVEMENT: Final = MIN_MOVEMENT / MIN_MOTION
"""Eye distances that stand for a full movement, 1 of any other reader's units."""
UNDETERMINED: Final = "this clip cannot tell"


@dataclass(frozen=True, eq=False)
class ExpressionReadings:
    """What moves in the faces of `PairReadings`, and the `reader` that saw it."""

    swap: Traces
    performer: Traces
    best: Traces | None
    self_swap: Traces | None
    instrument: str


@dataclass(frozen=True, eq=False)
class PairReadings:
    """What the same instruments saw of one performance; all of as many frames.

    Attributes:
        swap: To be judged.
        performer: Whose feeling it should show.
        best: The best that can be expected: the exact answer, where there is one, else the
            performer's own clip, encoded anew; or None.
        self_swap: The performer on the performer's own face, by the same model: what the network
            itself costs, whoever's face it wears; or None.
        exact: Whether `best` is the exact answer, on the identity's face.
    """

    swap: ClipReadings
    performer: ClipReadings
    best: ClipReadings | None = None
    self_swap: ClipReadings | None = None
    exact: bool = False

    @property
    def shared_landmarks(self) -> bool:
        """Whether one table of landmarks served both clips, and so says nothing of the swap."""
        return share_landmarks(self.swap, self.performer)

    def expression(self) -> ExpressionReadings:
        """Traces of units without gaze, of all sides; of geometry where nothing else read units.

        Raises:
            ValueError: Nothing did, and one table of landmarks served both clips.
        """
        for name, reader in (("blendshapes", BLENDSHAPES), ("units", UNITS)):
            found = [
                None if each is None else getattr(each, name)
                for each in (self.swap, self.performer, self.best, self.self_swap)
            ]
            swap, performer, best, self_swap = (
                None if each is None else each.select(lambda title: not title.startswith(GAZE))
                for each in found
            )
            if swap is not None and performer is not None:
                return ExpressionReadings(swap, performer, best, self_swap, reader)
        if self.shared_landmarks:
            raise ValueError("neither blendshapes nor action units nor geometry were read")
        return ExpressionReadings(
            _geometry_movements(self.swap),
            _geometry_movements(self.performer),
            None if self.best is None else _geometry_movements(self.best),
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
        shuffled: bool = True,
    ) -> Measure:
        """One figure with its floor and ceiling.

        Args:
            name: Key.
            title: For a person.
            select: Picks the readings; None where there are none.
            figure: Of swap and performer.
            better: Which way is better.
            unit: Of the figure.
            shuffled: Whether the performer shuffled in time is a floor for it.
        """
        swap, performer = select(self.swap), select(self.performer)
        if swap is None or performer is None:
            return Measure(name, title, np.nan, better=better, unit=unit, why_not="not read")
        value = figure(swap, performer)
        lowest = np.nan
        if shuffled:
            lowest = floor(lambda them: figure(swap, them), performer, self.swap.fps)
        highest, own = (
            np.nan if found is None else figure(found, performer)
            for found in (
                None if each is None else select(each) for each in (self.best, self.self_swap)
            )
        )
        why_not = "" if np.isfinite(value) else UNDETERMINED
        return Measure(name, title, value, lowest, highest, better, unit, why_not, own)


def share_landmarks(clip: ClipReadings, other: ClipReadings) -> bool:
    """Whether two clips have the very same landmarks, which only a table can give."""
    if clip.video.resolve() == other.video.resolve():
        return False
    return np.array_equal(clip.landmarks, other.landmarks, equal_nan=True)


def _geometry_movements(watched: ClipReadings) -> Traces:
    """Geometry from its median, on the scale of other readers' units."""
    values = watched.geometry.values
    told = values[np.isfinite(values).all(axis=1)]
    rest = np.median(told, axis=0) if len(told) else 0.0
    names = tuple(name.replace("_", " ") for name in watched.geometry.names)
    return Traces(names, (values - rest) / _FULL_MOVEMENT)


def emotion_group(sides: PairReadings, reader: str) -> Group:
    """Agreement of classes, and of valence and arousal."""
    probabilities = sides.performer.probabilities
    names = () if probabilities is None else probabilities.names
    neutral = next((names.index(each) for each in NEUTRAL if each in names), None)

    def classes(watched: ClipReadings) -> Floats | None:
        return None if watched.probabilities is None else watched.probabilities.values

    def agreement(key: str) -> Figure:
        return lambda a, b: float(getattr(emotion_agreement(a, b, neutral), key))

    told = [
        sides.measure("emotion_accuracy", "Same emotion", classes, agreement("accuracy")),
        sides.measure("emotion_kappa", "Cohen's κ", classes, agreement("kappa")),
        sides.measure("felt_kappa", "κ where not neutral", classes, agreement("felt_kappa")),
        sides.measure(
            "divergence", "Jensen-Shannon divergence", classes, agreement("divergence"),
            "lower", "bits",
        ),
    ]  # fmt: skip
    for column, name in enumerate(("valence", "arousal")):

        def level(watched: ClipReadings, column: int = column) -> Floats | None:
            return None if watched.circumplex is None else watched.circumplex[:, column]

        told.append(sides.measure(f"{name}_ccc", f"{name.title()}, CCC", level, concordance))
    return Group("Emotion", reader, tuple(told))


def expression_group(sides: PairReadings, found: Figures) -> Group:
    """How the units follow in strength, in time, in the fast band and from side to side."""
    seen = sides.expression()
    fps = sides.swap.fps
    late_frames = found.lag_frames
    # Of the performer's own face, for what has no floor.
    own = None if seen.self_swap is None else _figures(sides, seen.self_swap, sides.self_swap, 1.0)

    def select(watched: ClipReadings) -> Floats | None:
        traces = {
            id(sides.swap): seen.swap,
            id(sides.performer): seen.performer,
            id(sides.best): seen.best,
            id(sides.self_swap): seen.self_swap,
        }
        chosen = traces[id(watched)]
        return None if chosen is None else chosen.values

    def along(figure: Callable[[PairedTraces], Any], key: str) -> Figure:
        def of(a: Floats, b: Floats) -> float:
            pair = PairedTraces.of(a, b, fps)
            # The ceilings have no lag: they are the performer's own movements.
            late = late_frames if a is seen.swap.values else 0
            return float(getattr(figure(pair.aligned(late)), key))

        return of

    def over_time(
        name: str, title: str, figure: Callable[[PairedTraces], Any], key: str, better: Better
    ) -> Measure:
        return sides.measure(name, title, select, along(figure, key), better)

    told = [
        over_time("gain", "Gain β", trace_agreement, "gain", "one"),
        over_time("correlation", "Correlation ρ", trace_agreement, "correlation", "higher"),
        _without_floor("lag", "Lag (0 is best)", lambda it: it.lag.frames, found, own, "frames"),
        over_time("onset_slope", "Steepness of onsets", velocity, "onset_slope", "one"),
        over_time("velocity_correlation", "ρ of velocities", velocity, "correlation", "higher"),
        over_time("fast_coherence", "Coherence, 2 to 12 Hz", fast_band, "coherence", "higher"),
        over_time("fast_energy", "Energy, 2 to 12 Hz", fast_band, "energy_ratio", "one"),
        _without_floor("jitter", "Fast movement that is not the performer's", _jitter, found, own),
        _without_floor(
            "brief_lost", "Brief movements lost", _brief_lost, found, own,
            why_not="the performer makes none that could be told",
        ),
        *_asymmetry_measures(seen, fps),
    ]  # fmt: skip
    return Group("Expression over time", seen.instrument, tuple(told))


def _without_floor(
    name: str,
    title: str,
    figure: Callable[[Figures], float],
    found: Figures,
    own: Figures | None,
    unit: str = "",
    why_not: str = UNDETERMINED,
) -> Measure:
    """One of which less is better, 0 the best, and for which there is no floor."""
    value = figure(found)
    reason = "" if np.isfinite(value) else why_not
    self_swap = np.nan if own is None else figure(own)
    return Measure(name, title, value, np.nan, 0.0, "lower", unit, reason, self_swap)


def _jitter(found: Figures) -> float:
    return found.jitter


def _brief_lost(found: Figures) -> float:
    return found.brief.lost / found.brief.total if found.brief.total else float("nan")


def _asymmetry_measures(seen: ExpressionReadings, fps: float) -> list[Measure]:
    """Left against right, where the units have sides."""
    lefts = [name for name in seen.performer.names if name.endswith("Left")]
    rights = [name.removesuffix("Left") + "Right" for name in lefts]
    if not lefts or set(rights) - set(seen.performer.names):
        return []

    def figure(key: str, traces: Traces | None) -> float:
        if traces is None:
            return float("nan")
        pairs = [
            PairedTraces.of(
                traces.select(names.__contains__).values,
                seen.performer.select(names.__contains__).values,
                fps,
            )
            for names in (lefts, rights)
        ]
        return float(getattr(asymmetry(*pairs), key))

    found = []
    for key, title in (("gain", "Sidedness, gain"), ("correlation", "Sidedness, correlation")):
        value = figure(key, seen.swap)
        better: Better = "one" if key == "gain" else "higher"
        why_not = "" if np.isfinite(value) else UNDETERMINED
        best, own = figure(key, seen.best), figure(key, seen.self_swap)
        name = f"sidedness_{key}"
        found.append(Measure(name, title, value, np.nan, best, better, "", why_not, own))
    return found


def diagnose_pair(sides: PairReadings) -> tuple[Figures, Diagnosis]:
    """The figures on which the verdict rests, and what they say is wrong.

    What the network loses on the performer's own face as well is lost none the less: the self-swap
    excuses nothing.
    """
    seen = sides.expression()
    found = _figures(sides, seen.swap, sides.swap)
    best = None if seen.best is None else _figures(sides, seen.best, sides.best)
    if sides.exact and sides.best is not None:
        # On one face all of what is brief may be expected; but even of an encoding of the answer
        # readers miss up to 0.27 on film, so the share that counts as gone keeps its allowance.
        answered = PairReadings(sides.swap, sides.best)
        same_face = _figures(answered, seen.swap, sides.swap, brief_gain=1.0)
        found = replace(found, brief=same_face.brief)
    allowance = 1.0 if sides.exact else OTHER_FACE_GAIN[seen.instrument]
    return found, diagnose(found, _ceiling(best, allowance, tells_brief=sides.exact))


def _figures(
    sides: PairReadings,
    traces: Traces,
    watched: ClipReadings | None,
    brief_gain: float = BRIEF_GAIN,
) -> Figures:
    """Of what `watched` shows, whose expression are `traces`, beside the performer."""
    assert watched is not None
    performer = sides.performer
    emotions = None
    if watched.probabilities is not None and performer.probabilities is not None:
        emotions = watched.probabilities.values, performer.probabilities.values
    shown = sides.expression().performer
    lids = [place for place, name in enumerate(shown.names) if name in LIDS]
    return clip_figures(traces.values, shown.values, watched.fps, emotions, lids, brief_gain)


def _ceiling(best: Figures | None, other_face: float, *, tells_brief: bool) -> Ceiling:
    """What the instrument itself allows; a wild one allows no less than a fifth."""
    if best is None:
        return Ceiling(other_face=other_face, assesses_brief=tells_brief)
    gain, correlation = best.units.gain, best.units.correlation
    return Ceiling(
        gain=float(np.clip(np.nan_to_num(gain, nan=1.0), _MIN_CEILING, 1.25)),
        correlation=float(np.clip(np.nan_to_num(correlation, nan=1.0), _MIN_CEILING, 1.0)),
        other_face=other_face,
        assesses_brief=tells_brief,
    )


def unit_agreement(sides: PairReadings) -> tuple[UnitAgreement, ...]:
    """β and ρ of each unit, those that the performer moves most first."""
    seen = sides.expression()
    pair = PairedTraces.of(seen.swap.values, seen.performer.values, sides.swap.fps)
    ours, theirs = pair.slow().joined()
    if len(ours) < 2:
        return ()
    gain, correlation = gain_and_correlation(ours, theirs)
    motion = theirs.std(axis=0)
    order = np.argsort(-motion, kind="stable")
    return tuple(
        UnitAgreement(
            seen.performer.names[pair.columns[u]],
            float(gain[u]),
            float(correlation[u]),
            float(motion[u]),
        )
        for u in order
        if np.isfinite(gain[u])
    )


def emotion_traces(sides: PairReadings) -> Emotions | None:
    """What a reader of emotions said over time."""
    swap, performer = sides.swap.probabilities, sides.performer.probabilities
    if swap is None or performer is None:
        return None
    return Emotions(
        performer.names, performer.values, swap.values,
        sides.performer.circumplex, sides.swap.circumplex,
    )  # fmt: skip
