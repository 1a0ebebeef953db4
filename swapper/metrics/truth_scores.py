"""Scores of a comparison with the ground truth, by unit and by emotion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.files import without_nan
from swapper.metrics.clip_truth import GroundTruth
from swapper.metrics.image_quality import psnr
from swapper.metrics.traces import Calibration, gain_and_correlation, pooled_gain

AREAS: Final = ("face", "eyes", "brows", "mouth")
"""Areas of the aligned face for pixel errors."""
_MIN_WEIGHT: Final = 0.5
"""Weight from which a frame counts as an emotion rather than a transition."""
_MIN_REST_FRAMES: Final = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Raw measurements, before calibration and averaging.

    Attributes:
        square: (T, 2) mean square error inside the answer's face mask and of the whole frame.
        overlap: (T,) intersection over union of blend mask and face mask; NaN if none was given.
        opacity: (T,) mean of the blend mask where it covers the face; NaN likewise.
        areas: (T, 4) mean absolute error of the aligned, tone-fitted face and its regions, in grey
            levels; columns are `AREAS`.
        sharpness: (T,) gradient energy of the aligned face, as a share of the answer's.
        landmarks: (T,) error over the distance of the eyes, NaN where none were read.
        readings: (T, U) of the swap.
        answer_readings: (T, U) of the answer.
    """

    square: Floats
    overlap: Floats
    opacity: Floats
    areas: Floats
    sharpness: Floats
    landmarks: Floats
    readings: Floats
    answer_readings: Floats


@dataclass(frozen=True)
class UnitScore:
    """Agreement of one action unit, see `metrics.traces.gain_and_correlation`."""

    gain: float
    correlation: float


@dataclass(frozen=True)
class EmotionScore:
    """Scores over the frames of one emotion.

    Attributes:
        frames: Number of frames.
        unseen: Whether the identity's footage lacks it.
        gain: Pooled over all readable units; NaN for neutral.
        units_error: Mean absolute error of intensities.
        areas: Mean absolute error by area, in grey levels.
    """

    frames: int
    unseen: bool
    gain: float
    units_error: float
    areas: Mapping[str, float]


@dataclass(frozen=True)
class ClipScore:
    """Scores of a clip against its ground truth; NaN where undetermined.

    Attributes:
        frames: Number of frames.
        psnr_face: In dB, inside the answer's face mask.
        psnr_frame: In dB, of the whole frame.
        mask_iou: Mean overlap of blend mask and face mask.
        opacity: Mean of the blend mask on the face; at 1 the performer's own face is invisible.
        areas: Mean absolute error of the aligned, tone-fitted face and its regions, grey levels.
        gradient_energy: Sharpness of the aligned face as a share of the truth's.
        landmark_error: Mean distance over that of the eyes' outer corners.
        units_error: Mean absolute error of calibrated intensities, over readable units.
        gain, correlation: Means over the readable units that move.
        units: By unit, of those.
        emotions: By emotion.
    """

    frames: int
    psnr_face: float
    psnr_frame: float
    mask_iou: float
    opacity: float
    areas: Mapping[str, float]
    gradient_energy: float
    landmark_error: float
    units_error: float
    gain: float
    correlation: float
    units: Mapping[str, UnitScore] = field(default_factory=dict)
    emotions: Mapping[str, EmotionScore] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; None stands for NaN."""
        return dict(without_nan(asdict(self)))


def score(
    comparison: Comparison,
    answer: GroundTruth,
    calibration: Calibration,
    unseen: Sequence[str] = (),
) -> ClipScore:
    """Compute the scores of a comparison.

    Args:
        comparison: Of a swap with `answer`.
        answer: The ground truth.
        calibration: Of the instrument, on pictures with known truth.
        unseen: Emotions that the identity's footage lacks.
    """
    emotion = _dominant_emotion(answer)
    resting = emotion == answer.emotion_names.index("neutral")
    read, truth = calibration.apply(comparison.readings), answer.units
    gain, correlation = gain_and_correlation(read, truth)
    measurable = np.isfinite(gain)
    deviations, expected = (
        _deviation_from_rest(each[:, measurable], resting) for each in (read, truth)
    )
    emotions = {}
    for e, name in enumerate(answer.emotion_names):
        at = emotion == e
        if at.any():
            emotions[name] = EmotionScore(
                frames=int(at.sum()),
                unseen=name in unseen,
                gain=math.nan if name == "neutral" else pooled_gain(deviations[at], expected[at]),
                units_error=_mean(np.abs(read - truth)[at]),
                areas=_by_area(comparison.areas[at]),
            )
    return ClipScore(
        frames=len(truth),
        psnr_face=psnr(_mean(comparison.square[:, 0])),
        psnr_frame=psnr(_mean(comparison.square[:, 1])),
        mask_iou=_mean(comparison.overlap),
        opacity=_mean(comparison.opacity),
        areas=_by_area(comparison.areas),
        gradient_energy=_mean(comparison.sharpness),
        landmark_error=_mean(comparison.landmarks),
        units_error=_mean(np.abs(read - truth)),
        gain=_mean(gain[measurable]),
        correlation=_mean(correlation[measurable]),
        units={
            name: UnitScore(float(gain[u]), float(correlation[u]))
            for u, name in enumerate(answer.unit_names)
            if measurable[u]
        },
        emotions=emotions,
    )


def _dominant_emotion(answer: GroundTruth) -> NDArray[np.intp]:
    """(T,) index of the emotion, -1 in transitions."""
    strongest = answer.emotions.argmax(axis=1)
    return np.where(answer.emotions.max(axis=1) >= _MIN_WEIGHT, strongest, -1)


def _deviation_from_rest(trace: Floats, resting: NDArray[np.bool_]) -> Floats:
    """Subtract the trace's median at rest, if there are enough frames at rest."""
    return trace - np.median(trace[resting], axis=0) if resting.sum() >= _MIN_REST_FRAMES else trace


def _by_area(errors: Floats) -> dict[str, float]:
    return {name: _mean(errors[:, column]) for column, name in enumerate(AREAS)}


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
