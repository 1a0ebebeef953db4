"""Whose face appears? The swap's faces, held by a recogniser against identity and performer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from swapper.devices import pick_device
from swapper.errors import UsageError
from swapper.evaluation.clip_readings import ClipReadings
from swapper.evaluation.scorecard import PairReadings
from swapper.faces.geometry import transform_points
from swapper.faces.recognition import FaceMeasure, Recogniser
from swapper.facesets.faceset import Faceset
from swapper.options.verbs import EvaluateOptions
from swapper.report.content import Group, Measure

MOST: Final = 64
"""Faces of the identity that are looked at, evenly spread over its footage."""

Floats = NDArray[np.float64]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class IdentityFaces:
    """The identity's own faces, as a recogniser knows them.

    Attributes:
        recogniser: Prepared.
        identity: Its name; "" where no faceset was named.
        embeddings: (N, D) of its faces; None likewise.
    """

    recogniser: Recogniser
    identity: str = ""
    embeddings: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class _Measured:
    """One set of faces, each held against the mean of the identity's and of the performer's.

    Attributes:
        to_identity: (N,), by the recogniser's measure; NaN where no identity was named.
        to_performer: (N,) likewise.
    """

    to_identity: Floats
    to_performer: Floats


def identity_faces(options: EvaluateOptions, recogniser: Recogniser | None) -> IdentityFaces | None:
    """Some of the identity's faces, evenly spread over its footage; None without a recogniser.

    Raises:
        UsageError: An identity was named, and no recogniser.
        EstimatorError: The recogniser's package or weights are missing.
        FacesetError: The faceset cannot be read.
    """
    if recogniser is None:
        if options.identity:
            raise UsageError(
                f"identity={options.identity}: needs a recogniser: pass recogniser=dlib as well"
            )
        return None
    recogniser.prepare(pick_device(options.device))
    if not options.identity:
        return IdentityFaces(recogniser)
    faceset = Faceset.open(Path(options.identity))
    rows = np.unique(np.linspace(0, len(faceset.records) - 1, MOST).astype(int))
    crops = []
    for record in (faceset.records[row] for row in rows):
        points = transform_points(record.aligned_from_frame, record.landmarks)
        crops.append(recogniser.crop(faceset.image(record), points))
    return IdentityFaces(recogniser, faceset.card.identity, recogniser.embed(np.stack(crops)))


def likeness_group(sides: PairReadings, own: IdentityFaces) -> Group:
    """How near the swap is to identity and performer, and in how many frames to which.

    The performer's own faces are the floor, the identity's own the ceiling.
    """
    measure = own.recogniser.measure
    swap, performer, identity = _measured(sides, own)

    def row(name: str, title: str, better: Better, figure: Callable[[_Measured], float]) -> Measure:
        return Measure(name, title, figure(swap), figure(performer), figure(identity), better)

    def to(whose: str) -> str:
        return f"{measure.title} to {whose} ({measure.kind})"

    further: Better = "lower" if measure.nearer == "higher" else "higher"
    rows = [
        row(
            f"performer_{measure.key}", to("the performer"), further,
            lambda faces: _mean(faces.to_performer),
        )
    ]  # fmt: skip
    if own.embeddings is not None:
        rows = [
            row(
                f"identity_{measure.key}", to(own.identity), measure.nearer,
                lambda faces: _mean(faces.to_identity),
            ),
            *rows,
            row(
                "nearer_identity", f"Frames nearer {own.identity} than the performer", "higher",
                lambda faces: _share_nearer(faces, measure),
            ),
        ]  # fmt: skip
    return Group("Identity", own.recogniser.name, tuple(rows))


def _measured(sides: PairReadings, own: IdentityFaces) -> tuple[_Measured, _Measured, _Measured]:
    """Of the swap, the performer and the identity; no face is held against itself."""
    measure = own.recogniser.measure
    swap, performer = _embeddings(sides.swap), _embeddings(sides.performer)
    if own.embeddings is None:
        nothing = np.empty(0)
        return (
            _Measured(nothing, measure.to_mean(swap, performer)),
            _Measured(nothing, measure.leave_one_out(performer)),
            _Measured(nothing, nothing),
        )
    identity = own.embeddings
    return (
        _Measured(measure.to_mean(swap, identity), measure.to_mean(swap, performer)),
        _Measured(measure.to_mean(performer, identity), measure.leave_one_out(performer)),
        _Measured(measure.leave_one_out(identity), measure.to_mean(identity, performer)),
    )


def _embeddings(watched: ClipReadings) -> Floats:
    """(N, D) of the frames with a face."""
    assert watched.embedding is not None, "watched without the recogniser"
    return watched.embedding[np.isfinite(watched.embedding).all(axis=1)]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _share_nearer(faces: _Measured, measure: FaceMeasure) -> float:
    """The share that is nearer the identity than the performer; NaN where one is not known."""
    if not np.isfinite(faces.to_identity + faces.to_performer).all():
        return float("nan")
    return _mean(measure.is_nearer(faces.to_identity, faces.to_performer).astype(np.float64))
