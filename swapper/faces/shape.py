"""Pose-normalised face shape (frontalised points) and expression signals.

A turned head shortens one half of the mouth, which is not expression. Faces are rotated to the
front in 3D by rigid points. MediaPipe's mesh has depth; the 68 landmarks get the depth of an
average face.

Units are eye distances: the distance of the outer corners on the average face of aligned crops,
90 mm. x to the image's right, y down, z away from the camera; the origin lies between the eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import MIRROR, scale_of, similarity_from_landmarks, transform_points
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.types import MESH_POINTS, NUM_LANDMARKS, WINDOW_MM, Coverage, Face, FaceRecord

Floats = NDArray[np.float64]

_EYE_MM: Final = 90.0
# A face at rest, in hundredths of the eye distance: the mean of four adults' meshes, made
# symmetrical. Depths differ between them by 0.7 (standard deviation). Only the picture's left half
# and the midline; the other half mirrors it.
_HALF_FACE: Final[dict[int, tuple[float, float, float]]] = {
    0: (-73, -13, 52), 1: (-74, 20, 68), 2: (-72, 37, 69), 3: (-65, 72, 60), 4: (-58, 87, 48),
    5: (-50, 97, 36), 6: (-32, 112, 18), 7: (-13, 121, 5), 8: (0, 122, 3),
    17: (-66, -23, 23), 18: (-56, -26, 1), 19: (-47, -29, -7), 20: (-33, -28, -14),
    21: (-17, -26, -17),
    27: (0, -3, -16), 28: (0, 14, -26), 29: (0, 28, -38), 30: (0, 37, -40),
    31: (-13, 48, -17), 32: (-8, 51, -19), 33: (0, 51, -21),
    36: (-49, -1, 8), 37: (-42, -6, 1), 38: (-31, -7, -1), 39: (-19, 2, 2), 40: (-29, 4, 0),
    41: (-40, 4, 2),
    48: (-27, 76, -1), 49: (-15, 69, -16), 50: (-8, 67, -20), 51: (0, 69, -21),
    57: (0, 88, -16), 58: (-8, 87, -15), 59: (-15, 85, -13),
    60: (-24, 76, -3), 61: (-6, 75, -14), 62: (0, 75, -14), 66: (0, 76, -15), 67: (-6, 76, -14),
}  # fmt: skip
RIGID: Final = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])
# The same of the mesh, with the temples and the hairline.
RIGID_MESH: Final = np.array([
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 127, 356, 234, 454, 10, 109, 338,
])  # fmt: skip
INNER_LIPS: Final = np.arange(60, 68)
INNER_LIPS_MESH: Final = np.array([
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
])  # fmt: skip
"""Inner outline of the mouth, starting at the image's left corner."""
IRISES: Final = ((range(468, 473), 33, 133), (range(473, 478), 362, 263))
"""Mesh points of each iris, the first its centre, and the corners of its eye."""
_ROUNDS: Final = 4

SIGNALS: Final = (
    *("mouth_opening", "mouth_width", "mouth_corners"),
    *("brow_left", "brow_right", "lid_left", "lid_right", "jaw"),
)
"""Columns of `signals`; left and right are the image's."""


def _mean_face() -> Floats:
    face = np.zeros((NUM_LANDMARKS, 3))
    for point, place in _HALF_FACE.items():
        face[point] = place
        face[MIRROR[point]] = np.array(place) * (-1, 1, 1)
    return face / 100


MEAN_FACE: Final = _mean_face()
"""(68, 3) landmarks of an average face at rest."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """N frontalised faces of one person: ``aligned = scale * rotation @ front + offset``.

    Attributes:
        front: (N, P, 3) points, P = 478 of the mesh or 68.
        rotation: (N, 3, 3), aligned_from_front.
        scale: (N,).
        offset: (N, 3).
    """

    front: Floats
    rotation: Floats
    scale: Floats
    offset: Floats

    def __len__(self) -> int:
        return len(self.front)

    @property
    def landmarks(self) -> Floats:
        """(N, 68, 3) frontalised landmarks."""
        return landmarks_of(self.front)

    @property
    def pose(self) -> Floats:
        """(N, 3) yaw, pitch and roll in degrees, the roll after the pitch after the yaw.

        Signs as in `geometry.head_pose`: yaw > 0 faces the image's right, pitch > 0 up, roll > 0
        tips the crown to the image's right. Rotating the crop changes only the roll.
        """
        turn = self.rotation
        yaw = np.arctan2(turn[:, 2, 0], turn[:, 2, 2])
        pitch = np.arcsin(np.clip(-turn[:, 2, 1], -1, 1))
        roll = np.arctan2(-turn[:, 0, 1], turn[:, 1, 1])
        return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))

    def projected(self, front: Floats, row: int, rotation: Floats | None = None) -> Floats:
        """Project points (P, 3) into the crop of a face, under its rotation or another, (P, 2)."""
        turn = self.rotation[row] if rotation is None else rotation
        projected = self.scale[row] * front @ turn.T + self.offset[row]
        return np.asarray(projected[:, :2])

    def take(self, rows: NDArray[Any]) -> Shapes:
        """Select `rows`, indices or a mask."""
        return Shapes(self.front[rows], self.rotation[rows], self.scale[rows], self.offset[rows])

    @classmethod
    def of(cls, points: Floats) -> Shapes:
        """Frontalise aligned points.

        Args:
            points: (N, 478, 3), or (N, 68, 2) without depth, of one person; see `aligned_points`.

        Raises:
            ValueError: Invalid shape, or no face.
        """
        if not len(points) or points.shape[1:] not in ((MESH_POINTS, 3), (NUM_LANDMARKS, 2)):
            raise ValueError(f"points must be (N, 478, 3) or (N, 68, 2), got {points.shape}")
        return _turned(points) if points.shape[2] == 3 else _lifted(points)


def landmarks_of(points: Floats) -> Floats:
    """Return the 68 landmarks of points (..., P, D), P = 478 or 68."""
    return points if points.shape[-2] == NUM_LANDMARKS else points[..., MESH_OF_LANDMARK, :]


def has_mesh(records: Sequence[FaceRecord]) -> bool:
    """Return whether every record has MediaPipe's mesh."""
    return all(record.mesh is not None for record in records)


