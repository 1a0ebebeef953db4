"""Compositing of a swapped face into its frame: blend mask and blending."""

from __future__ import annotations

import math
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import compose, invert, transform_points, warp

Frames = TypeVar("Frames", NDArray[np.uint8], NDArray[np.float32])


def composite(
    frame: Frames,
    swap: NDArray[np.float32],
    blend_mask: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
) -> tuple[Frames, NDArray[np.bool_]]:
    """Blend an aligned face into its frame.

    Computes only the mask's bounding box. Where the mask is zero the frame's pixels are unchanged.

    Args:
        frame: (H, W, 3) RGB, uint8, or float32 in [0, 255] for more depth; not changed.
        swap: (S, S, 3) RGB in [0, 1].
        blend_mask: (S, S) in [0, 1], 1 = swap.
        aligned_from_frame: (2, 3).

    Returns:
        The new frame, alike, and (H, W) True where a pixel differs from the input.

    Raises:
        ValueError: Shapes do not fit, the transform is singular, or swap or mask is not finite.
    """
    size = swap.shape[0]
    if swap.shape != (size, size, 3) or blend_mask.shape != (size, size):
        raise ValueError(f"swap {swap.shape} and mask {blend_mask.shape} must be square and fit")
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frame must be (H, W, 3), got {frame.shape}")
    if not (np.isfinite(swap).all() and np.isfinite(blend_mask).all()):
        raise ValueError("swap and mask must be finite")
    picture = frame.copy()
    changed = np.zeros(frame.shape[:2], dtype=np.bool_)
    placed = _place(blend_mask, aligned_from_frame, (frame.shape[1], frame.shape[0]))
    if placed is None:
        return picture, changed
    box, box_from_aligned, mask = placed
    clipped = np.clip(swap, 0.0, 1.0).astype(np.float32, copy=False)
    warped = warp(clipped, box_from_aligned, mask.shape[::-1])
    window = picture[box]
    old = window.astype(np.float32)
    blended = old + mask[..., None] * (np.clip(warped, 0.0, 1.0) * 255.0 - old)
    new = blended if frame.dtype == np.float32 else np.rint(blended).astype(np.uint8)
    differs = new != window
    # Several times faster than any() along an axis of three.
    changed[box] = differs[..., 0] | differs[..., 1] | differs[..., 2]
    window[...] = new
    return picture, changed


def mask_in_frame(
    blend_mask: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
    frame_size: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the weight of the swap in each pixel of the frame, (H, W) float32, as in `composite`.

    `frame_size` is its width and height; arguments and errors otherwise as `composite`.
    """
    width, height = frame_size
    frame_mask = np.zeros((height, width), np.float32)
    placed = _place(blend_mask, aligned_from_frame, frame_size)
    if placed is not None:
        box, _, mask = placed
        frame_mask[box] = mask
    return frame_mask


def _place(
    blend_mask: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
    frame_size: tuple[int, int],
) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float32]] | None:
    """Place the mask in the frame; None if it is empty there.

    Returns:
        Its bounding box, rows and columns; box_from_aligned, (2, 3); and the mask in the box.
    """
    frame_from_aligned = invert(aligned_from_frame)
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
    to_box = compose(np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]), frame_from_aligned)
    weight = np.clip(blend_mask, 0.0, 1.0).astype(np.float32, copy=False)
    extent = right - left, bottom - top
    mask = warp(weight, to_box, extent, border="zero", interpolation="linear")
    return (slice(top, bottom), slice(left, right)), to_box, mask


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
    return np.asarray(np.clip(shaped, 0.0, 1.0), np.float32)


def _border_ramp(size: int, width: float) -> NDArray[np.float32]:
    """Return (S, S): zero on the border, one from `width` pixels inward, smooth in between."""
    position = np.arange(size, dtype=np.float64)
    inward = np.minimum(position, position[::-1]) / min(width, max((size - 1) / 2.0, 1.0))
    ramp = np.clip(inward, 0.0, 1.0)
    smooth = (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)
    return np.outer(smooth, smooth)
