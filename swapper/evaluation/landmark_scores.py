"""What the landmarks of any aligner tell: head, gaze and geometry; and when they flatter."""

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
"""Begins an entry of a model's lineage that names an aligner: its landmarks were the targets."""
_INSTRUMENT_PREFIX: Final = "landmarks by "
_OUTER_EYES: Final = (36, 45)
_Part = tuple[tuple[str, ...], ...]
_PARTS: Final[dict[str, tuple[str, _Part]]] = {
    "mouth": ("Mouth, mean of three", (("mouth_opening",), ("mouth_width",), ("mouth_corners",))),
    "mouth_opening": ("Mouth, opening", (("mouth_opening",),)),
    "mouth_width": ("Mouth, width", (("mouth_width",),)),
    "mouth_corners": ("Mouth, height of its corners", (("mouth_corners",),)),
    "brows": ("Brows", (("brow_left", "brow_right"),)),
    "lids": ("Lids", (("lid_left", "lid_right"),)),
    "jaw": ("Jaw", (("jaw",),)),
}
"""Title, and `SIGNALS`: an inner tuple's are pooled, then the figures of the outer one averaged."""
_FIGURES: Final[tuple[tuple[str, Better], ...]] = (("gain", "one"), ("correlation", "higher"))


# --- geometry -------------------------------------------------------------------------------------


def geometry_group(sides: PairReadings, late_frames: int) -> Group:
    """How parts of the face follow, by landmarks turned to the front.

    Gain is the slope of the swap's signal on the performer's and takes no notice of where each
    rests, as everywhere below 2 Hz and with a steady lag taken out. What the performer moves by
    less than `MIN_MOVEMENT` is not told.

    Args:
        sides: With landmarks of their own.
        late_frames: By which the swap comes late, as far as that is steady.
    """
    told = []
    for name, (title, part) in _PARTS.items():
        for key, better in _FIGURES:

            def figure(a: Floats, b: Floats, part: _Part = part, key: str = key) -> float:
                # The ceilings have no lag: they are the performer's own movements.
                late = late_frames if a is sides.swap.geometry.values else 0
                return _mean(_part_figure(a, b, sides.swap.fps, late, each, key) for each in part)

            told.append(
                sides.measure(
                    f"geometry_{name}_{key}", f"{title}, {key}", lambda w: w.geometry.values,
                    figure, better,
                )
            )  # fmt: skip
    return Group("Geometry", _instrument_name(sides), tuple(told))


def _part_figure(
    swap: Floats, performer: Floats, fps: float, late: int, names: Sequence[str], key: str
) -> float:
    """Gain or correlation of some of `SIGNALS` together."""
    columns = [SIGNALS.index(name) for name in names]
    pair = PairedTraces.of(swap[:, columns], performer[:, columns], fps).aligned(late)
    return float(getattr(trace_agreement(pair, MIN_MOVEMENT), key))


def _mean(figures: Iterable[float]) -> float:
    """Of those that can be told."""
    told = [each for each in figures if np.isfinite(each)]
    return float(np.mean(told)) if told else float("nan")


# --- head and gaze --------------------------------------------------------------------------------


def head_group(sides: PairReadings) -> Group:
    """Pose, gaze and where the landmarks lie."""

    def degrees(a: Floats, b: Floats) -> float:
        apart = np.abs(a - b)
        return float(np.nanmean(apart)) if np.isfinite(apart).any() else float("nan")

    def distance(a: Floats, b: Floats) -> float:
        known = np.isfinite(a[:, 0, 0]) & np.isfinite(b[:, 0, 0])
        if not known.any():
            return float("nan")
        eyes = np.linalg.norm(b[known, _OUTER_EYES[0]] - b[known, _OUTER_EYES[1]], axis=1)
        apart = np.linalg.norm(a[known] - b[known], axis=2).mean(axis=1)
        return float((apart / np.maximum(eyes, 1e-6)).mean())

    def looks(a: Floats, b: Floats) -> float:
        return trace_agreement(PairedTraces.of(a, b, sides.swap.fps)).correlation

    def looks_far(a: Floats, b: Floats) -> float:
        return trace_agreement(PairedTraces.of(a, b, sides.swap.fps)).gain

    return Group(
        "Head and gaze",
        _instrument_name(sides),
        (
            sides.measure("pose_error", "Pose error", lambda w: w.pose, degrees, "lower", "°"),
            sides.measure("gaze_gain", "Gaze, gain", gaze_of, looks_far, "one"),
            sides.measure("gaze_correlation", "Gaze, correlation", gaze_of, looks),
            sides.measure(
                "landmark_error", "Landmark error, of the eyes' distance",
                lambda w: w.landmarks, distance, "lower",
            ),
        ),
    )  # fmt: skip


