"""Compositing of a swapped face into its frame: masks, colour transfer, blending."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import compose, invert, transform_points, warp

ColourMatch = Literal["none", "lab", "mkl"]
COLOUR_MATCHES: Final[tuple[ColourMatch, ...]] = get_args(ColourMatch)

# Largest gain of the colour transfer: more amplifies noise and gives a pale face's lips and shadows
# unnatural colours (observed on real clips).
_LARGEST_GAIN: Final = 2.0
# Fewest pixels inside the mask for colour statistics.
_FEWEST_PIXELS: Final = 16.0


def composite(
    frame: NDArray[np.uint8],
    swap: NDArray[np.float32],
    blend_mask: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Blend an aligned face into its frame.

    Computes only the mask's bounding box. Where the mask is zero the frame's pixels are unchanged.

    Args:
        frame: (H, W, 3) RGB; not changed.
        swap: (S, S, 3) RGB in [0, 1].
        blend_mask: (S, S) in [0, 1], 1 = swap.
        aligned_from_frame: (2, 3).

    Returns:
        The new frame (H, W, 3), and (H, W) True where a pixel differs from the input.

    Raises:
        ValueError: Shapes do not fit, the transform is singular, or swap or mask is not finite.
    """
    _check_shapes(frame, swap, blend_mask)
    picture = frame.copy()
    changed = np.zeros(frame.shape[:2], dtype=np.bool_)
    frame_from_aligned = invert(aligned_from_frame)
    box = _box(blend_mask, frame_from_aligned, (frame.shape[1], frame.shape[0]))
    if box is None:
        return picture, changed
    left, top, width, height = box
    mask = _mask_in_box(blend_mask, frame_from_aligned, box)
    clipped = np.clip(swap, 0.0, 1.0).astype(np.float32, copy=False)
    warped = warp(clipped, _to_box(frame_from_aligned, box), (width, height))
    window = picture[top : top + height, left : left + width]
    old = window.astype(np.float32)
    blended = old + mask[..., None] * (np.clip(warped, 0.0, 1.0) * 255.0 - old)
    new = np.rint(blended).astype(np.uint8)
    differs = new != window
    # Several times faster than any() along an axis of three.
    differs = differs[..., 0] | differs[..., 1] | differs[..., 2]
    changed[top : top + height, left : left + width] = differs
    window[...] = new
    return picture, changed


