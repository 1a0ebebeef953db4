"""Face geometry: alignment, transforms of points and images, head pose.

Points are (x, y) in pixels with pixel centres at integers. A transform is a (2, 3) float64 matrix
named ``destination_from_source`` that takes column points of the source to the destination.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.types import NUM_LANDMARKS, WINDOW_MM, Coverage

Border = Literal["replicate", "zero"]
Interpolation = Literal["auto", "linear", "nearest"]
Value = TypeVar("Value", np.uint8, np.float32)

# A face of average proportions in millimetres, symmetrical: x to the image's right, y down, z away
# from the camera, the origin midway between the eyes. Widths and heights follow the means of
# craniofacial anthropometry (outer canthi 90, inner canthi 33, nasion to subnasale 50, nostrils 32,
# mouth 51 mm); depths were chosen so that known rotations of real heads come out straight.
# Only rigid points are listed, and the mouth's corners, which define the upright direction.
_FACE_MM: Final[dict[int, tuple[float, float, float]]] = {
    27: (0, -2, -16), 28: (0, 11, -22), 29: (0, 23, -29), 30: (0, 34, -35),
    31: (-15, 43, -14), 32: (-8, 46, -19), 33: (0, 48, -21), 34: (8, 46, -19), 35: (15, 43, -14),
    36: (-45, 0, 8), 39: (-16.5, 1, 0), 42: (16.5, 1, 0), 45: (45, 0, 8),
    48: (-25.5, 68, -6), 54: (25.5, 68, -6),
}  # fmt: skip
_INDICES: Final = np.array(list(_FACE_MM))
_MODEL_MM: Final = np.array(list(_FACE_MM.values()))
# Weight of each point in the alignment. The nose's ridge moves with pitch and yaw and the mouth's
# corners with every smile, so their weights are low.
_WEIGHT_OF: Final = dict.fromkeys(_FACE_MM, 1.0) | dict.fromkeys((28, 29, 30), 0.05)
_WEIGHT_OF.update(dict.fromkeys((31, 32, 34, 35), 0.5) | dict.fromkeys((48, 54), 0.2))
_WEIGHTS: Final = np.array(list(_WEIGHT_OF.values()))
# Pose is estimated without the mouth's corners: with them an open jaw was taken for a raised head
# (on the real clips the distance to MediaPipe's own pitch fell from 5.4 to 3.1 degrees).
_BONE: Final = slice(0, -2)
# Left and right swapped, iBUG order.
MIRROR: Final = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
])  # fmt: skip
_SMALLEST_SPREAD: Final = 0.01  # square pixels: a face a tenth of a pixel large is none
_SHRINK_FROM: Final = 1.5
_LARGEST_SUPERSAMPLED: Final = 4096  # pixels a side, so that memory stays bounded


def similarity_from_landmarks(
    landmarks: NDArray[np.float32], size: int, coverage: Coverage
) -> NDArray[np.float64]:
    """Return the similarity to the upright square crop of a face, from rigid points.

    Args:
        landmarks: (68, 2), x y in frame pixels, iBUG order.
        size: Side of the aligned picture in pixels.
        coverage: How much of the head it shows.

    Returns:
        aligned_from_frame, (2, 3).

    Raises:
        ValueError: The landmarks are not (68, 2), not finite or coincide; or coverage or size is
            invalid.

    Source: weighted form of Umeyama 1991, doi:10.1109/34.88573.
    """
    if coverage not in WINDOW_MM:
        raise ValueError(f"coverage must be one of {', '.join(WINDOW_MM)}, got {coverage!r}")
    if size < 2:
        raise ValueError(f"size must be at least 2 pixels, got {size}")
    points = checked_shape(landmarks)[_INDICES]
    middle_mm, half_mm = WINDOW_MM[coverage]
    pixels_per_mm = size / (2.0 * half_mm)
    template = (_MODEL_MM[:, :2] - (0.0, middle_mm)) * pixels_per_mm + (size - 1) / 2.0
    return similarity_between(points, template, _WEIGHTS)


def checked_shape(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return landmarks as float64.

    Raises:
        ValueError: They are not (68, 2), or not finite.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (NUM_LANDMARKS, 2):
        raise ValueError(f"landmarks must be (68, 2), got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("landmarks must be finite")
    return points


def similarity_between(
    source: NDArray[np.float64],
    destination: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the least-squares similarity without reflection, (2, 3) destination_from_source.

    Of points (N, 2), weighted (N,) or all alike.

    Raises:
        ValueError: They fall on one point.
    """
    weights = np.ones(len(source)) if weights is None else weights
    share = weights / weights.sum()
    source_mean, destination_mean = share @ source, share @ destination
    # A plane's rotation and scale are one complex number, and so is their least-squares fit.
    from_source = (source - source_mean) @ (1.0, 1.0j)
    to_destination = (destination - destination_mean) @ (1.0, 1.0j)
    spread = float(share @ np.abs(from_source) ** 2)
    if spread < _SMALLEST_SPREAD:
        raise ValueError("landmarks fall on one point, no face can be aligned by them")
    turn = complex(share @ (np.conj(from_source) * to_destination)) / spread
    if abs(turn) < 1e-9:
        raise ValueError("landmarks have no face's shape, none can be aligned by them")
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([linear, (destination_mean - linear @ source_mean)[:, None]])


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return source_from_destination of a destination_from_source, (2, 3).

    Raises:
        ValueError: The matrix is singular.
    """
    linear, offset = matrix[:, :2], matrix[:, 2]
    determinant = float(np.linalg.det(linear))
    if not math.isfinite(determinant) or abs(determinant) < 1e-18:
        raise ValueError("a transform that flattens the plane has no inverse")
    inverse = np.linalg.inv(linear)
    return np.hstack([inverse, -(inverse @ offset)[:, None]])


def compose(c_from_b: NDArray[np.float64], b_from_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return c_from_a: first `b_from_a`, then `c_from_b`; all (2, 3)."""
    linear = c_from_b[:, :2] @ b_from_a[:, :2]
    offset = c_from_b[:, :2] @ b_from_a[:, 2] + c_from_b[:, 2]
    return np.hstack([linear, offset[:, None]])