def gaze_of(watched: ClipReadings) -> Floats | None:
    """(T, 2): to the person's left and up, about in [-1, 1]; None where it was not read."""
    shapes = watched.blendshapes
    if shapes is None:
        return None
    columns = {name: shapes.values[:, place] for place, name in enumerate(shapes.names)}
    needed = [
        f"{GAZE}{way}{side}" for way in ("In", "Out", "Up", "Down") for side in ("Left", "Right")
    ]
    if set(needed) - set(columns):
        return None
    left = (columns["eyeLookOutLeft"] - columns["eyeLookInLeft"]) / 2
    left += (columns["eyeLookInRight"] - columns["eyeLookOutRight"]) / 2
    up = sum(
        columns[f"eyeLookUp{side}"] - columns[f"eyeLookDown{side}"] for side in ("Left", "Right")
    )
    return np.stack([left, np.asarray(up) / 2], axis=1)


def _instrument_name(sides: PairReadings) -> str:
    return f"{_INSTRUMENT_PREFIX}{sides.swap.aligner}"


# --- who may judge --------------------------------------------------------------------------------


def shared_landmark_warnings(sides: PairReadings) -> list[str]:
    """Which clips were read by the performer's own table of landmarks, in words."""
    if sides.shared_landmarks:
        told = "the head was not read off the swap, nor its geometry"
        return [f"{told}: its landmarks are the performer's"]
    beside = {"self-swap": sides.self_swap, "exact answer": sides.best if sides.exact else None}
    return [
        f"the {name}'s landmarks are the performer's, so of geometry and pose it tells nothing: "
        "pass a CSV of its own"
        for name, clip in beside.items()
        if clip is not None and share_landmarks(clip, sides.performer)
    ]


@dataclass(frozen=True)
class AlignerLineage:
    """That the aligner at hand, or one of its name, took part in the training.

    Attributes:
        aligner: Its name.
        surely: False where the name stands for whatever tracker wrote a table.
    """

    aligner: str
    certain: bool

    @classmethod
    def from_lineage(cls, aligner: str, lineage: Sequence[str]) -> AlignerLineage | None:
        """None if no entry of the model's lineage names an aligner of this name."""
        if f"{LINEAGE_PREFIX}{aligner}" not in lineage:
            return None
        return cls(aligner, certain=aligner != OpenfaceAligner.name)

    @property
    def label(self) -> str:
        """Stands beside everything that it touches."""
        return "taught the model" if self.certain else "may have taught the model"

    def warning(self, sides: PairReadings) -> str:
        """What it flatters."""
        read = ["geometry", "pose"]
        if sides.swap.blendshapes is not None:
            # The same network gives them.
            read = ["geometry", "blendshapes", "pose", "gaze"]
        told = f"{', '.join(read[:-1])} and {read[-1]}"
        if self.certain:
            return (
                f"{self.aligner}'s landmarks taught the model, so {told} flatter it: pass another "
                "aligner="
            )
        return (
            f"{self.aligner}: the same tracker's points may have taught the model, so {told} may "
            "flatter it: pass a CSV of another tracker's, or another aligner="
        )

    def affects(self, instrument: str) -> bool:
        """Whether it is one that reads landmarks, or the network that gives them."""
        return instrument in (BLENDSHAPES, GEOMETRY) or instrument.startswith(_INSTRUMENT_PREFIX)


def mark_partial_independence(
    report: Report, sides: PairReadings, lineage: Sequence[str]
) -> Report:
    """A report that says where its aligner flatters the swap, if it does.

    Args:
        report: Of the swap.
        sides: That it tells of.
        lineage: What its model was trained with.
    """
    taught = AlignerLineage.from_lineage(sides.swap.aligner, lineage)
    if taught is None:
        return report
    groups = tuple(
        replace(group, partial=taught.label) if taught.affects(group.instrument) else group
        for group in report.groups
    )
    told = replace(
        report, groups=groups, undetermined=(taught.warning(sides), *report.undetermined)
    )
    if not taught.affects(report.unit_instrument):
        return told
    return replace(
        told,
        verdict=f"{report.verdict} Partial: {taught.aligner} {taught.label}.",
        unit_instrument=f"{report.unit_instrument} ({taught.label})",
    )
