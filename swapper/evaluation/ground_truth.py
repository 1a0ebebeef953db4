"""A swap held against its exact answer, frame for frame.

The exact answer is the same performance by the identity's own actor, under the same camera and
light. Faces are compared as aligned crops, each by its own landmarks, so that a nose's place is not
taken for an expression. Expressions are read by an instrument that took no part in training, and
what it reads is calibrated on pictures whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.faces.aligner import Aligner
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.faces.masks import REGIONS, face_mask, region_masks
from swapper.media.video import Frame, VideoReader
from swapper.metrics.clip_truth import Clip, GroundTruth
from swapper.metrics.image_quality import (
    fit_tone,
    intersection_over_union,
    mean_absolute_error,
    mean_square_error,
    opacity,
)
from swapper.metrics.truth_scores import Comparison

CROP: Final = 128
"""Side of the aligned crops that are compared and read."""

Picture = NDArray[np.uint8]
Reader = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Aligned crops (N, S, S, 3) RGB to readings (N, U), one column a unit."""


def compare_with_truth(
    swap: Clip,
    answer: GroundTruth,
    read: Reader,
    *,
    blend_masks: Sequence[NDArray[np.float32]] | None = None,
    make_aligner: Callable[[], Aligner] | None = None,
) -> Comparison:
    """Look at a swap and its answer side by side, once, front to back.

    Args:
        swap: With the performer's landmarks, by which it was laid.
        answer: Frame for frame the same performance.
        read: The instrument for expressions.
        blend_masks: T masks (H, W) in [0, 1], where the swap was laid.
        make_aligner: Of an instrument for landmarks; called once for either clip.

    Raises:
        MediaError: A clip cannot be read, or the two differ in size or number of frames.
    """
    rows = []
    ours_read, theirs_read = _BatchedReader(read), _BatchedReader(read)
    with ExitStack() as stack:
        find = None
        if make_aligner is not None:
            find = make_aligner(), make_aligner()
            stack.callback(find[0].close)
            stack.callback(find[1].close)
        for t, (ours, theirs) in enumerate(_paired_frames(swap, answer)):
            crop, other = (
                _crop(ours.image, swap.landmarks[t]),
                _crop(theirs.image, answer.landmarks[t]),
            )
            ours_read.add(crop)
            theirs_read.add(other)
            mask, blend = answer.masks[t], None if blend_masks is None else blend_masks[t]
            rows.append((
                mean_square_error(ours.image, theirs.image, mask),
                mean_square_error(ours.image, theirs.image),
                math.nan if blend is None else intersection_over_union(blend, mask),
                math.nan if blend is None else opacity(blend, mask),
                math.nan if find is None else _landmark_error(*find, ours, theirs),
                *_area_errors(crop, other, answer.landmarks[t]),
            ))  # fmt: skip
    table = np.array(rows, dtype=np.float64)
    return Comparison(
        square=table[:, :2],
        overlap=table[:, 2],
        opacity=table[:, 3],
        landmarks=table[:, 4],
        areas=table[:, 5:],
        readings=ours_read.finish(),
        answer_readings=theirs_read.finish(),
    )


class _BatchedReader:
    """Hands crops to a reader some at a time."""

    def __init__(self, read: Reader, size: int = 32) -> None:
        self._read = read
        self._size = size
        self._pending: list[Picture] = []
        self._readings: list[NDArray[np.float32]] = []

    def add(self, crop: Picture) -> None:
        self._pending.append(crop)
        if len(self._pending) == self._size:
            self._flush()

    def finish(self) -> NDArray[np.float64]:
        """(T, U) of everything added."""
        if self._pending:
            self._flush()
        return np.concatenate(self._readings).astype(np.float64)

    def _flush(self) -> None:
        self._readings.append(self._read(np.stack(self._pending)))
        self._pending.clear()


def _paired_frames(swap: Clip, answer: Clip) -> Iterator[tuple[Frame, Frame]]:
    """The frames of both clips, in step."""
    ours, theirs = VideoReader(swap.video), VideoReader(answer.video)
    sizes = [(each.info.width, each.info.height) for each in (ours, theirs)]
    if sizes[0] != sizes[1]:
        raise MediaError(f"{swap.video}: is {sizes[0]} pixels but {answer.video} is {sizes[1]}")
    frames, others = iter(ours), iter(theirs)
    count = 0
    for count, frame in enumerate(frames, 1):
        other = next(others, None)
        if other is None or count > len(answer.landmarks):
            raise MediaError(f"{swap.video}: is longer than {answer.video}; convert that very clip")
        yield frame, other
    if next(others, None) is not None or not count == len(answer.landmarks) == len(swap.landmarks):
        raise MediaError(
            f"{swap.video}: has {count} frames but {answer.video} has {len(answer.landmarks)}; "
            "convert that very clip"
        )


def _crop(image: Picture, landmarks: NDArray[np.float32]) -> Picture:
    return warp(image, similarity_from_landmarks(landmarks, CROP, "face"), CROP)


def _area_errors(
    swap: Picture, answer: Picture, landmarks: NDArray[np.float32]
) -> tuple[float, ...]:
    """Errors of `AREAS` between two aligned crops, with the answer's landmarks in its frame."""
    aligned_from_frame = similarity_from_landmarks(landmarks, CROP, "face")
    points = transform_points(aligned_from_frame, landmarks)
    regions = region_masks(points, CROP)
    drawn = [face_mask(points, CROP), *(regions[name] for name in REGIONS)]
    weights = [mask.astype(np.float32) / np.float32(255) for mask in drawn]
    toned = fit_tone(swap, answer, weights[0])
    return tuple(mean_absolute_error(toned, answer, weight) for weight in weights)


def _landmark_error(of_swap: Aligner, of_answer: Aligner, ours: Frame, theirs: Frame) -> float:
    found, wanted = of_swap(ours), of_answer(theirs)
    if not found or not wanted:
        return math.nan
    points, truth = found[0].landmarks, wanted[0].landmarks
    eyes = float(np.linalg.norm(truth[36] - truth[45]))
    return float(np.linalg.norm(points - truth, axis=1).mean() / max(eyes, 1e-6))