def mask_in_frame(
    blend_mask: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
    frame_size: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the weight of the swap in each pixel of the frame, as used by `composite`.

    Args:
        blend_mask: (S, S) in [0, 1], 1 = swap.
        aligned_from_frame: (2, 3).
        frame_size: Width and height of the frame.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        ValueError: The transform is singular.
    """
    width, height = frame_size
    frame_mask = np.zeros((height, width), np.float32)
    frame_from_aligned = invert(aligned_from_frame)
    box = _box(blend_mask, frame_from_aligned, frame_size)
    if box is not None:
        left, top, width, height = box
        frame_mask[top : top + height, left : left + width] = _mask_in_box(
            blend_mask, frame_from_aligned, box
        )
    return frame_mask


def _mask_in_box(
    blend_mask: NDArray[np.float32],
    frame_from_aligned: NDArray[np.float64],
    box: tuple[int, int, int, int],
) -> NDArray[np.float32]:
    weight = np.clip(blend_mask, 0.0, 1.0).astype(np.float32, copy=False)
    to_box = _to_box(frame_from_aligned, box)
    return warp(weight, to_box, (box[2], box[3]), border="zero", interpolation="linear")


def _to_box(
    frame_from_aligned: NDArray[np.float64], box: tuple[int, int, int, int]
) -> NDArray[np.float64]:
    left, top, _, _ = box
    return compose(np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]), frame_from_aligned)


def _check_shapes(
    frame: NDArray[np.uint8], swap: NDArray[np.float32], blend_mask: NDArray[np.float32]
) -> None:
    size = swap.shape[0]
    if swap.shape != (size, size, 3) or blend_mask.shape != (size, size):
        raise ValueError(f"swap {swap.shape} and mask {blend_mask.shape} must be square and fit")
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frame must be (H, W, 3), got {frame.shape}")
    if not (np.isfinite(swap).all() and np.isfinite(blend_mask).all()):
        raise ValueError("swap and mask must be finite")


def _box(
    blend_mask: NDArray[np.float32],
    frame_from_aligned: NDArray[np.float64],
    frame_size: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """Return left, top, width, height of the mask's bounding box in the frame; None if empty."""
    rows, columns = (np.flatnonzero((blend_mask > 0).any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return None
    # Interpolation reaches one pixel past the mask's own.
    x = (columns[0] - 1.0, columns[-1] + 1.0)
    y = (rows[0] - 1.0, rows[-1] + 1.0)
    corners = transform_points(frame_from_aligned, np.array([(a, b) for a in x for b in y]))
    limits = np.array(frame_size, dtype=np.float64)
    # Clipped before conversion to integers: extreme transforms may give infinity.
    low = np.clip(corners.min(axis=0) - 1.0, 0.0, limits)
    high = np.clip(corners.max(axis=0) + 2.0, 0.0, limits)
    left, top = (math.floor(v) for v in low)
    right, bottom = (math.ceil(v) for v in high)
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


def shape_mask(mask: NDArray[np.float32], erode: float, feather: float) -> NDArray[np.float32]:
    """Erode a mask and feather its edge; it is always zero at the crop's border.

    Args:
        mask: (S, S) in [0, 1].
        erode: How far the edge moves inward, in pixels; negative moves it outward.
        feather: Width of the transition in pixels, half of it on either side.

    Returns:
        (S, S) float32 in [0, 1], zero along the border so that no square edge is visible.

    Raises:
        ValueError: The feather is negative or the mask is not square.
    """
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"mask must be (S, S), got {mask.shape}")
    if not feather >= 0:
        raise ValueError(f"feather must be at least 0 pixels, got {feather}")
    size = mask.shape[0]
    shaped = np.clip(mask, 0.0, 1.0).astype(np.float32)
    radius = min(round(abs(erode)), size)
    if radius:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        # Zero border: else a mask cut by the border would not shrink.
        change = cv2.erode if erode > 0 else cv2.dilate
        changed = change(shaped, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
        shaped = np.asarray(changed, dtype=np.float32)
    if feather > 0:
        # A gaussian edge rises from 0 to nearly 1 in four sigma.
        sigma = min(feather / 4.0, float(size))
        blurred = cv2.GaussianBlur(shaped, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        shaped = np.asarray(blurred, dtype=np.float32)
    shaped = shaped * _border_ramp(size, max(feather, 1.0))
    limited: NDArray[np.float32] = np.clip(shaped, 0.0, 1.0).astype(np.float32)
    return limited


def _border_ramp(size: int, width: float) -> NDArray[np.float32]:
    """Return (S, S): zero on the border, one from `width` pixels inward, smooth in between."""
    position = np.arange(size, dtype=np.float64)
    inward = np.minimum(position, position[::-1]) / min(width, max((size - 1) / 2.0, 1.0))
    ramp = np.clip(inward, 0.0, 1.0)
    smooth = (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)
    return np.outer(smooth, smooth)


def match_colour(
    swap: NDArray[np.float32],
    aligned: NDArray[np.uint8] | NDArray[np.float32],
    mask: NDArray[np.float32],
    method: ColourMatch = "lab",
) -> NDArray[np.float32]:
    """Transfer the colour statistics of the replaced face to a swap.

    Statistics are computed inside the mask and applied to the whole crop, which avoids a seam where
    the mask fades.

    Args:
        swap: (S, S, 3) RGB in [0, 1].
        aligned: (S, S, 3) RGB of the frame's face, uint8 or in [0, 1].
        mask: (S, S) in [0, 1], weight of each pixel.
        method: "lab" matches mean and deviation of each Lab channel; "mkl" matches mean and
            covariance in RGB by the linear Monge-Kantorovich map; "none" changes nothing.

    Returns:
        (S, S, 3) float32 in [0, 1]. With an empty mask the swap is unchanged.

    Raises:
        ValueError: Unknown method, or incompatible shapes.

    Source: Reinhard et al. 2001, doi:10.1109/38.946629 (here in CIE Lab); Pitié and Kokaram 2007,
    doi:10.1049/cp:20070055.
    """
    if method not in COLOUR_MATCHES:
        raise ValueError(f"method must be one of {', '.join(COLOUR_MATCHES)}, got {method!r}")
    if swap.shape != aligned.shape or mask.shape != swap.shape[:2]:
        raise ValueError(f"shapes {swap.shape}, {aligned.shape}, {mask.shape} do not fit")
    clipped = np.clip(swap, 0.0, 1.0).astype(np.float32)
    weights = np.clip(mask, 0.0, 1.0).astype(np.float64).ravel()
    if method == "none" or weights.sum() < _FEWEST_PIXELS:
        return clipped
    weights /= weights.sum()
    scale = 1.0 / 255.0 if aligned.dtype == np.uint8 else 1.0
    reference = np.clip(aligned.astype(np.float32) * np.float32(scale), 0.0, 1.0)
    matched = (
        _match_deviations(clipped, reference, weights)
        if method == "lab"
        else _match_covariances(clipped, reference, weights)
    )
    limited: NDArray[np.float32] = np.clip(matched, 0.0, 1.0).astype(np.float32)
    return limited


def _match_deviations(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    lab = np.asarray(cv2.cvtColor(swap, cv2.COLOR_RGB2LAB), dtype=np.float32)
    goal = np.asarray(cv2.cvtColor(reference, cv2.COLOR_RGB2LAB), dtype=np.float32)
    mean, deviation = _moments(lab, weights)
    goal_mean, goal_deviation = _moments(goal, weights)
    gain = np.minimum(goal_deviation / np.maximum(deviation, 1e-3), _LARGEST_GAIN)
    moved = (lab - mean) * gain + goal_mean
    matched = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(matched, dtype=np.float32)


def _moments(
    picture: NDArray[np.float32], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = picture.reshape(-1, 3).astype(np.float64)
    mean = weights @ pixels
    return mean, np.sqrt(weights @ (pixels - mean) ** 2)


def _match_covariances(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    pixels = swap.reshape(-1, 3).astype(np.float64)
    goal = reference.reshape(-1, 3).astype(np.float64)
    mean, goal_mean = weights @ pixels, weights @ goal
    covariance = _covariance(pixels - mean, weights)
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    middle = _power(root @ _covariance(goal - goal_mean, weights) @ root, 0.5)
    gains, axes = np.linalg.eigh(inverse @ middle @ inverse)
    mapping = (axes * np.clip(gains, 0.0, _LARGEST_GAIN)) @ axes.T
    moved = (pixels - mean) @ mapping.T + goal_mean
    return np.asarray(moved.reshape(swap.shape), dtype=np.float32)


def _covariance(centred: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    # The ridge is one grey level, the noise floor.
    ridge = 255.0**-2 * np.eye(3)
    return np.asarray((centred * weights[:, None]).T @ centred + ridge)


def _power(symmetric: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T)
