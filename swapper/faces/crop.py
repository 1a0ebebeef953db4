"""Cut the aligned crop of a face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import similarity_from_landmarks, warp
from swapper.types import Coverage


def crop_face(
    image: NDArray[np.uint8],
    landmarks: NDArray[np.floating],
    size: int,
    coverage: Coverage = "face",
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut the aligned crop of a face out of a frame (H, W, 3); see `similarity_from_landmarks`.

    Returns:
        The crop (size, size, 3), and aligned_from_frame (2, 3).

    Raises:
        ValueError: The landmarks cannot be aligned.
    """
    points = np.asarray(landmarks, np.float32)
    aligned_from_frame = similarity_from_landmarks(points, size, coverage)
    return warp(image, aligned_from_frame, size), aligned_from_frame
