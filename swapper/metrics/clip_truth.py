"""Annotated clips: landmarks of one face, and the ground truth of a swap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper.types import NUM_LANDMARKS


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of one face, and its landmarks (T, 68, 2) float32, x y in frame pixels."""

    video: Path
    landmarks: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.landmarks.ndim != 3 or self.landmarks.shape[1:] != (NUM_LANDMARKS, 2):
            raise ValueError(f"landmarks must be (T, 68, 2), got {self.landmarks.shape}")


@dataclass(frozen=True, eq=False)
class GroundTruth(Clip):
    """Ground truth of a swap.

    Attributes:
        masks: T face masks (H, W) float32 in [0, 1].
        units: (T, U) intensities of the face in [0, 1]; the mean of left and right.
        emotions: (T, E) weights that sum to 1.
        unit_names: U names, such as "AU12".
        emotion_names: E names, with "neutral" among them.
    """

    masks: Sequence[NDArray[np.float32]]
    units: NDArray[np.float64]
    emotions: NDArray[np.float64]
    unit_names: tuple[str, ...]
    emotion_names: tuple[str, ...]

    def __post_init__(self) -> None:
        Clip.__post_init__(self)
        frames = len(self.landmarks)
        if self.units.shape != (frames, len(self.unit_names)):
            raise ValueError(f"units must be ({frames}, {len(self.unit_names)})")
        if self.emotions.shape != (frames, len(self.emotion_names)) or len(self.masks) != frames:
            raise ValueError("landmarks, masks, units and emotions must have equal lengths")
