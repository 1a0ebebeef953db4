"""Heads made by hand: the average face with an anatomy and an expression, seen from any side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import MIRROR, similarity_from_landmarks
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import MEAN_FACE, aligned_points
from swapper.types import MESH_POINTS, Coverage, FaceRecord

Floats = NDArray[np.float64]

PIXELS = 80.0
"""Of the frame, to an eye distance."""


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """Camera from head, (3, 3): a yaw to the image's right, then a pitch up, then a roll."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


def rotations(views: Iterable[tuple[float, float]]) -> Floats:
    """(N, 3, 3) of yaws and pitches."""
    return np.array([rotation(*view) for view in views])


def seen(fronts: Floats, turns: Floats) -> Floats:
    """Heads (N or 1, P, 3) under rotations (N, 3, 3) in frame pixels, from far away."""
    turned = np.einsum(
        "nij,npj->npi", turns, np.broadcast_to(fronts, (len(turns), *fronts[0].shape))
    )
    return np.asarray(turned * PIXELS + (200.0, 150.0, 0.0))


def mesh_of(landmarks: Floats, seed: int = 0) -> Floats:
    """A mesh (478, 3) with those landmarks, its other points anywhere on a smooth face."""
    random = np.random.default_rng(seed)
    x, y = random.uniform((-0.75, -0.9), (0.75, 1.2), (MESH_POINTS, 2)).T
    mesh = np.column_stack([x, y, 0.9 * x**2 + 0.35 * (y - 0.3) ** 2 - 0.25])
    mesh[MESH_OF_LANDMARK] = landmarks
    return mesh


def record(landmarks: Floats, size: int, coverage: Coverage, mesh: Floats | None) -> FaceRecord:
    """A face of an index, cut as extraction does, from points in frame pixels."""
    flat = landmarks[:, :2].astype(np.float32)
    return FaceRecord(
        id="0", image="0.png", source="", frame_index=0, pts=0, landmarks=flat,
        aligned_from_frame=similarity_from_landmarks(flat, size, coverage),
        yaw=0.0, pitch=0.0, roll=0.0, sharpness=1.0, confidence=1.0, sha256="",
        mesh=None if mesh is None else mesh.astype(np.float32),
    )  # fmt: skip


def in_crops(points: Floats, *, size: int = 256, coverage: Coverage = "face") -> Floats:
    """Points in frame pixels, (N, 478, 3) or (N, 68, 2 or 3), as aligned crops have them."""
    mesh = points.shape[1] == MESH_POINTS
    records = [
        record(each[MESH_OF_LANDMARK] if mesh else each, size, coverage, each if mesh else None)
        for each in points
    ]
    return aligned_points(records, size, coverage, mesh=mesh)


def expressive(opening: float = 0.0, smile: float = 0.0, brows: float = 0.0) -> Floats:
    """The average face (68, 3): its mouth open, or wider with raised corners; its brows raised."""
    face = MEAN_FACE.copy()
    face[[55, 56, 57, 58, 59, 65, 66, 67], 1] += opening
    face[6:11, 1] += 0.8 * opening
    face[[48, 60], 0] -= smile / 2
    face[[54, 64], 0] += smile / 2
    face[[48, 54, 60, 64], 1] -= smile / 3
    face[17:27, 1] -= brows
    return face


def flip_landmarks(landmarks: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Mirror landmarks (68, 2) in an image of `width` left to right, in iBUG order."""
    flipped = np.asarray(landmarks, dtype=np.float32)[MIRROR]
    flipped[:, 0] = (width - 1) - flipped[:, 0]
    return np.asarray(flipped)
