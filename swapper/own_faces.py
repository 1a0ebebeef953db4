"""Whose face appears? The identity's own faces as a recogniser knows them, and who is like them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.data.faceset import Faceset
from swapper.devices import pick_device
from swapper.errors import UsageError
from swapper.faces import recognition
from swapper.faces.geometry import transform_points
from swapper.faces.recognition import Recogniser, likeness
from swapper.options import EvaluateOptions
from swapper.report.content import Group, Measure
from swapper.weighing import Sides

MOST: Final = 64
"""Faces of the identity that are looked at, evenly spread over its footage."""


@dataclass(frozen=True, eq=False)
class OwnFaces:
    """The identity's own faces, as a recogniser knows them.

    Attributes:
        identity: Its name.
        recogniser: Prepared.
        embeddings: (N, D), of unit length.
    """

    identity: str
    recogniser: Recogniser
    embeddings: NDArray[np.float32]


def own_faces(options: EvaluateOptions, recogniser: Recogniser | None) -> OwnFaces | None:
    """Some of the identity's faces, evenly spread over its footage.

    Raises:
        UsageError: Only one of faceset and recogniser was named.
    """
    if (recogniser is None) != (not options.identity):
        raise UsageError("identity= and recogniser= go together: pass both, or neither")
    if recogniser is None:
        return None
    faceset = Faceset.open(Path(options.identity))
    recogniser.prepare(pick_device(options.device))
    rows = np.unique(np.linspace(0, len(faceset.records) - 1, MOST).astype(int))
    crops = []
    for record in (faceset.records[row] for row in rows):
        points = transform_points(record.aligned_from_frame, record.landmarks)
        crops.append(recognition.crop_of(faceset.image(record), points))
    return OwnFaces(faceset.card.identity, recogniser, recogniser.embed(np.stack(crops)))


def identity_group(sides: Sides, own: OwnFaces) -> Group:
    """Likeness to the identity; the performer's own is the floor, the identity's the ceiling."""

    def mean(embeddings: NDArray[np.floating] | None) -> float:
        if embeddings is None:
            return float("nan")
        known = embeddings[np.isfinite(embeddings).all(axis=1)]
        return float(likeness(known, own.embeddings).mean()) if len(known) else float("nan")

    # Each of its own faces against the others, or each would find itself among them.
    others = [np.delete(own.embeddings, n, axis=0) for n in range(len(own.embeddings))]
    best = [
        float(likeness(own.embeddings[n : n + 1], rest)[0])
        for n, rest in enumerate(others)
        if len(rest)
    ]
    measure = Measure(
        "identity_similarity",
        f"Likeness to {own.identity} (cosine)",
        mean(sides.swap.embedding),
        mean(sides.performer.embedding),
        float(np.mean(best)) if best else float("nan"),
    )
    return Group("Identity", own.recogniser.arch, (measure,))
