"""Match the colours of one swapped face and blend it into its frame."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from swapper.faces.brow_cover import cover_brows
from swapper.faces.color_transfer import ColorMatch, match_color
from swapper.faces.compositing import Frames, composite, shape_mask
from swapper.faces.geometry import transform_points
from swapper.faces.hairline import skin_weight
from swapper.faces.masks import eyes_mouth_mask, face_mask
from swapper.options.groups import BlendOptions
from swapper.types import Face

Picture = NDArray[np.uint8]


def paste(
    frame: Frames,
    face: Face,
    aligned_from_frame: NDArray[np.float64],
    aligned: Picture,
    swap: NDArray[np.float32],
    mask: NDArray[np.float32],
    blend: BlendOptions,
) -> tuple[Frames, NDArray[np.bool_], NDArray[np.float32]]:
    """Match the colours of a swapped face and blend it into the frame.

    Args:
        frame: (H, W, 3), uint8, or float32 in [0, 255].
        face: The performer's, which is replaced.
        aligned_from_frame: (2, 3).
        aligned: (S, S, 3), its crop.
        swap: (S, S, 3) in [0, 1].
        mask: (S, S) in [0, 1], predicted with the swap.
        blend: Compositing options.

    Returns:
        The new frame; (H, W) which pixels changed; and the blend mask (S, S), aligned.
    """
    size = len(swap)
    erode, feather = blend.erode * size, blend.feather * size
    landmarks = transform_points(aligned_from_frame, face.landmarks)
    hull = face_mask(landmarks, size).astype(np.float32) / np.float32(255)
    chosen = {"product": mask * hull, "model": mask, "landmarks": hull}[blend.mask]
    blend_mask = shape_mask(chosen, erode, feather)
    # Brows count in full as well: the mask has them at half.
    features = np.minimum(eyes_mouth_mask(landmarks, size) / np.float32(127.5), 1)
    coloured = match_color(swap, aligned, blend_mask, features, cast("ColorMatch", blend.color))
    if blend.exclude_hair:
        blend_mask = shape_mask(chosen * skin_weight(coloured, landmarks), erode, feather)
    if blend.cover_brows:
        coloured, blend_mask = cover_brows(coloured, blend_mask, aligned, landmarks)
    picture, changed = composite(frame, coloured, blend_mask, aligned_from_frame)
    return picture, changed, blend_mask
