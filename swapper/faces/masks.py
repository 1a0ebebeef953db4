"""Masks of an aligned face, drawn from its landmarks.

All functions take landmarks (68, 2) in pixels of the aligned picture and its side, and raise a
ValueError if they have another shape or are not finite. Masks are (size, size) uint8, 0 outside,
255 inside, with soft edges.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import checked_shape

Region = Literal["eyes", "brows", "mouth"]
REGIONS: Final[tuple[Region, ...]] = get_args(Region)

# How far above the brows the mask reaches, in lengths of the nose (nasion to its base), from the
# temples to the middle: the hairline lies about one length above, and hair must stay outside.
_FOREHEAD: Final = np.array([0.25, 0.45, 0.55, 0.6, 0.6, 0.6, 0.6, 0.55, 0.45, 0.25])
# How far beyond the brows' ends it reaches at the temples, in the same unit: else the outer ends of
# the performer's brows fall where the mask fades, most of all on the far side of a turned head.
_TEMPLES: Final = np.array([-0.2, -0.12, -0.06, 0.0, 0.0, 0.0, 0.0, 0.06, 0.12, 0.2])
_BROWS: Final = slice(17, 27)
_NASION, _NOSE_BASE = 27, 33
_EYES: Final = (slice(36, 42), slice(42, 48))
_MOUTH: Final = slice(48, 60)
_BROW_LINES: Final = (slice(17, 22), slice(22, 27))
_SUBPIXEL_BITS: Final = 8
_LARGEST_DRAWN: Final = 4096


def face_mask(landmarks_aligned: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Hull of the face from the jaw line to part of forehead and temples, antialiased."""
    points = checked_shape(landmarks_aligned)
    up = points[_NASION] - points[_NOSE_BASE]
    across = points[_BROWS][-1] - points[_BROWS][0]
    across *= np.linalg.norm(up) / max(float(np.linalg.norm(across)), 1e-6)
    brows = points[_BROWS] + _FOREHEAD[:, None] * up + _TEMPLES[:, None] * across
    return _filled([np.concatenate([points, brows])], size)


def eyes_mouth_mask(landmarks_aligned: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Mask of eyes and mouth at full weight (255) and brows at half, with soft edges."""
    points = checked_shape(landmarks_aligned)
    # The nose's length does not change with blinks and smiles, nor do margins based on it.
    unit = float(np.linalg.norm(points[_NASION] - points[_NOSE_BASE]))
    core = _filled([points[part] for part in (*_EYES, _MOUTH)], size)
    core = _grown(core, 0.14 * unit)
    brows = np.zeros((size, size), np.uint8)
    thickness = max(1, round(0.22 * unit))
    for line in _BROW_LINES:
        places = [_fixed_point(points[line], size)]
        width = min(thickness, 255)
        cv2.polylines(brows, places, False, 128, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    both = np.maximum(core, brows)
    sigma = max(0.05 * unit, 0.5)
    return np.asarray(cv2.GaussianBlur(both, (0, 0), min(sigma, size / 8)), dtype=np.uint8)


def region_masks(
    landmarks_aligned: NDArray[np.float32], size: int
) -> dict[Region, NDArray[np.uint8]]:
    """Masks of eyes, brows and mouth with the skin around; they may overlap."""
    points = checked_shape(landmarks_aligned)
    unit = float(np.linalg.norm(points[_NASION] - points[_NOSE_BASE]))
    brows = np.zeros((size, size), np.uint8)
    for line in _BROW_LINES:
        brows = np.maximum(brows, _filled([points[line]], size))
    return {
        "eyes": _grown(_filled([points[part] for part in _EYES], size), 0.14 * unit),
        "brows": _grown(brows, 0.16 * unit),
        "mouth": _grown(_filled([points[_MOUTH]], size), 0.14 * unit),
    }


def brow_zone(landmarks_aligned: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Mask of both brows, what lies between them, and the skin around."""
    points = checked_shape(landmarks_aligned)
    unit = float(np.linalg.norm(points[_NASION] - points[_NOSE_BASE]))
    return _grown(_filled([points[_BROWS]], size), 0.45 * unit)


def _fixed_point(points: NDArray[np.float64], size: int) -> NDArray[np.int32]:
    """Convert points to OpenCV's fixed point; distant points are clipped to fit its integers."""
    bounded = np.clip(points, -8.0 * size, 9.0 * size)
    return np.rint(bounded * 2**_SUBPIXEL_BITS).astype(np.int32)


def _filled(shapes: list[NDArray[np.float64]], size: int) -> NDArray[np.uint8]:
    """Rasterise the convex hulls of the shapes with antialiasing."""
    factor = max(1, min(4, _LARGEST_DRAWN // size))
    canvas = np.zeros((size * factor, size * factor), np.uint8)
    for points in shapes:
        hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)
        enlarged = hull * factor + (factor - 1) / 2.0
        corners = _fixed_point(enlarged, size * factor)
        cv2.fillConvexPoly(canvas, corners, 255, cv2.LINE_8, _SUBPIXEL_BITS)
    if factor == 1:
        return canvas
    averaged = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(averaged, dtype=np.uint8)


def _grown(mask: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    pixels = min(round(radius), mask.shape[0] // 2)
    if pixels < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask, disc), dtype=np.uint8)