def resized(
    aligned_from_frame: NDArray[np.float64], size: int, new_size: int
) -> NDArray[np.float64]:
    """Rescale the transform (2, 3) from a crop of `size` to one of `new_size` pixels."""
    factor = new_size / size
    larger = aligned_from_frame * factor
    # Pixel centres are at integers: what is scaled about zero is the picture's edge at -0.5.
    larger[:, 2] += (factor - 1) / 2
    return larger


def transform_points(
    matrix: NDArray[np.float64], points: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Transform points (N, 2) to (N, 2) float32 of the destination."""
    moved = np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved.astype(np.float32)


def scale_of(matrix: NDArray[np.float64]) -> float:
    """Return destination pixels per source pixel."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def warp(
    image: NDArray[Value],
    aligned_from_frame: NDArray[np.float64],
    size: int | tuple[int, int],
    *,
    border: Border = "replicate",
    interpolation: Interpolation = "auto",
) -> NDArray[Value]:
    """Warp an image by an affine transform, antialiased when it shrinks.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        aligned_from_frame: (2, 3), pixels of `image` to pixels of the result.
        size: Side of the result in pixels, or its (width, height).
        border: Values beyond the image: its edge pixels, or zero.
        interpolation: "auto" averages when shrinking by more than 1.5 and is bicubic otherwise;
            "linear" never overshoots; "nearest" keeps labels.

    Returns:
        (height, width[, C]), dtype of `image`. Bicubic float results may leave the input's range.

    Raises:
        ValueError: The picture is empty.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"cannot warp a picture of shape {image.shape}")
    width, height = (size, size) if isinstance(size, int) else size
    kind = {"auto": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}
    edge = cv2.BORDER_REPLICATE if border == "replicate" else cv2.BORDER_CONSTANT
    shrink = 1.0 / max(scale_of(aligned_from_frame), 1e-6)
    factor = 1
    flag = kind[interpolation]
    if interpolation != "nearest" and shrink > _SHRINK_FROM:
        # Supersampled at about the source's resolution, then averaged.
        largest = max(1, _LARGEST_SUPERSAMPLED // max(width, height))
        factor = min(math.ceil(shrink), largest)
        flag = cv2.INTER_LINEAR
    shift = (factor - 1) / 2.0
    enlarge = np.array([[factor, 0.0, shift], [0.0, factor, shift]])
    warped = cv2.warpAffine(
        image,
        compose(enlarge, aligned_from_frame),
        (width * factor, height * factor),
        flags=flag,
        borderMode=edge,
    )
    if factor > 1:
        warped = cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA)
    # OpenCV drops a last axis of one channel.
    return np.asarray(warped, dtype=image.dtype).reshape(height, width, *image.shape[2:])


def head_pose(
    landmarks: NDArray[np.float32], frame_size: tuple[int, int]
) -> tuple[float, float, float]:
    """Estimate head pose from rigid landmarks and a generic head model.

    Args:
        landmarks: (68, 2), x y in frame pixels.
        frame_size: Width and height of the frame; stand in for the unknown focal length.

    Returns:
        Yaw, pitch and roll in degrees, as seen along the ray from the lens to the face: yaw > 0
        faces the image's right, pitch > 0 looks up, roll > 0 tips the crown to the image's right
        (clockwise). Yaw and pitch lie in [-90, 90], roll in [-180, 180].

    Raises:
        ValueError: The landmarks are not (68, 2), not finite or fall on one point.
    """
    points = checked_shape(landmarks)
    width, height = frame_size
    upright = similarity_between(points[_INDICES], _MODEL_MM[:, :2].copy(), _WEIGHTS)
    mm_per_pixel = scale_of(upright)
    # 53 degrees across the longer side, an ordinary lens; a far telephoto changes pose little.
    focal = float(max(width, height, 1))
    lens = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0, 0, 1]])
    # The frontal initial pose keeps the solver from the mirrored solution.
    roll = -math.atan2(upright[1, 0], upright[0, 0])
    origin = invert(upright)[:, 2]
    depth = focal * mm_per_pixel
    turn = np.array([0.0, 0.0, roll])
    move = np.array([*((origin - lens[:2, 2]) * mm_per_pixel), depth])
    _, turn, move = cv2.solvePnP(
        _MODEL_MM[_BONE],
        points[_INDICES][_BONE],
        lens,
        None,
        rvec=turn[:, None],
        tvec=move[:, None],
        useExtrinsicGuess=True,
        flags=cv2.SOLVEPNP_ITERATIVE,
    )
    if not (np.isfinite(turn).all() and np.isfinite(move).all()):
        return 0.0, 0.0, math.degrees(roll)
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    position = np.asarray(move, dtype=np.float64).ravel()
    return _angles(_relative_to_ray(rotation, position))


def _relative_to_ray(
    rotation: NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rotation relative to the viewing ray of the face."""
    ray = position / max(float(np.linalg.norm(position)), 1e-9)
    axis = np.cross(ray, (0.0, 0.0, 1.0))
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9 or ray[2] <= 0:
        return rotation
    to_axis = np.asarray(cv2.Rodrigues(axis / sine * math.asin(min(sine, 1.0)))[0])
    return np.asarray(to_axis @ rotation)


def _angles(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return yaw, pitch, roll in degrees of camera_from_head = roll after pitch after yaw."""
    # Heads facing away have no visible landmarks; yaw is clipped to profile.
    yaw = math.atan2(rotation[2, 0], max(rotation[2, 2], 0.0))
    pitch = math.asin(min(max(-rotation[2, 1], -1.0), 1.0))
    roll = math.atan2(-rotation[0, 1], rotation[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def sharpness(aligned: NDArray[np.uint8]) -> float:
    """Compute the contrast-normalised sharpness of an aligned face (S, S, 3) RGB.

    Variance of the Laplacian over the variance of the grey picture, in its middle half; >= 0,
    higher is sharper, comparable within one size and coverage.
    """
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    height, width = grey.shape
    rows, columns = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
    detail = cv2.Laplacian(grey, cv2.CV_32F)[rows, columns]
    # Below one grey level there is only noise to normalise by.
    return float(detail.var() / max(float(grey[rows, columns].var()), 255.0**-2))