def aligned_points(
    records: Sequence[FaceRecord], size: int, coverage: Coverage, *, mesh: bool
) -> Floats:
    """Return face points in aligned crops, in eye distances relative to `origin`.

    Args:
        records: N faces.
        size: Side of the aligned crops in pixels.
        coverage: Of the crops.
        mesh: Whether to take the mesh, which all must have.

    Returns:
        (N, 478, 3), or (N, 68, 2).
    """
    points = []
    for record in records:
        if mesh and record.mesh is None:
            raise ValueError(f"face {record.id} has no mesh")
        face = record.mesh if mesh and record.mesh is not None else record.landmarks
        points.append(_in_crop(face, record.aligned_from_frame, size, coverage))
    return np.array(points)


def aligned_faces(faces: Sequence[Face]) -> Floats:
    """Convert N faces in frame pixels to input of `Shapes.of`.

    Returns:
        (N, 478, 3) if all have the mesh, else (N, 68, 2).

    Raises:
        ValueError: As `similarity_from_landmarks`.
    """
    size: int = 256
    mesh = all(face.mesh is not None for face in faces)
    points = []
    for face in faces:
        matrix = similarity_from_landmarks(face.landmarks, size, "face")
        place = face.mesh if mesh and face.mesh is not None else face.landmarks
        points.append(_in_crop(place, matrix, size, "face"))
    return np.array(points)


def _in_crop(
    points: NDArray[np.float32],
    aligned_from_frame: NDArray[np.float64],
    size: int,
    coverage: Coverage,
) -> Floats:
    """Return points (P, 2 or 3) in eye distances relative to `origin`; the depth is scaled."""
    unit = pixels_per_unit(size, coverage)
    place = transform_points(aligned_from_frame, points[:, :2]).astype(np.float64)
    place = (place - origin(size, coverage)) / unit
    depth = points[:, 2:].astype(np.float64) * (scale_of(aligned_from_frame) / unit)
    return np.concatenate([place, depth], axis=1)


def aligned_landmarks(landmarks: NDArray[np.floating[Any]]) -> Floats:
    """Convert landmarks (T, 68, 2) in frame pixels to input of `Shapes.of`; NaN stays NaN.

    Raises:
        ValueError: As `similarity_from_landmarks`.
    """
    size = 256
    result = np.full(landmarks.shape, np.nan)
    for row in np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2))):
        points = landmarks[row].astype(np.float32)
        matrix = similarity_from_landmarks(points, size, "face")
        aligned = transform_points(matrix, points) - origin(size, "face")
        result[row] = aligned / pixels_per_unit(size, "face")
    return result


def pixels_per_unit(size: int, coverage: Coverage) -> float:
    """Return pixels per eye distance in an aligned crop."""
    return _EYE_MM * size / (2 * WINDOW_MM[coverage][1])


def origin(size: int, coverage: Coverage) -> Floats:
    """Return (2,) the midpoint between the eyes in an aligned crop, in pixels."""
    middle, half = WINDOW_MM[coverage]
    centre = (size - 1) / 2
    return np.array([centre, centre - middle * size / (2 * half)])


def eye(front: Floats, inner: int, outer: int) -> tuple[Floats, Floats]:
    """Return centre (..., 3) and width (...) of an eye of a mesh (..., 478, 3)."""
    a, b = front[..., inner, :], front[..., outer, :]
    return (a + b) / 2, np.asarray(np.linalg.norm(a - b, axis=-1))


