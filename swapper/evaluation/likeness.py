"""Identity measures: distances of the swap's faces to identity and performer by a recogniser."""

from __future__ import annotations

from collections.abc import Iterable
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

    The performer's own faces are the floor, the identity's own the ceiling; no face is compared
    with itself.
    """
    measure, name = identity_faces.recogniser.measure, identity_faces.identity
    swap, performer = _embeddings(readings.swap), _embeddings(readings.performer)
    own = identity_faces.embeddings
    to_performer = [
        measure.to_mean(swap, performer),
        measure.leave_one_out(performer),
        np.empty(0) if own is None else measure.to_mean(own, performer),
    ]
    further: Better = "lower" if measure.nearer == "higher" else "higher"

    def row(key: str, title: str, better: Better, figures: Iterable[float]) -> Measure:
        value, floor, ceiling = figures
        return Measure(key, title, value, floor, ceiling, better)

    def distances(whose: str, title: str, better: Better, of: list[Floats]) -> Measure:
        title = f"{measure.title} to {title} ({measure.kind})"
        return row(f"{whose}_{measure.key}", title, better, map(_mean, of))

    rows = [distances("performer", "the performer", further, to_performer)]
    if own is not None:
        to_identity = [
            measure.to_mean(swap, own),
            measure.to_mean(performer, own),
            measure.leave_one_out(own),
        ]
        shares = (
            _share_nearer(*both, measure) for both in zip(to_identity, to_performer, strict=True)
        )
        title = f"Frames nearer {name} than the performer"
        rows.insert(0, distances("identity", name, measure.nearer, to_identity))
        rows.append(row("nearer_identity", title, "higher", shares))
    return Group("Identity", identity_faces.recogniser.name, tuple(rows))


def _embeddings(clip: ClipReadings) -> Floats:
    """(N, D) of the frames with a face."""
    assert clip.embedding is not None, "read without the recogniser"
    return clip.embedding[np.isfinite(clip.embedding).all(axis=1)]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _share_nearer(to_identity: Floats, to_performer: Floats, measure: FaceMeasure) -> float:
    """Share of faces nearer the identity than the performer; NaN if a distance is missing."""
    if not np.isfinite(to_identity + to_performer).all():
        return float("nan")
    return _mean(measure.is_nearer(to_identity, to_performer).astype(np.float64))
