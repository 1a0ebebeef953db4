"""Faces and pseudo-targets of one performer as one identity, for benchmarks without a training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.affect.neutral import find_neutrals
from swapper.data.cache import FaceCache
from swapper.data.pseudo_samples import draw_rows
from swapper.data.pseudo_targets import PseudoTargets
from swapper.faces.shape import Shapes, aligned_points
from swapper.facesets.faceset import Faceset


class PseudoPair:
    """Pseudo-targets of all faces of a performer; all of the identity's may be bases.

    Args:
        performer: Faceset of the performer.
        identity: Faceset of the identity.
        mesh: Whether to use MediaPipe's mesh, which all faces must have, or 68 landmarks.

    Attributes:
        caches: Faces of both.
        neutrals: Of both.
        table: Recipes, one for each of the performer's faces.
    """

    def __init__(self, performer: Faceset, identity: Faceset, *, mesh: bool) -> None:
        people = [performer, identity]
        shapes = [
            Shapes.of(aligned_points(each.records, each.card.size, each.card.coverage, mesh=mesh))
            for each in people
        ]
        self.neutrals = list(
            find_neutrals({"performer": shapes[0], "identity": shapes[1]}).values()
        )
        size = min(each.card.size for each in people)
        self.caches = [FaceCache.open(each, size) for each in people]
        usable = [np.arange(len(each)) for each in people]
        rests = [each.shape for each in self.neutrals]
        tables = PseudoTargets().prepare(people, self.caches, usable, shapes, rests)
        self.table = tables[0, 1]

    def draw(self, rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Draw pseudo-targets (N, 5, size, size) in [0, 1] of faces that have one."""
        drawn: NDArray[np.float32] = draw_rows(self.caches, (0, 1), self.table, rows, size).numpy()
        return drawn