def signals(landmarks: Floats) -> Floats:
    """Compute expression signals of frontalised faces (N, 68, 3 or 2).

    Returns:
        (N, 8), columns `SIGNALS`, in eye distances: gap of the inner lips; distance of the mouth's
        corners; their height over the middle of the outer lips; height of each brow over the
        corners of its eye; opening of each eye; the chin below the nose.
    """
    x, y = landmarks[..., 0], landmarks[..., 1]
    corners = (y[:, 51] + y[:, 57]) / 2 - (y[:, 48] + y[:, 54]) / 2
    return np.stack(
        [
            y[:, 66] - y[:, 62],
            x[:, 54] - x[:, 48],
            corners,
            (y[:, 36] + y[:, 39]) / 2 - y[:, 17:22].mean(axis=1),
            (y[:, 42] + y[:, 45]) / 2 - y[:, 22:27].mean(axis=1),
            (y[:, 40] + y[:, 41] - y[:, 37] - y[:, 38]) / 2,
            (y[:, 46] + y[:, 47] - y[:, 43] - y[:, 44]) / 2,
            y[:, 8] - y[:, 33],
        ],
        axis=1,
    )


def _turned(points: Floats) -> Shapes:
    """Frontalise meshes (N, 478, 3): each to their median, and that to the average face."""
    mean = np.asarray(np.median(points, axis=0))
    for _ in range(_ROUNDS):
        rotation, scale, offset = _fit(mean[None, RIGID_MESH], points[:, RIGID_MESH])
        mean = np.asarray(np.median(_back(points, rotation, scale, offset), axis=0))
        mean_landmarks = mean[MESH_OF_LANDMARK][None, RIGID]
        turn, size, move = _fit(mean_landmarks, MEAN_FACE[None, RIGID])
        # Keep the person's size: eye distances are defined by the crop.
        mean = mean @ turn[0].T + move[0] / size[0]
        mean *= _zoom(mean[MESH_OF_LANDMARK, :2])
    rotation, scale, offset = _fit(mean[None, RIGID_MESH], points[:, RIGID_MESH])
    return Shapes(_back(points, rotation, scale, offset), rotation, scale, offset)


def _zoom(landmarks: Floats) -> float:
    """Return the scale of the aligned crop of a frontal face (68, 2).

    Crops enlarge a face the more it is turned; so its size is that of the frontal crop.
    """
    size, pixels = 256, 100
    matrix = similarity_from_landmarks((landmarks * pixels).astype(np.float32), size, "face")
    return scale_of(matrix) * pixels / pixels_per_unit(size, "face")


def _lifted(points: Floats) -> Shapes:
    """Frontalise landmarks (N, 68, 2) with the depths of `MEAN_FACE`."""
    mean = MEAN_FACE
    for _ in range(_ROUNDS):
        mean = np.asarray(np.median(lift_with_model(mean, points).front, axis=0))
    return lift_with_model(mean, points)


def lift_with_model(model: Floats, points: Floats) -> Shapes:
    """Frontalise landmarks with pose and depths of a model.

    Args:
        model: (68, 3) frontal landmarks of the person, such as the neutral.
        points: (N, 68, 2), see `aligned_points`.
    """
    rotation, scale, offset = _scaled_orthographic(model[RIGID], points[:, RIGID])
    flat = (points - offset[:, None, :2]) / scale[:, None, None]
    flat = flat - rotation[:, None, :2, 2] * model[None, :, 2:]
    front = np.empty((*points.shape[:2], 3))
    front[..., :2] = np.einsum("nij,npj->npi", np.linalg.inv(rotation[:, :2, :2]), flat)
    front[..., 2] = model[:, 2]
    return Shapes(front, rotation, scale, offset)


def _back(points: Floats, rotation: Floats, scale: Floats, offset: Floats) -> Floats:
    """Frontalise points (N, P, 3) of aligned crops."""
    there = (points - offset[:, None]) / scale[:, None, None]
    return np.asarray(np.einsum("nji,npj->npi", rotation, there))


def _fit(source: Floats, destination: Floats) -> tuple[Floats, Floats, Floats]:
    """Return least-squares similarities (N, 3, 3), (N,), (N, 3) from points (N or 1, K, 3) to (N,
    K, 3).

    Source: Umeyama 1991, doi:10.1109/34.88573.
    """
    start, end = source.mean(axis=1, keepdims=True), destination.mean(axis=1, keepdims=True)
    a, b = source - start, destination - end
    u, s, vt = np.linalg.svd(np.einsum("nki,nkj->nij", b, np.broadcast_to(a, b.shape)))
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(axis=1) / np.square(a).sum(axis=(1, 2))
    offset = end[:, 0] - scale[:, None] * np.einsum(
        "nij,nj->ni", rotation, start[:, 0] + 0 * end[:, 0]
    )
    return rotation, scale, offset


def _scaled_orthographic(model: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Return poses (N, 3, 3), (N,), (N, 3) that project a model (K, 3) to points (N, K, 2).

    Source: DeMenthon and Davis 1995, doi:10.1007/BF01450852, its first step.
    """
    centre = model.mean(axis=0)
    solve = np.linalg.pinv(model - centre)
    middle = points.mean(axis=1, keepdims=True)
    affine = np.einsum("ik,nkj->nji", solve, points - middle)
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    scale = s.mean(axis=1)
    offset = np.zeros((len(points), 3))
    offset[:, :2] = middle[:, 0] - scale[:, None] * (rows @ centre)
    return rotation, scale, offset
