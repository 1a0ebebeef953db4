"""Measures from landmarks: head pose, gaze and geometry; independence of their aligner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from swapper.evaluation.clip_readings import ClipReadings
from swapper.evaluation.scorecard import (
    BLENDSHAPES,
    GAZE,
    GEOMETRY,
    MIN_MOVEMENT,
    Better,
    Floats,
    PairReadings,
    share_landmarks,
)
from swapper.faces.openface import OpenfaceAligner
from swapper.faces.shape import SIGNALS
from swapper.metrics.dynamics import trace_agreement
from swapper.metrics.paired_traces import PairedTraces
from swapper.report.content import Group, Report

LINEAGE_PREFIX: Final = "landmarks:"
"""Prefix of a lineage entry that names an aligner whose landmarks were training targets."""
_INSTRUMENT_PREFIX: Final = "landmarks by "
_OUTER_EYES: Final = (36, 45)
_Part = tuple[tuple[str, ...], ...]
_PARTS: Final[dict[str, tuple[str, _Part]]] = {
    "mouth": ("Mouth, mean of three", (("mouth_opening",), ("mouth_width",), ("mouth_corners",))),
    "mouth_opening": ("Mouth, opening", (("mouth_opening",),)),
    "mouth_width": ("Mouth, width", (("mouth_width",),)),
    "mouth_corners": ("Mouth, height of the corners", (("mouth_corners",),)),
    "brows": ("Brows", (("brow_left", "brow_right"),)),
    "lids": ("Lids", (("lid_left", "lid_right"),)),
    "jaw": ("Jaw", (("jaw",),)),
}
"""Title, and names of `SIGNALS`: pooled within an inner tuple, averaged over the outer one."""
_FIGURES: Final[tuple[tuple[str, Better], ...]] = (("gain", "one"), ("correlation", "higher"))


# --- geometry -------------------------------------------------------------------------------------


def geometry_group(readings: PairReadings, lag_frames: int) -> Group:
    """Gain and correlation of face parts, from frontalised landmarks.

    Gain is the slope of the swap's signal on the performer's, independent of their offsets, below
    2 Hz and with a steady lag removed. NaN where the performer moves by less than `MIN_MOVEMENT`.

    Args:
        readings: Whose clips have landmarks of their own.
        lag_frames: Steady lag of the swap in frames.
    """
    measures = []
    for name, (title, part) in _PARTS.items():
        for key, better in _FIGURES:

            def figure(a: Floats, b: Floats, part: _Part = part, key: str = key) -> float:
                # Ceilings have no lag: they are the performer's own movements.
                lag = lag_frames if a is readings.swap.geometry.values else 0
                return _mean(_part_figure(a, b, readings.swap.fps, lag, each, key) for each in part)

            measures.append(
                readings.measure(
                    f"geometry_{name}_{key}", f"{title}, {key}", lambda w: w.geometry.values,
                    figure, better,
                )
            )  # fmt: skip
    return Group("Geometry", _instrument_name(readings), tuple(measures))


def _part_figure(
    swap: Floats, performer: Floats, fps: float, late: int, names: Sequence[str], key: str
) -> float:
    """Gain or correlation of the named `SIGNALS`, pooled."""
    columns = [SIGNALS.index(name) for name in names]
    pair = PairedTraces.of(swap[:, columns], performer[:, columns], fps).aligned(late)
    return float(getattr(trace_agreement(pair, MIN_MOVEMENT), key))


def _mean(figures: Iterable[float]) -> float:
    """Mean of the finite figures."""
    finite = [figure for figure in figures if np.isfinite(figure)]
    return float(np.mean(finite)) if finite else float("nan")


# --- head and gaze --------------------------------------------------------------------------------


def head_group(readings: PairReadings) -> Group:
    """Errors of pose and landmarks; gain and correlation of gaze."""

    def degrees(a: Floats, b: Floats) -> float:
        differences = np.abs(a - b)
        return float(np.nanmean(differences)) if np.isfinite(differences).any() else float("nan")

    def distance(a: Floats, b: Floats) -> float:
        detected = np.isfinite(a[:, 0, 0]) & np.isfinite(b[:, 0, 0])
        if not detected.any():
            return float("nan")
        eyes = np.linalg.norm(b[detected, _OUTER_EYES[0]] - b[detected, _OUTER_EYES[1]], axis=1)
        distances = np.linalg.norm(a[detected] - b[detected], axis=2).mean(axis=1)
        return float((distances / np.maximum(eyes, 1e-6)).mean())

    def gaze_correlation(a: Floats, b: Floats) -> float:
        return trace_agreement(PairedTraces.of(a, b, readings.swap.fps)).correlation

    def gaze_gain(a: Floats, b: Floats) -> float:
        return trace_agreement(PairedTraces.of(a, b, readings.swap.fps)).gain

    return Group(
        "Head and gaze",
        _instrument_name(readings),
        (
            readings.measure("pose_error", "Pose error", lambda w: w.pose, degrees, "lower", "°"),
            readings.measure("gaze_gain", "Gaze, gain", gaze_of, gaze_gain, "one"),
            readings.measure("gaze_correlation", "Gaze, correlation", gaze_of, gaze_correlation),
            readings.measure(
                "landmark_error", "Landmark error, in eye distances",
                lambda w: w.landmarks, distance, "lower",
            ),
        ),
    )  # fmt: skip


def gaze_of(clip: ClipReadings) -> Floats | None:
    """(T, 2) gaze to the person's left and up, about in [-1, 1]; None without blendshapes of it."""
    shapes = clip.blendshapes
    if shapes is None:
        return None
    columns = {name: shapes.values[:, column] for column, name in enumerate(shapes.names)}
    needed = [
        f"{GAZE}{direction}{side}"
        for direction in ("In", "Out", "Up", "Down")
        for side in ("Left", "Right")
    ]
    if set(needed) - set(columns):
        return None
    left = (columns["eyeLookOutLeft"] - columns["eyeLookInLeft"]) / 2
    left += (columns["eyeLookInRight"] - columns["eyeLookOutRight"]) / 2
    up = sum(
        columns[f"eyeLookUp{side}"] - columns[f"eyeLookDown{side}"] for side in ("Left", "Right")
    )
    return np.stack([left, np.asarray(up) / 2], axis=1)


