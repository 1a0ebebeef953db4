"""The protocol of aligners, and checks that they share.

An aligner finds the faces of a frame and their 68 landmarks. The config selects one; all other code
uses only this protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.types import NUM_LANDMARKS, Face

# RMS distance of landmarks from their mean, in pixels, below which there is no face.
_SMALLEST_SPREAD_PX = 1.0
# Landmarks further outside the frame than this many frame sizes are a tracking failure.
_FURTHEST_OUTSIDE = 1.0


class FrameLike(Protocol):
    """The part of a frame that aligners need."""

    @property
    def index(self) -> int:
        """Frame number, from 0."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, upright."""


class Aligner(Protocol):
    """Finds faces and their landmarks, frame by frame, in order.

    Constructors only store settings. `prepare` loads weights or files; the first call does so if
    needed.
    """

    @property
    def name(self) -> str:
        """Short name, as in the configuration."""

    @property
    def fingerprint(self) -> str:
        """Name and settings, for the faceset's metadata; equal for equal results."""

    @property
    def expected_frames(self) -> int | None:
        """Number of frames that the clip must have, if known; may read a file."""

    def prepare(self) -> None:
        """Load weights or landmarks.

        Raises:
            AlignerError: Something is missing or damaged.
        """

    def __call__(self, frame: FrameLike) -> list[Face]:
        """Return the faces of the frame, largest first; empty if there are none.

        Raises:
            AlignerError: As `prepare`.
        """

    def finish(self, num_frames: int) -> None:
        """Finish a clip after `num_frames` frames.

        Raises:
            AlignerError: The aligner's landmarks are of another clip.
        """

    def close(self) -> None:
        """Release files and memory; may be called twice."""


@runtime_checkable
class ClipAware(Protocol):
    """An aligner with input per clip."""

    def set_clip(self, clip: Path) -> None:
        """Set the clip of the next frames; call before `Aligner.prepare`."""


def check_num_faces(aligner: Aligner, faces: str, person: str = "") -> None:
    """Refuse a choice of faces with an aligner that is set to find one face a frame.

    Raises:
        UsageError: Names the option to raise.
    """
    if (faces == "all" or person) and getattr(aligner, "max_faces", None) == 1:
        option = f"person={person}" if person else "faces=all"
        raise UsageError(
            f"{option}: aligner={aligner.name} is set to find one face a frame; pass "
            "aligner.max_faces=N as well"
        )


@contextmanager
def opened(aligner: Aligner, clip: Path, num_frames: int | None) -> Iterator[Aligner]:
    """Prepare an aligner for a clip, check that its landmarks fit, and close it at the end.

    Args:
        aligner: Not yet prepared for another clip.
        clip: The file, or the folder of pictures.
        num_frames: See `check_frame_count`.

    Raises:
        AlignerError: A file is missing, damaged or of another clip.
    """
    try:
        if isinstance(aligner, ClipAware):
            aligner.set_clip(clip)
        aligner.prepare()
        check_frame_count(aligner, num_frames)
        yield aligner
    finally:
        aligner.close()


def check_frame_count(aligner: Aligner, num_frames: int | None) -> None:
    """Check the frame count of the landmarks before any work is done.

    `num_frames` is that of the container, if it has one. Containers miscount by a frame or two, so
    a small difference is left to `Aligner.finish`, which gets the number of decoded frames.

    Raises:
        AlignerError: The counts differ by more than 2 % and more than 2 frames.
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
    blendshapes: Iterable[Mapping[str, float] | None] = (),
) -> list[Face]:
    """Return the valid candidates, largest first.

    Drops candidates that are not finite, coincide in one point, or lie further outside the frame
    than its size: they cannot be aligned.

    Args:
        candidates: Landmarks (68, 2) in frame pixels, with a confidence.
        frame_size: Width and height of the frame.
        meshes: Mesh of each candidate, see `Face.mesh`; empty if the aligner has none.
        blendshapes: Of each candidate, see `Face.blendshapes`; likewise.
    """
    faces = []
    rows = zip(
        candidates, chain(meshes, repeat(None)), chain(blendshapes, repeat(None)), strict=False
    )
    for (landmarks, confidence), mesh, shapes in rows:
        assert landmarks.shape == (NUM_LANDMARKS, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            points = np.ascontiguousarray(landmarks, dtype=np.float32)
        if not np.isfinite(points).all() or not _is_a_face(points, frame_size):
            continue
        score = float(confidence) if np.isfinite(confidence) else 0.0
        finite = mesh if mesh is not None and np.isfinite(mesh).all() else None
        faces.append(Face(points, min(max(score, 0.0), 1.0), mesh=finite, blendshapes=shapes))
    return sorted(faces, key=lambda face: face.area, reverse=True)


def _is_a_face(points: NDArray[np.float32], frame_size: tuple[int, int]) -> bool:
    size = np.array(frame_size, dtype=np.float64)
    middle = points.mean(axis=0, dtype=np.float64)
    furthest = _FURTHEST_OUTSIDE * size
    if (middle < -furthest).any() or (middle > size + furthest).any():
        return False
    spread = np.linalg.norm(points - middle, axis=1)
    eyes = np.linalg.norm(points[36:48] - points[36:48].mean(axis=0), axis=1)
    # Without distinct eyes the rotation is undefined.
    return bool(np.sqrt((spread**2).mean()) >= _SMALLEST_SPREAD_PX and eyes.max() > 0.1)
