"""Identity measures: distances of the swap's faces to identity and performer by a recogniser."""

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

MAX_FACES: Final = 64
"""Faces of the identity that are embedded, evenly spread over its footage."""

Floats = NDArray[np.float64]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class IdentityFaces:
    """Embeddings of the identity's own faces.

    Attributes:
        recogniser: Prepared.
        identity: Its name; "" if no faceset was named.
        embeddings: (N, D) of its faces; None likewise.
    """

    recogniser: Recogniser
    identity: str = ""
    embeddings: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class _FaceDistances:
    """Distances of a set of faces to the means of the identity's and of the performer's.

    Attributes:
        to_identity: (N,), by the recogniser's measure; empty if no identity was named.
        to_performer: (N,) likewise.
    """

    to_identity: Floats
    to_performer: Floats


def identity_faces(options: EvaluateOptions, recogniser: Recogniser | None) -> IdentityFaces | None:
    """Embed up to `MAX_FACES` of the identity's faces; None without a recogniser.

    Raises:
        UsageError: An identity was named, but no recogniser.
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
    rows = np.unique(np.linspace(0, len(faceset.records) - 1, MAX_FACES).astype(int))
    crops = []
    for record in (faceset.records[row] for row in rows):
        points = transform_points(record.aligned_from_frame, record.landmarks)
        crops.append(recogniser.crop(faceset.image(record), points))
    return IdentityFaces(recogniser, faceset.card.identity, recogniser.embed(np.stack(crops)))


def likeness_group(readings: PairReadings, identity_faces: IdentityFaces) -> Group:
    """Distances to identity and performer, and the share of frames nearer the identity.

    The performer's own faces are the floor, the identity's own the ceiling.
    """
    measure = identity_faces.recogniser.measure
    swap, performer, identity = _face_distances(readings, identity_faces)

    def row(
        name: str, title: str, better: Better, figure: Callable[[_FaceDistances], float]
    ) -> Measure:
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
    if identity_faces.embeddings is not None:
        rows = [
            row(
                f"identity_{measure.key}", to(identity_faces.identity), measure.nearer,
                lambda faces: _mean(faces.to_identity),
            ),
            *rows,
            row(
                "nearer_identity", f"Frames nearer {identity_faces.identity} than the performer",
                "higher", lambda faces: _share_nearer(faces, measure),
            ),
        ]  # fmt: skip
    return Group("Identity", identity_faces.recogniser.name, tuple(rows))


def _face_distances(
    readings: PairReadings, identity_faces: IdentityFaces
) -> tuple[_FaceDistances, _FaceDistances, _FaceDistances]:
    """Distances of swap, performer and identity; no face is compared with itself."""
    measure = identity_faces.recogniser.measure
    swap, performer = _embeddings(readings.swap), _embeddings(readings.performer)
    if identity_faces.embeddings is None:
        nothing = np.empty(0)
        return (
            _FaceDistances(nothing, measure.to_mean(swap, performer)),
            _FaceDistances(nothing, measure.leave_one_out(performer)),
            _FaceDistances(nothing, nothing),
        )
    identity = identity_faces.embeddings
    return (
        _FaceDistances(measure.to_mean(swap, identity), measure.to_mean(swap, performer)),
        _FaceDistances(measure.to_mean(performer, identity), measure.leave_one_out(performer)),
        _FaceDistances(measure.leave_one_out(identity), measure.to_mean(identity, performer)),
    )


def _embeddings(clip: ClipReadings) -> Floats:
    """(N, D) of the frames with a face."""
    assert clip.embedding is not None, "read without the recogniser"
    return clip.embedding[np.isfinite(clip.embedding).all(axis=1)]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _share_nearer(faces: _FaceDistances, measure: FaceMeasure) -> float:
    """Share of faces nearer the identity than the performer; NaN if a distance is missing."""
    if not np.isfinite(faces.to_identity + faces.to_performer).all():
        return float("nan")
    return _mean(measure.is_nearer(faces.to_identity, faces.to_performer).astype(np.float64))
