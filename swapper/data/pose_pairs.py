"""Draw another face of the same identity in similar pose, as a sample's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.data.near_duplicates import MIN_FRAME_GAP, FootageIndex

DEGREES = 8.0
"""Largest difference in yaw and in pitch; alignment removes roll."""
_TRIES = 32
_CHOICE = 4


class PosePairs:
    """Draws faces in similar pose that are not near in time.

    Only a sorted list is stored, so memory is linear in the number of faces.

    Args:
        footage: Of N faces.
        codes: (N, K) affect codes; K may be 0.
    """

    def __init__(self, footage: FootageIndex, codes: NDArray[np.float32]) -> None:
        self._order = np.argsort(footage.pose[:, 0], kind="stable")
        self._yaw = footage.pose[self._order, 0]
        self._footage, self._codes = footage, codes

    def draw_partner(self, random: np.random.Generator, face: int) -> int | None:
        """Draw another of the N faces in similar pose; None if there is none.

        Of up to four random candidates, the one whose affect differs most.
        """
        yaw = self._footage.pose[face, 0]
        first, end = np.searchsorted(self._yaw, (yaw - DEGREES, yaw + DEGREES), side="left")
        sampled = self._order[random.integers(first, max(end, first + 1), _TRIES)]
        matches = self._in_like_pose(np.unique(sampled), face)
        if len(matches) < min(_CHOICE, end - first):
            matches = self._in_like_pose(self._order[first:end], face)
        if not len(matches):
            return None
        candidates = random.permutation(matches)[:_CHOICE]
        if not self._codes.shape[1]:
            return int(candidates[0])
        difference = np.square(self._codes[candidates] - self._codes[face]).sum(axis=1)
        return int(candidates[difference.argmax()])

    def _in_like_pose(self, faces: NDArray[np.int64], face: int) -> NDArray[np.int64]:
        pose, source, frame = self._footage.pose, self._footage.source, self._footage.frame
        alike = np.abs(pose[faces] - pose[face]).max(axis=1) <= DEGREES
        too_close = np.abs(frame[faces] - frame[face]) < MIN_FRAME_GAP
        too_close &= source[faces] == source[face]
        matches: NDArray[np.int64] = faces[alike & ~too_close]
        return matches
