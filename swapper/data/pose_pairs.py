"""Another face of the same identity in like pose, to be drawn instead of a sample's own input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.data.near_duplicates import APART, FootageIndex

DEGREES = 8.0
"""Yaw and pitch may differ by so much each; roll is taken out by the alignment."""
_TRIES = 32
_CHOICE = 4


class PosePairs:
    """Finds faces in like pose that are not the same moment.

    Nothing but a sorted list is kept, so memory grows as the faces and not as their pairs.

    Args:
        footage: Of N faces.
        codes: (N, K) affect codes; K may be 0.
    """

    def __init__(self, footage: FootageIndex, codes: NDArray[np.float32]) -> None:
        self._order = np.argsort(footage.pose[:, 0], kind="stable")
        self._yaw = footage.pose[self._order, 0]
        self._pose = footage.pose
        self._source, self._frame = footage.source, footage.frame
        self._codes = codes

    def other(self, random: np.random.Generator, face: int) -> int | None:
        """One of the faces in like pose, or None if there is none.

        Of up to four drawn at random, the one whose affect differs most.

        Args:
            random: The sample's own generator.
            face: Of N.
        """
        yaw = self._pose[face, 0]
        first, end = np.searchsorted(self._yaw, (yaw - DEGREES, yaw + DEGREES), side="left")
        some = self._order[random.integers(first, max(end, first + 1), _TRIES)]
        found = self._like(np.unique(some), face)
        if len(found) < min(_CHOICE, end - first):
            found = self._like(self._order[first:end], face)
        if not len(found):
            return None
        few = random.permutation(found)[:_CHOICE]
        if not self._codes.shape[1]:
            return int(few[0])
        apart = np.square(self._codes[few] - self._codes[face]).sum(axis=1)
        return int(few[apart.argmax()])

    def _like(self, faces: NDArray[np.int64], face: int) -> NDArray[np.int64]:
        pose = np.abs(self._pose[faces] - self._pose[face]).max(axis=1) <= DEGREES
        moment = (self._source[faces] == self._source[face]) & (
            np.abs(self._frame[faces] - self._frame[face]) < APART
        )
        like: NDArray[np.int64] = faces[pose & ~moment]
        return like
