"""The frames of a swap and its performer together: moments to look at, steadiness, the truth."""

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
from swapper.evaluation.clip_readings import CROP, ClipReadings, aligned_crop
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.faces.masks import REGIONS, face_mask, region_masks
from swapper.media.video import Frame, VideoReader
from swapper.metrics.image_quality import (
    fit_tone,
    mean_absolute_error,
    mean_square_error,
    psnr,
    ssim,
)
from swapper.metrics.temporal import Steadiness, SteadinessMeter
from swapper.report.content import Group, KeyFrame, Measure

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

_JPEG_QUALITY: Final = 85
_MIN_GAP_SECONDS: Final = 0.6
"""Seconds between two moments; their neighbours show the same."""


@dataclass(eq=False)
class FrameComparison:
    """What a pass over both clips gathered.

    Attributes:
        steadiness: See there.
        crops: By frame, JPEGs of performer, swap and, where there is one, the exact answer.
        against_truth: By name, a value a frame.
    """

    steadiness: Steadiness
    crops: dict[int, tuple[bytes, ...]]
    truth_scores: dict[str, list[float]] = field(default_factory=dict)


def compare_frames(
    swap: ClipReadings,
    performer: ClipReadings,
    wanted: Sequence[int],
    truth: ClipReadings | None = None,
) -> FrameComparison:
    """Go through the clips in step.

    Args:
        swap: Read before, as are the others.
        performer: With as many frames.
        wanted: Frames to cut faces out of.
        truth: The exact answer, or None.

    Raises:
        MediaError: A clip has become unreadable.
    """
    meter = SteadinessMeter()
    chosen, crops = set(wanted), {}
    scores: dict[str, list[float]] = {}
    before: tuple[Picture, Picture] | None = None
    clips = [swap, performer, *([] if truth is None else [truth])]
    for index, frames in enumerate(_in_step([each.video for each in clips])):
        landmarks = [each.landmarks[index] for each in clips]
        there = [bool(np.isfinite(each[0, 0])) for each in landmarks]
        ours, theirs = frames[0].image, frames[1].image
        if there[1] and ours.shape == theirs.shape:
            matrix = similarity_from_landmarks(landmarks[1].astype(np.float32), CROP, "face")
            weight = _face_weight(landmarks[1], matrix)
            now = warp(ours, matrix, CROP), warp(theirs, matrix, CROP)
            earlier = None if before is None else tuple(warp(each, matrix, CROP) for each in before)
            meter.update(earlier, now, weight)  # type: ignore[arg-type]  # two of them
            before = ours, theirs
        else:
            before = None
        if index in chosen and all(there):
            shown = (theirs, ours, *(each.image for each in frames[2:]))
            places = (landmarks[1], landmarks[0], *landmarks[2:])
            crops[index] = tuple(
                _jpeg(aligned_crop(image, points))
                for image, points in zip(shown, places, strict=True)
            )
        if truth is not None and there[0] and there[2]:
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
            raise MediaError(f"{names}: are not as long as each other any more") from error


def _face_weight(landmarks: Floats, matrix: Floats) -> NDArray[np.float32]:
    points = transform_points(matrix, landmarks.astype(np.float32))
    return face_mask(points, CROP).astype(np.float32) / np.float32(255)


def _truth_errors(
    swap: Picture, ours: Floats, truth: Picture, theirs: Floats
) -> Iterator[tuple[str, float]]:
    """Errors of a frame against the exact answer, faces aligned and toned."""
    crop, answer = aligned_crop(swap, ours), aligned_crop(truth, theirs)
    matrix = similarity_from_landmarks(theirs.astype(np.float32), CROP, "face")
    points = transform_points(matrix, theirs.astype(np.float32))
    weight = face_mask(points, CROP).astype(np.float32) / np.float32(255)
    toned = fit_tone(crop, answer, weight)
    yield "face_psnr", psnr(mean_square_error(crop, answer, weight))
    yield "face_ssim", ssim(crop, answer, weight)
    yield "face_error", mean_absolute_error(toned, answer, weight)
    regions = region_masks(points, CROP)
    for name in REGIONS:
        area = regions[name].astype(np.float32) / np.float32(255)
        yield f"{name}_error", mean_absolute_error(toned, answer, area)


def _jpeg(crop: Picture) -> bytes:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert done, "a crop in memory can be encoded"
    return data.tobytes()


def truth_group(scores: Mapping[str, Sequence[float]]) -> Group:
    """Means of what `compare_frames` found against the exact answer."""
    titles = {"face_psnr": "PSNR of the face", "face_ssim": "SSIM of the face"}
    titles |= {f"{name}_error": f"Error of the {name}" for name in ("face", *REGIONS)}
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
        "Picture against the exact answer",
        "aligned faces; errors with the tone fitted",
        tuple(measures),
    )


def steadiness_group(found: Steadiness) -> Group:
    """With the performer's own clip as the best that can be."""
    why_not = "" if np.isfinite(found.warping) else "too few frames with faces follow each other"
    return Group(
        "Steadiness",
        "optical flow of the performer (DIS)",
        (
            Measure(
                "warping_error", "Temporal warping error", found.warping, np.nan,
                found.performer_warping, "lower", "grey levels", why_not,
            ),
            Measure(
                "flicker", "Flicker of the face's brightness", found.flicker, np.nan,
                found.performer_flicker, "lower", "grey levels", why_not,
            ),
        ),
    )  # fmt: skip


def peak_frames(strength: Floats, count: int, fps: float) -> list[int]:
    """Frames where a trace (T,) is highest, at least 0.6 s apart, highest first."""
    apart = max(1, round(_MIN_GAP_SECONDS * fps))
    left = np.where(np.isfinite(strength), strength, -np.inf)
    found: list[int] = []
    while len(found) < count and np.isfinite(left).any():
        place = int(left.argmax())
        found.append(place)
        left[max(0, place - apart) : place + apart + 1] = -np.inf
    return found


def key_frames(
    frames: Sequence[int], words: Mapping[int, str], looked: FrameComparison, seconds: Floats
) -> tuple[KeyFrame, ...]:
    """Those of `frames` whose faces were cut out."""
    return tuple(
        KeyFrame(frame, float(seconds[frame]), words[frame], *looked.crops[frame])
        for frame in frames
        if frame in looked.crops
    )
