"""Face tracking and temporal smoothing of crops.

Streaming: memory is bounded by the smoothing radius, not by the clip's length.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.aligner import FrameLike
from swapper.faces.geometry import invert, scale_of, similarity_from_landmarks
from swapper.types import Coverage, Face

T = TypeVar("T")
F = TypeVar("F", bound=FrameLike)

_LEAST_OVERLAP: Final = 0.2
# In widths of the face (root of its area); a head rarely moves further between two frames.
_FURTHEST_MOVE: Final = 0.75
_LARGEST_GROWTH: Final = 2.0
_CUT_THUMBNAIL: Final = (32, 18)
# Mean absolute difference of grey thumbnails, of 255. The largest between neighbouring frames of
# two lively real clips was 7.6, across a cut between them at least 53.
_CUT_DIFFERENCE: Final = 25.0


class Tracker:
    """Assigns track numbers to faces of successive frames.

    A face continues the track whose last box it overlaps most, or else the nearest one of similar
    size. A track without a face for more than `max_gap` frames is dropped.
    """

    def __init__(self, max_gap: int = 5) -> None:
        if max_gap < 0:
            raise ValueError(f"max_gap must be at least 0 frames, got {max_gap}")
        self.max_gap = max_gap
        self._last: dict[int, tuple[Face, int]] = {}  # and for how many frames it was not seen
        self._next = 1

    def reset(self) -> None:
        """Drop all tracks, as at a cut; numbers are not reused."""
        self._last.clear()

    def remembers(self, track: int | None) -> bool:
        """Return whether a track may still be continued."""
        return track in self._last

    def __call__(self, faces: Sequence[Face]) -> list[Face]:
        """Return the next frame's faces in the same order, each with its track (from 1)."""
        pairs = sorted(
            (
                (_match_score(previous.box, face.box), track, i)
                for track, (previous, _) in self._last.items()
                for i, face in enumerate(faces)
            ),
            # The oldest track first where scores are equal.
            key=lambda pair: (-pair[0], pair[1], pair[2]),
        )
        track_of: dict[int, int] = {}
        used_tracks: set[int] = set()
        for score, track, i in pairs:
            if score > 0.0 and track not in used_tracks and i not in track_of:
                track_of[i] = track
                used_tracks.add(track)
        for i in range(len(faces)):
            if i not in track_of:
                track_of[i] = self._next
                self._next += 1
        tracked = [replace(face, track=track_of[i]) for i, face in enumerate(faces)]
        self._last = {
            track: (face, unseen + 1)
            for track, (face, unseen) in self._last.items()
            if unseen < self.max_gap
        } | {face.track: (face, 0) for face in tracked}
        return tracked


def _match_score(
    previous: tuple[float, float, float, float], box: tuple[float, float, float, float]
) -> float:
    """Return 1 + IoU for overlapping boxes, (0, 1] for near boxes, 0 for no match."""
    width = min(previous[2], box[2]) - max(previous[0], box[0])
    height = min(previous[3], box[3]) - max(previous[1], box[1])
    areas = [max((b[2] - b[0]) * (b[3] - b[1]), 1e-6) for b in (previous, box)]
    shared = max(width, 0.0) * max(height, 0.0)
    overlap = shared / (areas[0] + areas[1] - shared)
    if overlap >= _LEAST_OVERLAP:
        return 1.0 + overlap
    growth = math.sqrt(max(areas) / min(areas))
    move = math.hypot(
        (previous[0] + previous[2] - box[0] - box[2]) / 2,
        (previous[1] + previous[3] - box[1] - box[3]) / 2,
    ) / math.sqrt(math.sqrt(areas[0] * areas[1]))
    if growth > _LARGEST_GROWTH or move >= _FURTHEST_MOVE:
        return 0.0
    return 1.0 - move / _FURTHEST_MOVE


