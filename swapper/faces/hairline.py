"""Find hair and background of the identity inside the upper part of a swap's mask.

The hull of landmarks covers the forehead, but hair may fall across it, and the far temple of a
turned head holds hair or background. There the performer's own forehead shows instead.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.masks import region_masks

# Cheeks between lower lid, nose, corner of the mouth and jaw: skin in every expression.
_CHEEKS: Final = ((41, 40, 39, 31, 48, 3, 2), (46, 47, 42, 35, 54, 13, 14))
_UPPER_LIDS: Final = [37, 38, 43, 44]
_NASION, _NOSE_BASE = 27, 33
# Least spread of skin in CIE Lab: smaller ones are those of a smooth network output.
_LEAST_SPREAD: Final = (5.0, 2.5, 2.5)
# Distances from the cheeks' colour, in spreads, from which a pixel is less and less skin, and none:
# on real clips foreheads lie below 1, hair and background above 2 (docs/LOG.md).
_SKIN: Final = 1.3
_NO_SKIN: Final = 2.3
# Thinner structures, such as rims of glasses, stay; in lengths of the nose.
_THIN: Final = 0.1
_FEWEST_PIXELS: Final = 16
# Brow and eye of each side. Between them lie shadows, and lids which must stay the swap's own.
_SOCKETS: Final = ((*range(17, 22), *range(36, 42)), (*range(22, 27), *range(42, 48)))
_MARGIN: Final = 0.12
# Outer end of the brow and corner of the eye of each side.
_TAILS: Final = ((17, 36), (26, 45))
# Width and half the height of the patch beside a tail that is tested for hair; and how far beyond
# the corner of the eye a brow is kept if there is hair: all in lengths of the nose.
_BESIDE: Final = (0.25, 0.15)
_TAIL: Final = 0.12


def skin_weight(
    picture: NDArray[np.float32],
    landmarks_aligned: NDArray[np.float32],
    keep_features: bool = True,
) -> NDArray[np.float32]:
    """Weight pixels above the eyes by how much their colour is that of the cheeks.

    Args:
        picture: (S, S, 3) RGB in [0, 1], an aligned face.
        landmarks_aligned: (68, 2) in its pixels.
        keep_features: Whether brows and eye sockets count as skin.

    Returns:
        (S, S) float32 in [0, 1]: 1 = skin; 1 everywhere below the eyes.
    """
    size = len(picture)
    points = landmarks_aligned.astype(np.float64)
    lab = cv2.cvtColor(np.clip(picture, 0, 1).astype(np.float32), cv2.COLOR_RGB2LAB)
    skin = lab[_hulls(points, _CHEEKS, size) > 0]
    up = points[_NASION] - points[_NOSE_BASE]
    unit = float(np.linalg.norm(up))
    if len(skin) < _FEWEST_PIXELS or unit < 1:
        return np.ones((size, size), np.float32)
    middle = np.median(skin, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(skin - middle), axis=0), _LEAST_SPREAD)
    distance = np.sqrt((((lab - middle) / spread) ** 2).mean(axis=2)).astype(np.float32)
    distance = cv2.morphologyEx(distance, cv2.MORPH_OPEN, _disc(_THIN * unit / 2))
    distance = cv2.GaussianBlur(distance, (0, 0), size / 64)
    other = np.clip((distance - _SKIN) / (_NO_SKIN - _SKIN), 0, 1)
    y, x = np.indices((size, size))
    height = (np.stack([x, y], axis=-1) - points[_UPPER_LIDS].mean(axis=0)) @ up / unit**2
    above = np.clip((height - 0.05) / 0.1, 0, 1)
    features = np.zeros_like(other)
    if keep_features:
        features = _brows_and_sockets(landmarks_aligned, size, unit)
        features = features * (1 - _beyond_hairy_tails(other, points, up))
    return np.asarray(1 - above * (1 - features) * other, np.float32)


def _brows_and_sockets(
    landmarks_aligned: NDArray[np.float32], size: int, unit: float
) -> NDArray[np.float32]:
    """Return a mask (size, size) in [0, 1] of brows and eye sockets, grown and with soft edges."""
    points = landmarks_aligned.astype(np.float64)
    grown = cv2.dilate(_hulls(points, _SOCKETS, size), _disc(_MARGIN * unit))
    brows = cv2.dilate(region_masks(landmarks_aligned, size)["brows"], _disc(_THIN * unit / 2))
    mask = cv2.GaussianBlur(np.maximum(grown, brows), (0, 0), size / 64)
    return np.asarray(mask / np.float32(255))


def _beyond_hairy_tails(
    other: NDArray[np.float32], points: NDArray[np.float64], up: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (S, S) in [0, 1]: 1 beyond a brow's tail that has no skin beside it.

    On a narrower or turned face the performer's brow ends where the identity has hair, which must
    not be taken for a brow.
    """
    size, unit = len(other), float(np.linalg.norm(up))
    place = np.moveaxis(np.indices((size, size))[::-1], 0, -1)
    beyond = np.zeros((size, size))
    across = points[_TAILS[1][1]] - points[_TAILS[0][1]]
    across *= unit / max(float(np.linalg.norm(across)), 1e-6)
    for (tail, corner), outward in zip(_TAILS, (-across, across), strict=True):
        level = np.abs((place - points[tail]) @ up / unit**2) < _BESIDE[1]
        away = (place - points[tail]) @ outward / unit**2
        patch = level & (away > 0) & (away < _BESIDE[0])
        hairy = float(other[patch].mean()) if patch.any() else 0.0
        lateral = (place - points[corner]) @ outward / unit**2
        beyond = np.maximum(beyond, hairy * np.clip(lateral / _TAIL - 1, 0, 1))
    return beyond


def _hulls(
    points: NDArray[np.float64], shapes: tuple[tuple[int, ...], ...], size: int
) -> NDArray[np.uint8]:
    """Return a mask (size, size) that is 255 inside the hulls of landmarks."""
    mask = np.zeros((size, size), np.uint8)
    for corners in shapes:
        hull = cv2.convexHull(np.rint(points[list(corners)]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 255)
    return mask


def _disc(radius: float) -> NDArray[np.uint8]:
    pixels = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pixels, pixels)), np.uint8)
