"""Head state of one frame, and one rendered frame with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.head_renderer.units import NUM_UNITS, rest


@dataclass(frozen=True, eq=False)
class HeadState:
    """Expression, gaze and head pose of one frame, independent of the identity.

    Attributes:
        units: (2, 19) float32 in [0, 1], the intended intensities: rows are the actor's left and
            right, columns follow `UNITS`.
        gaze: (2,) degrees relative to the head: > 0 to the picture's right, > 0 up.
        pose: (3,) yaw, pitch, roll of the head in degrees, as `faces.geometry.head_pose` counts
            them: yaw > 0 faces the picture's right, pitch > 0 looks up, roll > 0 tips the crown to
            the picture's right.
        shift: (3,) mm by which the head has moved: to the picture's right, up, towards the camera.

    Raises:
        UsageError: If a value is not finite or out of its range.
    """

    units: NDArray[np.float32] = field(default_factory=rest)
    gaze: tuple[float, float] = (0.0, 0.0)
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.units.shape != (2, NUM_UNITS):
            raise ValueError(f"units must be (2, {NUM_UNITS}), got {self.units.shape}")
        if not (np.isfinite(self.units).all() and self.units.min() >= 0 and self.units.max() <= 1):
            raise UsageError("head_state.units: intensities must be numbers from 0 to 1")
        for name, most in (("gaze", 45.0), ("pose", 90.0), ("shift", 200.0)):
            if not all(np.isfinite(v) and abs(v) <= most for v in getattr(self, name)):
                raise UsageError(
                    f"head_state.{name}={tuple(getattr(self, name))}: each must be a number from "
                    f"{-most:g} to {most:g}"
                )


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A rendered frame with its ground truth.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        landmarks: (68, 2) float64, x y in pixels, iBUG order, projections of fixed mesh vertices
            (the contour is the jaw's own, also where a turned head hides it).
        face_mask: (S, S) float32 in [0, 1]: share of each pixel covered by the visible face, from
            the brows' upper edge to the chin and jaw, eyes and mouth included, hair not.
        observed_units: (2, 19) float32, intensities after the identity's gain and asymmetry.
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    face_mask: NDArray[np.float32]
    observed_units: NDArray[np.float32]
