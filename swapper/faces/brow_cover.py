"""Cover the performer's brows where a swap's mask leaves them visible.

The swap's face may be narrower than the performer's, most of all where the identity was filmed
turned: the ends of the performer's brows then show beside the swap's own. They are filled with the
skin around them.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.hairline import skin_weight
from swapper.faces.masks import face_mask, region_masks

# Reach of the skin that fills a brow, in lengths of the nose; further skin counts little.
_NEAR: Final = 0.12
_FAR: Final = 0.4
_FAR_WEIGHT: Final = 0.02
# Share of skin this far above a brow from which it is filled at all, and in full: with a fringe
# across it there is no skin to fill it with.
_RISE: Final = 0.25
_SOME_SKIN, _ENOUGH_SKIN = 0.3, 0.6
_LEAST_VISIBLE: Final = 0.02
# Softness of the filled area's edge, in the same unit.
_SOFT: Final = 0.06
_TRACE: Final = 1e-4

Picture = NDArray[np.float32]


def cover_brows(
    swap: Picture,
    blend_mask: NDArray[np.float32],
    aligned: NDArray[np.uint8],
    landmarks_aligned: NDArray[np.float32],
) -> tuple[Picture, NDArray[np.float32]]:
    """Extend a swap over the performer's brows, filled with the skin around them.

    Args:
        swap: (S, S, 3) RGB in [0, 1].
        blend_mask: (S, S) in [0, 1], 1 = swap.
        aligned: (S, S, 3) RGB of the performer's face.
        landmarks_aligned: (68, 2), the performer's, in its pixels.

    Returns:
        Swap and blend mask, unchanged where no brow shows.
    """
    size = len(swap)
    masks = region_masks(landmarks_aligned, size)
    hull, brows, eyes = (
        each.astype(np.float32) / np.float32(255)
        for each in (face_mask(landmarks_aligned, size), masks["brows"], masks["eyes"])
    )
    nose = max(float(np.linalg.norm(landmarks_aligned[27] - landmarks_aligned[33])), 1.0)
    soft = np.asarray(cv2.GaussianBlur(brows, (0, 0), _SOFT * nose), np.float32)
    visible = soft * hull * (1 - eyes) * (1 - blend_mask)
    if visible.max(initial=0) < _LEAST_VISIBLE:
        return swap, blend_mask
    performer = aligned.astype(np.float32) / np.float32(255)
    around = hull * (1 - brows) * (1 - eyes)
    skin = around * skin_weight(performer, landmarks_aligned, keep_features=False)

    def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
        near, far = (cv2.GaussianBlur(values, (0, 0), each * nose) for each in (_NEAR, _FAR))
        return np.asarray(near + np.float32(_FAR_WEIGHT) * far, np.float32)

    seen = blend_mask[..., None] * swap + (1 - blend_mask[..., None]) * performer
    found = spread(skin)
    fill = spread(skin[..., None] * seen) / np.maximum(found, 1e-6)[..., None]
    rise = round(_RISE * nose)
    above = np.pad(found / np.maximum(spread(around), 1e-6), ((rise, 0), (0, 0)))[:size]
    visible = visible * np.clip((above - _SOME_SKIN) / (_ENOUGH_SKIN - _SOME_SKIN), 0, 1)
    covered = blend_mask + visible
    mixed = blend_mask[..., None] * swap + visible[..., None] * fill
    # Just outside it is the fill too: what lies there shines through where the mask's edge is
    # resampled, and of the swap that is often dark hair.
    margin = cv2.GaussianBlur(visible, (0, 0), 2 * _SOFT * nose) > _TRACE
    trace = np.where(margin, _LEAST_VISIBLE, 0)[..., None]
    weight = covered[..., None] + trace
    extended = np.where(weight > _TRACE, (mixed + trace * fill) / np.maximum(weight, _TRACE), swap)
    return extended.astype(np.float32), covered.astype(np.float32)
