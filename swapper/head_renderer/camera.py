"""Projection from head space to pixels: head pose, camera and lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.surface import Floats

HEAD_HEIGHT: Final = 227.0
_AIM: Final = (0.0, 2.0, 0.0)
_NECK: Final = (0.0, -118.0, -18.0)
"""Centre of head rotation, mm in head space."""


def head_rotation(state: HeadState) -> Floats:
    """Return the (3, 3) head rotation: roll after pitch after yaw."""
    yaw, pitch, roll = np.radians(np.asarray(state.pose, dtype=np.float64))
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll),
    )  # fmt: skip
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    around_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(around_z @ around_x @ around_y)


def move_head(points: Floats, follow: Floats, state: HeadState) -> Floats:
    """Map (N, 3) points to the world; `follow` (N,) is 1 on the head, 0 on the trunk."""
    turn, shift = head_rotation(state), np.asarray(state.shift, dtype=np.float64)
    neck = np.array(_NECK)
    turned = (points - neck) @ turn.T + neck
    result: Floats = points + follow[:, None] * (turned - points)
    return result + shift * (0.6 + 0.4 * follow)[:, None]


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera aimed at the head's rest position.

    Attributes:
        turn: (3, 3) world to camera axes: x right, y up, z towards the viewer.
        distance: mm from the lens to its target.
        focal: Pixels.
        size: Side of the picture in pixels.
        distortion: Radial k1 at the picture's edge.
    """

    turn: Floats
    distance: float
    focal: float
    size: int
    distortion: float

    @classmethod
    def of(cls, stage: Stage, size: int) -> Camera:
        """Return the stage's camera for frames of `size` pixels."""
        down = np.radians(stage.camera_height)
        turn = np.array(
            [[1, 0, 0], [0, np.cos(down), -np.sin(down)], [0, np.sin(down), np.cos(down)]]
        )
        focal = stage.focal / 36.0 * size
        return cls(turn, stage.focal / 36.0 * HEAD_HEIGHT / stage.framing, focal, size,
                   stage.distortion)  # fmt: skip

    @property
    def place(self) -> Floats:
        """(3,) world position of the lens."""
        return np.asarray(np.array(_AIM) + self.turn.T @ np.array([0.0, 0.0, self.distance]))

    def project(self, world: Floats) -> Floats:
        """Project world points to (N, 3): x, y in pixels (centres at integers), 1/depth in 1/mm."""
        view = (world - np.array(_AIM)) @ self.turn.T
        depth = self.distance - view[:, 2]
        near = 1.0 / np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        flat = view[:, :2] * near[:, None] * (self.focal / (self.size / 2))
        if self.distortion:
            flat = flat * (1 + self.distortion * (flat**2).sum(axis=1, keepdims=True))
        middle = (self.size - 1) / 2
        x = middle + flat[:, 0] * self.size / 2
        y = middle - flat[:, 1] * self.size / 2
        return np.stack([x, y, near], axis=1)
