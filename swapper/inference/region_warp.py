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
from swapper.types import NUM_LANDMARKS, Coverage

Floats = NDArray[np.float64]

REGION_LANDMARKS: Final[dict[str, tuple[int, ...]]] = {
    "brows": tuple(range(17, 27)),
    "eyes": tuple(range(36, 48)),
    "lips": tuple(range(48, 68)),
    "jaw": tuple(range(3, 14)),
}
"""The 68 landmarks of each region; none lies on the cheeks."""
_NODES: Final = 33
# Far enough for the crop's border to stay where it is, in eye distances.
_ANCHORS: Final = np.array([(x, y) for x in (-2.2, 0.0, 2.2) for y in (-2.2, 0.5, 3.2)])
_SMOOTHING: Final = 1e-4


@dataclass(frozen=True, eq=False)
class RegionWarp:
    """Scales the deviations of a face's regions from the performer's neutral.

    Attributes:
        neutral: (P, 3) frontal points of the performer at rest, see `swapper.affect.neutral`.
        amounts: Scale by region: 0 is the neutral, 1 the performance, 2 twice its deviation.

    Raises:
        ValueError: A region has no landmarks.
    """

    neutral: Floats
    amounts: Mapping[str, float]

    def __post_init__(self) -> None:
        if unknown := set(self.amounts) - set(REGION_LANDMARKS):
            raise ValueError(f"no landmarks of {', '.join(sorted(unknown))}")

    def __call__(
        self,
        crop: NDArray[np.uint8],
        landmarks_aligned: NDArray[np.float32],
        coverage: Coverage,
    ) -> NDArray[np.uint8]:
        """Warp an aligned crop.

        Args:
            crop: (S, S, 3).
            landmarks_aligned: (68, 2) in its pixels.
            coverage: Of the crop.
        """
        size = len(crop)
        unit, start = pixels_per_unit(size, coverage), origin(size, coverage)
        points = (landmarks_aligned.astype(np.float64) - start) / unit
        moved = self._moved(points)
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

    def _moved(self, points: Floats) -> Floats:
        """Return where landmarks (68, 2), in eye distances, go."""
        model = landmarks_of(self.neutral)
        shape = lift_with_model(model, points[None])
        excess = np.zeros((NUM_LANDMARKS, 1))
        for region, amount in self.amounts.items():
            excess[list(REGION_LANDMARKS[region])] = amount - 1
        deviation = excess * (shape.front[0] - model)
        moved: Floats = points + shape.scale[0] * (deviation @ shape.rotation[0].T)[:, :2]
        return moved
