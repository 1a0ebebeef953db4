"""Frame-by-frame comparison of swap and performer: key frames, steadiness, ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.evaluation.clip_readings import CROP, ClipReadings
from swapper.evaluation.ground_truth import area_errors, area_weights
from swapper.faces.crop import crop_face
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.faces.masks import face_mask
from swapper.media.video_reader import Frame, VideoReader
from swapper.metrics.image_quality import mean_square_error, psnr, ssim
from swapper.metrics.temporal import Steadiness, SteadinessMeter
from swapper.metrics.truth_scores import AREAS
from swapper.report.content import Group, KeyFrame, Measure

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

_JPEG_QUALITY: Final = 85
_MIN_GAP_SECONDS: Final = 0.6
"""Least seconds between two key frames; neighbouring frames look alike."""


@dataclass(eq=False)
class FrameComparison:
    """Result of one pass over the clips.

    Attributes:
        steadiness: Temporal consistency of swap and performer.
        crops: By frame, JPEGs of performer, swap and, if given, the ground truth.
        truth_scores: By name, a value per frame.
    """

    steadiness: Steadiness
    crops: dict[int, tuple[bytes, ...]]
    truth_scores: dict[str, list[float]] = field(default_factory=dict)


def compare_frames(
    swap: ClipReadings,
    performer: ClipReadings,
    frame_indices: Sequence[int],
    truth: ClipReadings | None = None,
) -> FrameComparison:
    """Compare clips of equal length frame by frame; crop faces from `frame_indices`.

    Raises:
        MediaError: A clip can no longer be read.
    """
    meter = SteadinessMeter()
    chosen, crops = set(frame_indices), {}
    scores: dict[str, list[float]] = {}
    before: tuple[Picture, Picture] | None = None
    clips = [swap, performer, *([] if truth is None else [truth])]
    for index, frames in enumerate(_in_step([each.video for each in clips])):
        landmarks = [each.landmarks[index] for each in clips]
        has_face = [bool(np.isfinite(each[0, 0])) for each in landmarks]
        ours, theirs = frames[0].image, frames[1].image
        if has_face[1] and ours.shape == theirs.shape:
            matrix = similarity_from_landmarks(landmarks[1].astype(np.float32), CROP, "face")
            weight = _face_weight(landmarks[1], matrix)
            current = warp(ours, matrix, CROP), warp(theirs, matrix, CROP)
            earlier = None if before is None else tuple(warp(each, matrix, CROP) for each in before)
            meter.update(earlier, current, weight)  # type: ignore[arg-type]  # two of them
            before = ours, theirs
        else:
            before = None
        if index in chosen and all(has_face):
            crops[index] = tuple(
                _jpeg(crop_face(frames[clip].image, landmarks[clip], CROP)[0])
                for clip in (1, 0, 2)[: len(clips)]
            )
        if truth is not None and has_face[0] and has_face[2]:
            for name, value in _truth_errors(ours, landmarks[0], frames[2].image, landmarks[2]):
                scores.setdefault(name, []).append(value)
    return FrameComparison(meter.compute(), crops, scores)


def _in_step(videos: Sequence[Path]) -> Iterator[tuple[Frame, ...]]:
    with ExitStack() as stack:
        readers = [stack.enter_context(VideoReader(each)) for each in videos]
        try:
            yield from zip(*readers, strict=True)
        except ValueError as error:
            names = ", ".join(str(each) for each in videos)
            raise MediaError(f"{names}: no longer have equal lengths") from error


def _face_weight(landmarks: Floats, matrix: Floats) -> NDArray[np.float32]:
    points = transform_points(matrix, landmarks.astype(np.float32))
    return face_mask(points, CROP).astype(np.float32) / np.float32(255)


def _truth_errors(
    swap: Picture, ours: Floats, truth: Picture, theirs: Floats
) -> Iterator[tuple[str, float]]:
    """Yield errors of a frame against the ground truth, on aligned faces with the tone fitted."""
    crop, _ = crop_face(swap, ours, CROP)
    answer, matrix = crop_face(truth, theirs, CROP)
    weights = area_weights(transform_points(matrix, theirs.astype(np.float32)), CROP)
    yield "face_psnr", psnr(mean_square_error(crop, answer, weights["face"]))
    yield "face_ssim", ssim(crop, answer, weights["face"])
    for name, error in area_errors(crop, answer, weights).items():
        yield f"{name}_error", error


def _jpeg(crop: Picture) -> bytes:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert encoded, "a crop in memory can be encoded"
    return data.tobytes()


def truth_group(scores: Mapping[str, Sequence[float]]) -> Group:
    """Means of `FrameComparison.truth_scores`."""
    titles = {"face_psnr": "PSNR of the face", "face_ssim": "SSIM of the face"}
    titles |= {f"{name}_error": f"Error of the {name}" for name in AREAS}
    units = {"face_psnr": "dB", "face_ssim": ""}
    measures = [
        Measure(
            name,
            title,
            float(np.nanmean(scores[name])) if np.isfinite(scores[name]).any() else float("nan"),
            better="higher" if name in units else "lower",
            unit=units.get(name, "grey levels"),
        )
        for name, title in titles.items()
        if name in scores
    ]
    return Group(
        "Image error against the ground truth",
        "aligned faces; errors after fitting the tone",
        tuple(measures),
    )


def steadiness_group(steadiness: Steadiness) -> Group:
    """Temporal consistency; the performer's own clip is the ceiling."""
    why_not = "" if np.isfinite(steadiness.warping) else "too few consecutive frames with faces"
    return Group(
        "Temporal consistency",
        "optical flow of the performer (DIS)",
        (
            Measure(
                "warping_error", "Temporal warping error", steadiness.warping, np.nan,
                steadiness.performer_warping, "lower", "grey levels", why_not,
            ),
            Measure(
                "flicker", "Flicker of the face's brightness", steadiness.flicker, np.nan,
                steadiness.performer_flicker, "lower", "grey levels", why_not,
            ),
        ),
    )  # fmt: skip


def peak_frames(strength: Floats, count: int, fps: float) -> list[int]:
    """Return up to `count` frames where a trace (T,) peaks, at least 0.6 s apart, highest first."""
    gap = max(1, round(_MIN_GAP_SECONDS * fps))
    remaining = np.where(np.isfinite(strength), strength, -np.inf)
    peaks: list[int] = []
    while len(peaks) < count and np.isfinite(remaining).any():
        peak = int(remaining.argmax())
        peaks.append(peak)
        remaining[max(0, peak - gap) : peak + gap + 1] = -np.inf
    return peaks


def key_frames(
    frames: Sequence[int], captions: Mapping[int, str], comparison: FrameComparison, seconds: Floats
) -> tuple[KeyFrame, ...]:
    """Return the key frames among `frames` that have crops."""
    return tuple(
        KeyFrame(frame, float(seconds[frame]), captions[frame], *comparison.crops[frame])
        for frame in frames
        if frame in comparison.crops
    )
