"""Measures from landmarks: head pose, gaze and geometry; independence of their aligner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
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
from swapper.metrics.dynamics import TraceAgreement, trace_agreement
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
    """Gain and correlation of face parts, from frontalised landmarks of each clip's own.

    Gain is the slope of the swap's signal on the performer's, independent of their offsets, below
    2 Hz and with a steady lag of `lag_frames` removed. NaN where the performer moves by less than
    `MIN_MOVEMENT`.
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

    def gaze(a: Floats, b: Floats) -> TraceAgreement:
        return trace_agreement(PairedTraces.of(a, b, readings.swap.fps))

    return Group(
        "Head and gaze",
        _instrument_name(readings),
        (
            readings.measure("pose_error", "Pose error", lambda w: w.pose, degrees, "lower", "°"),
            readings.measure(
                "gaze_gain", "Gaze, gain", gaze_of, lambda a, b: gaze(a, b).gain, "one",
            ),
            readings.measure(
                "gaze_correlation", "Gaze, correlation", gaze_of,
                lambda a, b: gaze(a, b).correlation,
            ),
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


def mark_dependent_aligner(
    report: Report, readings: PairReadings, lineage: Sequence[str]
) -> Report:
    """Mark the figures of a report whose aligner is in the lineage of the swap's model."""
    aligner = readings.swap.aligner
    if f"{LINEAGE_PREFIX}{aligner}" not in lineage:
        return report
    certain = aligner != OpenfaceAligner.name  # a CSV of landmarks does not name its tracker
    label = "used in training" if certain else "may have been used in training"
    report = replace(
        report,
        groups=tuple(
            replace(group, partial=label) if _is_by_landmarks(group.instrument) else group
            for group in report.groups
        ),
        undetermined=(_dependence_warning(readings, certain), *report.undetermined),
    )
    if not _is_by_landmarks(report.unit_instrument):
        return report
    return replace(
        report,
        verdict=f"{report.verdict} Partial: {aligner} {'was ' if certain else ''}{label}.",
        unit_instrument=f"{report.unit_instrument} ({label})",
    )


def _is_by_landmarks(instrument: str) -> bool:
    """Whether an instrument uses landmarks, or the network that outputs them."""
    return instrument in (BLENDSHAPES, GEOMETRY) or instrument.startswith(_INSTRUMENT_PREFIX)


def _dependence_warning(readings: PairReadings, certain: bool) -> str:
    aligner, measures = readings.swap.aligner, "geometry and pose"
    if readings.swap.blendshapes is not None:  # the same network outputs them
        measures = "geometry, blendshapes, pose and gaze"
    if certain:
        return (
            f"{aligner}'s landmarks were used in training, so {measures} are biased in the model's "
            "favour: pass another aligner="
        )
    return (
        f"{aligner}: landmarks of the same tracker may have been used in training, so {measures} "
        "may be biased in the model's favour: pass a CSV of another tracker, or another aligner="
    )
