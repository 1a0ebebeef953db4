"""Places in aligned crops, and warps between two faces' points on a grid of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import INNER_LIPS_MESH, IRISES, origin, pixels_per_unit
from swapper.faces.thin_plate import thin_plate_flow
from swapper.types import MESH_POINTS, Coverage

Floats = NDArray[np.float64]
Pixels = NDArray[np.floating[Any]]

NODES: Final = 64
"""Points along a side of a flow: with 32 the corners of the mouth move a tenth less."""
# Points of the head that face away from the camera by more than this are occluded.
_HIDDEN_DEGREES: Final = 60.0
_HEAD_CENTRE: Final = 0.9
_SPACING: Final = 0.05
_FINE_SPACING: Final = 0.018
_SMOOTHING: Final = 5e-4


class CropPlaces:
    """Converts between eye distances, places and pixels of aligned crops.

    A place is a share of the crop's side, (pixel + 0.5) / side; node (i, j) of a grid lies at the
    place (j, i) / (G - 1).

    Args:
        size: Side of the crop in pixels.
        coverage: Of the crop.
        nodes: Along a side of the grid, G.

    Attributes:
        unit: Pixels per eye distance.
        nodes: (G, G, 2) places of the nodes.
    """

    def __init__(self, size: int, coverage: Coverage, nodes: int = NODES) -> None:
        self.size, self.coverage = size, coverage
        self.unit = pixels_per_unit(size, coverage)
        self._origin = origin(size, coverage)
        ramp = np.linspace(0, 1, nodes)
        self.nodes = np.stack(np.meshgrid(ramp, ramp), axis=-1)
        self._nodes = self.units(self.nodes.reshape(-1, 2))
        steps = np.linspace(0, 1, 4)
        self._border = self.units(
            np.array([(x, y) for x in steps for y in steps if {x, y} & {0.0, 1.0}])
        )

    def units(self, places: Floats) -> Floats:
        """Convert places to eye distances from between the eyes."""
        return self.from_pixels(places * self.size - 0.5)

    def places(self, units: Floats) -> Floats:
        """Convert eye distances from between the eyes to places."""
        return np.asarray((self.pixels(units) + 0.5) / self.size)

    def pixels(self, units: Floats) -> Floats:
        """Convert eye distances from between the eyes to pixels."""
        return np.asarray(units * self.unit + self._origin)

    def from_pixels(self, pixels: Floats) -> Floats:
        """Convert pixels to eye distances from between the eyes."""
        return np.asarray((pixels - self._origin) / self.unit)

    def flow(self, destination: Floats, source: Floats) -> Floats:
        """Compute the warp of corresponding points (P, 2), in eye distances; the border is held.

        Returns:
            (G, G, 2), from a place of the destination to that of the source, in sides.
        """
        count = len(self.nodes)
        ends = [np.concatenate([each, self._border]) for each in (destination, source)]
        flow = thin_plate_flow(ends[0], ends[1], self._nodes, _SMOOTHING)
        return np.asarray(flow.reshape(count, count, 2) * (self.unit / self.size))

    def nodes_of(self, picture: Pixels) -> Pixels:
        """Sample a picture (S, S, ...) at the nodes, (G, G, ...)."""
        return sampled(picture, self.nodes * self.size - 0.5)

    def pixels_of(self, grid: NDArray[Any]) -> Pixels:
        """Interpolate a grid (G, G, ...) at the crop's pixels, (S, S, ...)."""
        ramp = (np.arange(self.size) + 0.5) / self.size
        return at_places(grid, np.stack(np.meshgrid(ramp, ramp), axis=-1))


def at_places(grid: NDArray[Any], places: Floats) -> Pixels:
    """Interpolate a grid (G, G, ...) at places (H, W, 2)."""
    return sampled(grid, places * (len(grid) - 1))


def sampled(picture: NDArray[Any], positions: NDArray[np.floating[Any]]) -> Pixels:
    """Interpolate a picture (S, S, ...) at pixels (H, W, 2); the border is continued."""
    x, y = (np.ascontiguousarray(positions[..., axis], np.float32) for axis in (0, 1))
    picture = picture.astype(np.float32)
    result = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result, np.float32)


def warp_points(rest: Floats) -> NDArray[np.int64]:
    """Select a warp's control points: a subset of the mesh, dense at lips and lids."""
    if len(rest) != MESH_POINTS:
        return np.arange(len(rest))
    fine = {point for iris, *_ in IRISES for point in iris} | set(INNER_LIPS_MESH.tolist())
    landmarks = MESH_OF_LANDMARK
    first = [*landmarks[36:].tolist(), *sorted(fine), *landmarks[:36].tolist()]
    near_lids = np.abs(rest[:, 1]) < 0.2
    near_lips = np.linalg.norm(rest[:, :2] - rest[INNER_LIPS_MESH, :2].mean(axis=0), axis=1) < 0.4
    spacing = np.where(near_lids | near_lips, _FINE_SPACING * 2, _SPACING)
    chosen: list[int] = []
    for point in [*first, *(each for each in range(MESH_POINTS) if each not in set(first))]:
        distance = np.linalg.norm(rest[chosen, :2] - rest[point, :2], axis=1)
        least = _FINE_SPACING if point in fine or point in first else spacing[point]
        if not chosen or distance.min() >= least:
            chosen.append(point)
    return np.array(sorted(chosen))


def visible(
    rest: Floats, yaws: Sequence[float] | Floats, degrees: float = _HIDDEN_DEGREES
) -> NDArray[np.bool_]:
    """Return which points (P, 3) of a neutral face the camera at all of `yaws`.

    Args:
        rest: The neutral.
        yaws: In degrees.
        degrees: By how much a point may face aside.
    """
    around = np.degrees(np.arctan2(rest[:, 0], _HEAD_CENTRE - rest[:, 2]))
    return np.asarray(np.all([np.abs(around + yaw) < degrees for yaw in yaws], axis=0))