class CutDetector:
    """Detects hard cuts by the change of a thumbnail."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def __call__(self, image: NDArray[np.uint8]) -> bool:
        """Return whether this image (H, W, 3) begins another shot than the previous one."""
        small = cv2.resize(image, _CUT_THUMBNAIL, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        last, self._last = self._last, grey
        return last is not None and float(np.abs(grey - last).mean()) > _CUT_DIFFERENCE


class Smoother(Generic[T]):
    """Smooths similarities over time with a fixed delay of `radius` frames.

    A frame's transform is the value, at that frame, of a line fitted to its neighbours up to
    `radius` frames away with gaussian weights (sigma = radius / 2): in the middle of a track this
    is the gaussian mean, and at its ends steady motion is not held back. A track that misses a
    frame is smoothed separately on either side of the gap.

    Push every frame in order, with or without faces; `push` and `finish` return the frames that are
    ready, in the same order. At most `radius` frames are buffered.

    Args:
        radius: Frames before and after; 0 disables smoothing.
        size: Side of the aligned picture in pixels.
    """

    def __init__(self, radius: int, size: int) -> None:
        if radius < 0 or size < 1:
            raise ValueError(f"radius must be >= 0 and size >= 1, got {radius} and {size}")
        self.radius = radius
        self._middle = (size - 1) / 2.0
        self._waiting: deque[tuple[T, Mapping[int, NDArray[np.float64]]]] = deque()
        # Parameters that can be averaged: x and y of the crop's centre, log scale, angle.
        self._poses: deque[dict[int, NDArray[np.float64]]] = deque()

    def push(
        self, item: T, matrices: Mapping[int, NDArray[np.float64]]
    ) -> list[tuple[T, dict[int, NDArray[np.float64]]]]:
        """Add a frame: any `item`, and aligned_from_frame (2, 3) by track.

        Returns:
            The item pushed `radius` frames ago with its smoothed transforms, if there is one.

        Raises:
            ValueError: A transform is singular.
        """
        self._poses.append({track: self._pose(matrix) for track, matrix in matrices.items()})
        self._waiting.append((item, matrices))
        return [self._emit()] if len(self._waiting) > self.radius else []

    def finish(self) -> list[tuple[T, dict[int, NDArray[np.float64]]]]:
        """Return the buffered frames; the smoother may then be used for another clip."""
        remaining = [self._emit() for _ in range(len(self._waiting))]
        self._poses.clear()
        return remaining

    def _emit(self) -> tuple[T, dict[int, NDArray[np.float64]]]:
        now = len(self._poses) - len(self._waiting)
        item, matrices = self._waiting.popleft()
        if self.radius == 0:
            smoothed = {track: matrix.copy() for track, matrix in matrices.items()}
        else:
            smoothed = {track: self._smoothed(track, now) for track in matrices}
        # Keep only poses within `radius` of the next frames.
        if now >= self.radius:
            self._poses.popleft()
        return item, smoothed

    def _pose(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse = invert(matrix)
        x, y = inverse[:, :2] @ (self._middle, self._middle) + inverse[:, 2]
        angle = math.atan2(matrix[1, 0], matrix[0, 0])
        return np.array([x, y, math.log(scale_of(matrix)), angle])

    def _matrix(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        scale, angle = math.exp(pose[2]), pose[3]
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cosine, -sine], [sine, cosine]])
        return np.hstack([linear, (self._middle - linear @ pose[:2])[:, None]])

    def _smoothed(self, track: int, now: int) -> NDArray[np.float64]:
        here = self._poses[now][track]
        first = last = now
        while first > max(now - self.radius, 0) and track in self._poses[first - 1]:
            first -= 1
        end = min(now + self.radius, len(self._poses) - 1)
        while last < end and track in self._poses[last + 1]:
            last += 1
        # Differences to the current pose, so that angles do not wrap.
        values = np.array([self._poses[i][track] for i in range(first, last + 1)]) - here
        values[:, 3] = (values[:, 3] + math.pi) % (2.0 * math.pi) - math.pi
        offsets = np.arange(first - now, last - now + 1, dtype=np.float64)
        return self._matrix(here + _line_at_zero(offsets, values, self.radius / 2.0))


def _line_at_zero(
    offsets: NDArray[np.float64], values: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """Return the gaussian-weighted least-squares line at offset 0; (n,), (n, k) -> (k,)."""
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    middle = float(weights @ offsets)
    mean = weights @ values
    spread = float(weights @ (offsets - middle) ** 2)
    if spread < 1e-12:
        return np.asarray(mean)
    slope = (weights * (offsets - middle)) @ (values - mean) / spread
    return np.asarray(mean - slope * middle)


def smooth_alignments(
    items: Iterable[tuple[F, Sequence[Face]]], radius: int, *, size: int, coverage: Coverage
) -> Iterator[tuple[F, list[tuple[Face, NDArray[np.float64]]]]]:
    """Track and align the faces of a clip with smoothed crops.

    Runs `radius` frames behind its input and buffers no more than that. Tracks end at hard cuts.
    Faces without a valid similarity are dropped.

    Args:
        items: Each frame of one clip, in order, with its faces.
        radius: Radius of the `Smoother` in frames; 0 disables smoothing.
        size: Side of the aligned picture in pixels.
        coverage: How much of the head it shows.

    Yields:
        Each frame with its faces, tracked, and the aligned_from_frame (2, 3) of each.
    """
    tracker, is_cut = Tracker(), CutDetector()
    smoother: Smoother[tuple[F, list[Face]]] = Smoother(radius, size)
    for frame, faces in items:
        if is_cut(frame.image):
            tracker.reset()
        alignable: list[Face] = []
        matrices: dict[int, NDArray[np.float64]] = {}
        for face in tracker(faces):
            try:
                matrices[face.track] = similarity_from_landmarks(face.landmarks, size, coverage)
            except ValueError:
                continue
            alignable.append(face)
        yield from map(_paired, smoother.push((frame, alignable), matrices))
    yield from map(_paired, smoother.finish())


def _paired(
    ready: tuple[tuple[F, list[Face]], dict[int, NDArray[np.float64]]],
) -> tuple[F, list[tuple[Face, NDArray[np.float64]]]]:
    (frame, faces), matrices = ready
    return frame, [(face, matrices[face.track]) for face in faces]
