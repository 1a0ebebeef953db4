"""What every aligner offers, and the checks they share.

An aligner finds the faces of a frame and their 68 landmarks. Which one does it is a choice of
configuration; the rest of the house only sees this protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from swapper.types import NUM_LANDMARKS, Face

# Root mean square distance of landmarks from their middle, in pixels, below which there is no face.
_SMALLEST_SPREAD_PX = 1.0
# Landmarks this many frame sizes outside the picture are a tracker's failure, not a face.
_FURTHEST_OUTSIDE = 1.0


class FrameLike(Protocol):
    """What faces need of a frame."""

    @property
    def index(self) -> int:
        """Frame number, from 0."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, upright."""


class Aligner(Protocol):
    """Finds faces and their landmarks, frame by frame, in order.

    Constructors only store settings. `prepare` loads what the aligner needs; the first call does it
    if nobody has.
    """

    @property
    def name(self) -> str:
        """Short name, as in the configuration."""

    @property
    def fingerprint(self) -> str:
        """Name and settings, for the faceset's card; equal for equal work."""

    @property
    def expected_frames(self) -> int | None:
        """How many frames the clip must have, where the aligner knows; reads its file."""

    def prepare(self) -> None:
        """Load weights or landmarks.

        Raises:
            AlignerError: Something is missing or damaged.
        """

    def __call__(self, frame: FrameLike) -> list[Face]:
        """Faces of the frame, largest first; empty if there is none.

        Raises:
            AlignerError: As `prepare`.
        """

    def finish(self, num_frames: int) -> None:
        """Say that a whole clip of so many frames has been shown.

        Raises:
            AlignerError: The aligner describes another clip.
        """

    def close(self) -> None:
        """Let go of files and memory; may be called twice."""


@runtime_checkable
class ClipAware(Protocol):
    """What an aligner has besides, if it takes something else for each clip."""

    def set_clip(self, clip: Path) -> None:
        """Say which clip the next frames are of, before `Aligner.prepare`."""


def prepare_for_clip(aligner: Aligner, clip: Path, num_frames: int | None) -> None:
    """Make an aligner ready for a clip, and refuse landmarks of another one.

    Args:
        aligner: Not yet prepared for another clip.
        clip: The file, or the folder of pictures.
        num_frames: As for `check_frame_count`.

    Raises:
        AlignerError: Something is missing or damaged, or describes another clip.
    """
    if isinstance(aligner, ClipAware):
        aligner.set_clip(clip)
    aligner.prepare()
    check_frame_count(aligner, num_frames)


def check_frame_count(aligner: Aligner, num_frames: int | None) -> None:
    """Refuse landmarks of another clip before any work is done.

    Containers miscount by a frame or two, so a small difference is left to `Aligner.finish`, which
    is told what was really decoded.

    Args:
        aligner: Prepared.
        num_frames: Frames that the container says it has, if it does.

    Raises:
        AlignerError: The counts are far apart.
    """
    expected = aligner.expected_frames
    if expected is None or num_frames is None:
        return
    if abs(expected - num_frames) > max(2, num_frames // 50):
        aligner.finish(num_frames)


def valid_faces(
    candidates: Iterable[tuple[NDArray[np.floating], float]],
    frame_size: tuple[int, int],
    meshes: Iterable[NDArray[np.float32] | None] = (),
) -> list[Face]:
    """The candidates that are faces, largest first.

    Dropped are those that are not finite, that fall on one point, and that lie further outside the
    picture than it is large: none could be aligned.

    Args:
        candidates: Landmarks (68, 2) in frame pixels, with a confidence.
        frame_size: Width and height of the frame.
        meshes: Of each candidate, see `Face.mesh`; empty where the aligner has none.
    """
    faces = []
    for (landmarks, confidence), mesh in zip(candidates, chain(meshes, repeat(None)), strict=False):
        assert landmarks.shape == (NUM_LANDMARKS, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            points = np.ascontiguousarray(landmarks, dtype=np.float32)
        if not np.isfinite(points).all() or not _is_a_face(points, frame_size):
            continue
        score = float(confidence) if np.isfinite(confidence) else 0.0
        finite_mesh = mesh if mesh is not None and np.isfinite(mesh).all() else None
        faces.append(Face(points, min(max(score, 0.0), 1.0), mesh=finite_mesh))
    return sorted(faces, key=lambda face: face.area, reverse=True)


def _is_a_face(points: NDArray[np.float32], frame_size: tuple[int, int]) -> bool:
    size = np.array(frame_size, dtype=np.float64)
    middle = points.mean(axis=0, dtype=np.float64)
    if (middle < -_FURTHEST_OUTSIDE * size).any() or (
        middle > (1 + _FURTHEST_OUTSIDE) * size
    ).any():
        return False
    spread = np.linalg.norm(points - middle, axis=1)
    eyes = np.linalg.norm(points[36:48] - points[36:48].mean(axis=0), axis=1)
    # Eyes that coincide leave no rotation to align by, whatever the jaw does.
    return bool(np.sqrt((spread**2).mean()) >= _SMALLEST_SPREAD_PX and eyes.max() > 0.1)
