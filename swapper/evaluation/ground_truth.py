"""Compare a swap with its ground truth, frame by frame.

The ground truth is the same performance by the identity's own actor, under the same camera and
light. Faces are compared as aligned crops, each by its own landmarks, so that face shape is not
mistaken for expression. Expressions are read by an instrument that took no part in training, and
its readings are calibrated on pictures with known intensities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.faces.aligner import Aligner
from swapper.faces.crop import crop_face
from swapper.faces.geometry import transform_points
from swapper.faces.masks import face_mask, region_masks
from swapper.media.video_reader import Frame, VideoReader
from swapper.metrics.clip_truth import Clip, GroundTruth
from swapper.metrics.image_quality import (
    fit_tone,
    gradient_energy,
    intersection_over_union,
    mean_absolute_error,
    mean_square_error,
    opacity,
)
from swapper.metrics.truth_scores import AREAS, Comparison

CROP: Final = 128
"""Side of the aligned crops that are compared and read."""

Picture = NDArray[np.uint8]
Reader = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps aligned crops (N, S, S, 3) RGB to readings (N, U), one column per unit."""


def compare_with_truth(
    swap: Clip,
    answer: GroundTruth,
    read: Reader,
    *,
    blend_masks: Sequence[NDArray[np.float32]] | None = None,
    make_aligner: Callable[[], Aligner] | None = None,
) -> Comparison:
    """Compare a swap with its ground truth in one pass.

    Args:
        swap: With the performer's landmarks, which placed the swap.
        answer: The same performance, frame by frame.
        read: The expression instrument.
        blend_masks: T masks (H, W) in [0, 1], where the swap was composited.
        make_aligner: Builds an aligner for the landmark error; called once per clip.

    Raises:
        MediaError: A clip cannot be read, or the two differ in size or number of frames.
    """
    rows = []
    ours_read, theirs_read = _BatchedReader(read), _BatchedReader(read)
    with ExitStack() as stack:
        aligners = None
        if make_aligner is not None:
            aligners = [stack.enter_context(closing(make_aligner())) for _ in range(2)]
        for t, (ours, theirs) in enumerate(_paired_frames(swap, answer)):
            crop, _ = crop_face(ours.image, swap.landmarks[t], CROP)
            answer_crop, aligned_from_frame = crop_face(theirs.image, answer.landmarks[t], CROP)
            points = transform_points(aligned_from_frame, answer.landmarks[t])
            ours_read.add(crop)
            theirs_read.add(answer_crop)
            weights = area_weights(points, CROP)
            mask, blend = answer.masks[t], None if blend_masks is None else blend_masks[t]
            rows.append((
                mean_square_error(ours.image, theirs.image, mask),
                mean_square_error(ours.image, theirs.image),
                math.nan if blend is None else intersection_over_union(blend, mask),
                math.nan if blend is None else opacity(blend, mask),
                math.nan if aligners is None else _landmark_error(aligners, ours, theirs),
                gradient_energy(crop, answer_crop, weights["face"]),
                *area_errors(crop, answer_crop, weights).values(),
            ))  # fmt: skip
    table = np.array(rows, dtype=np.float64)
    return Comparison(
        square=table[:, :2],
        overlap=table[:, 2],
        opacity=table[:, 3],
        landmarks=table[:, 4],
        sharpness=table[:, 5],
        areas=table[:, 6:],
        readings=ours_read.finish(),
        answer_readings=theirs_read.finish(),
    )


class _BatchedReader:
    """Runs a reader on crops in batches."""

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
        """Return the readings (T, U) of all crops added."""
        if self._pending:
            self._flush()
        return np.concatenate(self._readings).astype(np.float64)

    def _flush(self) -> None:
        self._readings.append(self._read(np.stack(self._pending)))
        self._pending.clear()


def _paired_frames(swap: Clip, answer: Clip) -> Iterator[tuple[Frame, Frame]]:
    """Yield the frames of both clips in pairs; a MediaError if they differ in size or number."""
    ours, theirs = VideoReader(swap.video), VideoReader(answer.video)
    sizes = [(each.info.width, each.info.height) for each in (ours, theirs)]
    if sizes[0] != sizes[1]:
        raise MediaError(
            f"{swap.video}: is {sizes[0]} pixels but {answer.video} is {sizes[1]}; "
            "convert that clip"
        )
    frames, answer_frames = iter(ours), iter(theirs)
    count = 0
    for count, frame in enumerate(frames, 1):
        answer_frame = next(answer_frames, None)
        if answer_frame is None or count > len(answer.landmarks):
            raise MediaError(f"{swap.video}: is longer than {answer.video}; convert that clip")
        yield frame, answer_frame
    if next(answer_frames, None) is not None or not count == len(answer.landmarks) == len(
        swap.landmarks
    ):
        raise MediaError(
            f"{swap.video}: has {count} frames but {answer.video} has {len(answer.landmarks)}; "
            "convert that clip"
        )


def area_weights(points: NDArray[np.float32], size: int) -> dict[str, NDArray[np.float32]]:
    """Return masks (size, size) in [0, 1] of `AREAS`; points (68, 2) in pixels of the crop."""
    regions = {str(name): mask for name, mask in region_masks(points, size).items()}
    masks = {"face": face_mask(points, size), **regions}
    return {name: masks[name].astype(np.float32) / np.float32(255) for name in AREAS}


def area_errors(
    crop: Picture, answer: Picture, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Return mean absolute differences in `AREAS`, in grey levels, after fitting the tone.

    Both crops are aligned, (S, S, 3); `weights` are of `area_weights`.
    """
    toned = fit_tone(np.ascontiguousarray(crop), answer, weights["face"])
    return {name: float(mean_absolute_error(toned, answer, weights[name])) for name in AREAS}


def _landmark_error(aligners: Sequence[Aligner], ours: Frame, theirs: Frame) -> float:
    swap_faces, answer_faces = aligners[0](ours), aligners[1](theirs)
    if not swap_faces or not answer_faces:
        return math.nan
    points, truth = swap_faces[0].landmarks, answer_faces[0].landmarks
    eyes = float(np.linalg.norm(truth[36] - truth[45]))
    return float(np.linalg.norm(points - truth, axis=1).mean() / max(eyes, 1e-6))
