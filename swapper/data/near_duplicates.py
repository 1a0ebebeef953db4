"""Relations between faces of one identity: near-duplicates and next frames.

A faceset stores frame numbers but no frame rate, so seconds are counted as 30 frames; in slower
footage they are a little longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import transform_points
from swapper.types import FaceRecord

MIN_FRAME_GAP = 15
"""Frames: half a second. Closer faces of one file are not independent of each other."""
_NEXT = 3  # frames: a tenth of a second
# Median differences in real and drawn clips: from one frame to the next .4 % to 1.4 % of the eyes'
# distance and .6 degrees, over half a second 4 % to 8 % and 4 to 7 degrees. A blink is about 4 %.
_MAX_SHAPE_DIFFERENCE = 0.025
_MAX_POSE_DIFFERENCE = 3.0
# Codes have unit variance along each dimension.
_MAX_CODE_DIFFERENCE = 0.5
_MAX_STEP = 0.5  # of the face's own size
_MAX_ZOOM = 1.25

_INNER = slice(17, 68)
_EYES = slice(36, 42), slice(42, 48)


@dataclass(frozen=True, slots=True, eq=False)
class FootageIndex:
    """Source, frame, pose and shape of some faces of one identity.

    Attributes:
        source: (N,) int64, number of the file.
        frame: (N,) int64, frame in it.
        pose: (N, 2) float64, yaw and pitch in degrees.
        shape: (N, 51, 2) float32, brows, eyes, nose and mouth in the aligned picture, in units of
            the median distance of the eyes there.
        centre: (N, 2) float64, of the face in its frame, in pixels.
        side: (N,) float64, square root of its area there.
        order: (N,) int64, indices that sort them by file and frame.
    """

    source: NDArray[np.int64]
    frame: NDArray[np.int64]
    pose: NDArray[np.float64]
    shape: NDArray[np.float32]
    centre: NDArray[np.float64]
    side: NDArray[np.float64]
    order: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def of(cls, records: Sequence[FaceRecord]) -> FootageIndex:
        """Of the faces of `records`, at least one, in their order."""
        numbers = {name: at for at, name in enumerate(sorted({each.source for each in records}))}
        source = np.array([numbers[each.source] for each in records], np.int64)
        frame = np.array([each.frame_index for each in records], np.int64)
        aligned = np.stack(
            [transform_points(each.aligned_from_frame, each.landmarks) for each in records]
        ).astype(np.float32)
        left, right = (aligned[:, eye].mean(axis=1) for eye in _EYES)
        unit = float(np.median(np.linalg.norm(left - right, axis=1)))
        landmarks = np.stack([each.landmarks for each in records]).astype(np.float64)
        spread = landmarks.max(axis=1) - landmarks.min(axis=1)
        return cls(
            source=source,
            frame=frame,
            pose=np.array([(each.yaw, each.pitch) for each in records], np.float64),
            shape=aligned[:, _INNER] / max(unit, 1e-6),
            centre=landmarks.mean(axis=1),
            side=np.maximum(np.sqrt(spread.prod(axis=1)), 1e-6),
            order=np.lexsort((np.arange(len(records)), frame, source)),
        )


def near_copy_runs(footage: FootageIndex, codes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Group near-duplicate faces into runs.

    A run is a stretch of one file in which each face is less than half a second behind the one
    before and all are similar to the first: in shape (root mean square of 51 landmarks below 2.5 %
    of the eyes' distance), pose (3 degrees) and affect code (half a standard deviation). Compared
    with the first, so that a slow turn does not become one run.

    Args:
        footage: Of N faces.
        codes: (N, K), of unit variance along each dimension; K may be 0.

    Returns:
        (N,) int64, number of each face's run, from 0.
    """
    run = np.zeros(len(footage), np.int64)
    number, first, last = -1, 0, 0
    for face in footage.order.tolist():
        is_copy = (
            number >= 0
            and footage.source[face] == footage.source[last]
            and footage.frame[face] - footage.frame[last] < MIN_FRAME_GAP
            and _alike(footage, codes, face, first)
        )
        if not is_copy:
            number, first = number + 1, face
        run[face], last = number, face
    return run


def _alike(footage: FootageIndex, codes: NDArray[np.float32], one: int, other: int) -> bool:
    turned = np.abs(footage.pose[one] - footage.pose[other]).max()
    if not turned < _MAX_POSE_DIFFERENCE:
        return False
    moved = footage.shape[one] - footage.shape[other]
    if not np.sqrt(np.square(moved).sum(axis=1).mean()) < _MAX_SHAPE_DIFFERENCE:
        return False
    if not codes.shape[1]:
        return True
    return bool(np.sqrt(np.square(codes[one] - codes[other]).mean()) < _MAX_CODE_DIFFERENCE)


def next_frames(footage: FootageIndex) -> NDArray[np.int64]:
    """Find the same face in the next frame.

    In the same file, later by a tenth of a second at most; a jump of position or size means a cut
    or another head.

    Returns:
        (N,) int64, its index, or -1.
    """
    order, following = footage.order, np.full(len(footage), -1, np.int64)
    # Several faces in one frame stand side by side in the order, so the next frame's may be further
    # than one place on; at most three heads of one person at a time are supported.
    for places in range(1, 2 * _NEXT + 1):
        earlier, later = order[:-places], order[places:]
        gap = footage.frame[later] - footage.frame[earlier]
        size = footage.side[earlier]
        step = np.linalg.norm(footage.centre[later] - footage.centre[earlier], axis=1)
        zoom = np.maximum(footage.side[later], size) / np.minimum(footage.side[later], size)
        is_next = (
            (footage.source[later] == footage.source[earlier])
            & (gap > 0)
            & (gap <= _NEXT)
            & (step < _MAX_STEP * size)
            & (zoom < _MAX_ZOOM)
            & (following[earlier] < 0)
        )
        following[earlier[is_next]] = later[is_next]
    return following
