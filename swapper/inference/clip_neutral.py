"""Find a performer's neutral in the clip that is converted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from swapper.affect.neutral import Neutral, find_neutrals, neutral_embedding
from swapper.affect.space import AffectSpace
from swapper.estimators.base import Estimator
from swapper.faces.aligner import Aligner
from swapper.faces.crop import crop_face
from swapper.faces.person import PersonFollower
from swapper.faces.shape import Shapes, aligned_faces
from swapper.media.source import Footage
from swapper.types import Coverage, Face

log = logging.getLogger(__name__)

_NEUTRAL_FRAMES: Final = 200
"""Frames of a clip from which a performer's neutral is estimated."""
_MIN_FACES: Final = 20

Picture = NDArray[np.uint8]
Kept = TypeVar("Kept")


def estimate_neutral(
    footage: Footage,
    aligner: Aligner,
    estimator: Estimator,
    coverage: Coverage,
    side: int,
    follower: PersonFollower | None = None,
) -> NDArray[np.float32] | None:
    """Estimate the neutral embedding (D,) of a clip's performer, from frames spread over it.

    Args:
        footage: Not read yet; read to its end.
        aligner: Prepared.
        estimator: Reads the crops.
        coverage: Of the crops.
        side: Of the crops, in pixels.
        follower: Chooses the performer; None for the largest face.

    Returns:
        None where too few faces are found.
    """
    found = _spread_faces(
        footage,
        aligner,
        lambda image, face: crop_face(image, face.landmarks, side, coverage)[0],
        follower,
    )
    neutral = _neutral_of([face for _, face in found])
    if neutral is None:
        return None
    crops = np.stack([crop for crop, _ in found])
    return neutral_embedding(estimator.readings(crops, coverage), neutral.weights)


def find_clip_neutral(
    footage: Footage, aligner: Aligner, follower: PersonFollower | None = None
) -> Neutral | None:
    """Find the neutral shape of a clip's performer, as `estimate_neutral` does."""
    found = _spread_faces(footage, aligner, lambda *_: None, follower)
    return _neutral_of([face for _, face in found])


def _neutral_of(faces: list[Face]) -> Neutral | None:
    if len(faces) < _MIN_FACES:
        return None
    shapes = Shapes.of(aligned_faces(faces))
    neutral = find_neutrals({"performer": shapes})["performer"]
    log.info("performer: %s", neutral.describe())
    return neutral


def _spread_faces(
    footage: Footage,
    aligner: Aligner,
    keep: Callable[[Picture, Face], Kept],
    follower: PersonFollower | None,
) -> list[tuple[Kept, Face]]:
    """Return what `keep` makes of frames spread over the clip, and the faces it was given."""
    follower = follower or PersonFollower()
    stride = max(1, (footage.info.num_frames or 0) // _NEUTRAL_FRAMES)
    found: dict[int, tuple[Kept, Face]] = {}
    for frame in footage:
        passed_over = frame.index % stride > 0
        if passed_over and not follower.needs_every_frame:
            continue
        faces = follower(frame, aligner(frame))
        if passed_over or not faces:
            continue
        found[frame.index] = keep(frame.image, faces[0]), faces[0]
        if len(found) >= 2 * _NEUTRAL_FRAMES:
            # Not every container knows its length: thinned as it goes, they stay spread over all.
            stride *= 2
            found = {index: each for index, each in found.items() if index % stride == 0}
    return list(found.values())


def mean_neutral(space: AffectSpace) -> NDArray[np.float32]:
    """Return the mean of all identities' neutrals, for a performer without one."""
    mean: NDArray[np.float32] = np.mean(list(space.neutrals.values()), axis=0).astype(np.float32)
    return mean
