"""Check that landmarks lie on a face, to detect landmarks of another clip."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.masks import eyes_mouth_mask, face_mask

LEAST_DETAIL: Final = 1.35
"""Median over a clip. Four real clips and drawn actors: 1.6 to 2.6, their 1 % quantile 1.5; with
the landmarks of another clip 0.7 to 1.3 (docs/LOG.md, 2026-11-29)."""


def feature_detail(aligned: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
    """Compute the detail of eyes, brows and mouth relative to the rest of the face.

    For an aligned face (S, S, 3) RGB and landmarks (68, 2) in its pixels: the ratio of the mean
    brightness gradients, about 1 if they do not lie on the face.
    """
    size = aligned.shape[0]
    bright = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(bright, (0, 0), size / 128)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    features = eyes_mouth_mask(landmarks, size)
    skin = (face_mask(landmarks, size) > 127) & (features < 20)
    inside = features > 100
    if not (inside.any() and skin.any()):
        return 1.0
    return float(slope[inside].mean() / max(float(slope[skin].mean()), 1e-6))
