"""Warp a performer's crop so that regions of the face depart more, or less, from neutral.

The network reads the expression off its input, so this reaches the swap of any model, whether it is
conditioned on affect or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.shape import landmarks_of, lift_with_model, origin, pixels_per_unit
from swapper.faces.thin_plate import thin_plate_flow
from swapper.types import MESH_POINTS, NUM_LANDMARKS, Coverage

Floats = NDArray[np.float64]

REGION_LANDMARKS: Final[dict[str, tuple[int, ...]]] = {
    "brows": tuple(range(17, 27)),
    "eyes": tuple(range(36, 48)),
    "lips": tuple(range(48, 68)),
    "jaw": tuple(range(3, 14)),
}
"""The 68 landmarks of each region; none lies on the cheeks."""
# Mesh points on the cheeks, below the lids and beside nose and mouth; the mirrored ones follow.
_CHEEK: Final = np.array([
    100, 118, 119, 120, 117, 123, 101, 36, 50, 203, 205, 187, 206, 207, 147,
    329, 347, 348, 349, 346, 352, 330, 266, 280, 423, 425, 411, 426, 427, 376,
])  # fmt: skip
_NODES: Final = 33
# Far enough for the crop's border to stay where it is, in eye distances.
_ANCHORS: Final = np.array([(x, y) for x in (-2.2, 0.0, 2.2) for y in (-2.2, 0.5, 3.2)])
_SMOOTHING: Final = 1e-4


@dataclass(frozen=True, eq=False)
class RegionWarp:
    """Scales the deviations of a face's regions from the performer's neutral.

    Attributes:
        neutral: (P, 3) frontal points of the performer at rest, see `swapper.affect.neutral`;
            P = 478 of the mesh, which alone has points on the cheeks, or 68.
        amounts: Scale by region: 0 is the neutral, 1 the performance, 2 twice its deviation.

    Raises:
        ValueError: A region has no landmarks.
    """

    neutral: Floats
    amounts: Mapping[str, float]

    def __post_init__(self) -> None:
        known = {*REGION_LANDMARKS, *(("cheeks",) if len(self.neutral) == MESH_POINTS else ())}
        if unknown := set(self.amounts) - known:
            raise ValueError(f"no landmarks of {', '.join(sorted(unknown))}")

    def __call__(
        self,
        crop: NDArray[np.uint8],
        landmarks_aligned: NDArray[np.float32],
        coverage: Coverage,
        mesh_aligned: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Warp an aligned crop.

        Args:
            crop: (S, S, 3).
            landmarks_aligned: (68, 2) in its pixels.
            coverage: Of the crop.
            mesh_aligned: (478, 2), likewise; without it the cheeks stay.
        """
        size = len(crop)
        unit, start = pixels_per_unit(size, coverage), origin(size, coverage)
        model, placed = landmarks_of(self.neutral), landmarks_aligned
        if mesh_aligned is not None and len(self.neutral) == MESH_POINTS:
            model = np.concatenate([model, self.neutral[_CHEEK]])
            placed = np.concatenate([placed, mesh_aligned[_CHEEK]])
        points = (placed.astype(np.float64) - start) / unit
        moved = self._moved(points, model)
        nodes = np.linspace(0, size - 1, _NODES)
        grid = (np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2) - start) / unit
        flow = thin_plate_flow(
            np.concatenate([moved, _ANCHORS]), np.concatenate([points, _ANCHORS]), grid, _SMOOTHING
        )
        coarse = (flow * unit).reshape(_NODES, _NODES, 2).astype(np.float32)
        # Nodes lie on the outermost pixels, so corners have to stay corners.
        steps = np.linspace(0, _NODES - 1, size, dtype=np.float32)
        dense = cv2.remap(coarse, *np.meshgrid(steps, steps), cv2.INTER_LINEAR)
        x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
        return np.asarray(
            cv2.remap(
                crop, x + dense[..., 0], y + dense[..., 1], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )  # fmt: skip

    def _moved(self, points: Floats, model: Floats) -> Floats:
        """Return where points (P, 2), in eye distances, go; `model` (P, 3) has them at rest."""
        pose = lift_with_model(model[:NUM_LANDMARKS], points[None, :NUM_LANDMARKS])
        rest = pose.scale[0] * model @ pose.rotation[0].T + pose.offset[0]
        excess = np.zeros((len(points), 1))
        for region, amount in self.amounts.items():
            rows = REGION_LANDMARKS.get(region, range(NUM_LANDMARKS, len(points)))
            excess[list(rows)] = amount - 1
        return np.asarray(points + excess * (points - rest[:, :2]))