def _instrument_name(readings: PairReadings) -> str:
    return f"{_INSTRUMENT_PREFIX}{readings.swap.aligner}"


# --- independence of the aligner ------------------------------------------------------------------


def shared_landmark_warnings(readings: PairReadings) -> list[str]:
    """Messages on clips that share the performer's landmark table, which measures nothing."""
    if readings.shared_landmarks:
        message = "head pose and geometry of the swap were not measured"
        return [f"{message}: its landmarks are the performer's"]
    clips = {
        "self-swap": readings.self_swap,
        "ground truth": readings.ceiling if readings.has_truth else None,
    }
    return [
        f"the {name}'s landmarks are the performer's, so its geometry and pose are not measured: "
        "pass a CSV of its own"
        for name, clip in clips.items()
        if clip is not None and share_landmarks(clip, readings.performer)
    ]


@dataclass(frozen=True)
class AlignerLineage:
    """The aligner that measures, or one of the same name, took part in training.

    Attributes:
        aligner: Its name.
        certain: False if the name does not identify the tracker, as for a CSV of landmarks.
    """

    aligner: str
    certain: bool

    @classmethod
    def from_lineage(cls, aligner: str, lineage: Sequence[str]) -> AlignerLineage | None:
        """Return None if the model's lineage does not name this aligner."""
        if f"{LINEAGE_PREFIX}{aligner}" not in lineage:
            return None
        return cls(aligner, certain=aligner != OpenfaceAligner.name)

    @property
    def label(self) -> str:
        """Mark of every figure that it affects."""
        return "used in training" if self.certain else "may have been used in training"

    def warning(self, readings: PairReadings) -> str:
        """Message naming the measures that are not independent."""
        names = ["geometry", "pose"]
        if readings.swap.blendshapes is not None:
            # The same network outputs them.
            names = ["geometry", "blendshapes", "pose", "gaze"]
        measures = f"{', '.join(names[:-1])} and {names[-1]}"
        if self.certain:
            return (
                f"{self.aligner}'s landmarks were used in training, so {measures} are biased in "
                "the model's favour: pass another aligner="
            )
        return (
            f"{self.aligner}: landmarks of the same tracker may have been used in training, so "
            f"{measures} may be biased in the model's favour: pass a CSV of another tracker, or "
            "another aligner="
        )

    def affects(self, instrument: str) -> bool:
        """Whether an instrument uses its landmarks, or the network that outputs them."""
        return instrument in (BLENDSHAPES, GEOMETRY) or instrument.startswith(_INSTRUMENT_PREFIX)


def mark_dependent_aligner(
    report: Report, readings: PairReadings, lineage: Sequence[str]
) -> Report:
    """Mark the figures of a report whose aligner took part in training.

    Args:
        report: Of the swap.
        readings: That it was computed from.
        lineage: What the swap's model was trained with.
    """
    dependence = AlignerLineage.from_lineage(readings.swap.aligner, lineage)
    if dependence is None:
        return report
    groups = tuple(
        replace(group, partial=dependence.label) if dependence.affects(group.instrument) else group
        for group in report.groups
    )
    marked = replace(
        report, groups=groups, undetermined=(dependence.warning(readings), *report.undetermined)
    )
    if not dependence.affects(report.unit_instrument):
        return marked
    return replace(
        marked,
        verdict=f"{report.verdict} Partial: {dependence.aligner} "
        f"{'was ' if dependence.certain else ''}{dependence.label}.",
        unit_instrument=f"{report.unit_instrument} ({dependence.label})",
    )
