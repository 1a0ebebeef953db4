"""What the performer feels, frame by frame, as a model's decoders want it told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swapper.affect.estimator import Estimator, load_estimator
from swapper.affect.neutral import neutral_of
from swapper.affect.space import AffectSpace
from swapper.errors import ModelError, SwapperError, UsageError
from swapper.faces.aligners import Aligner
from swapper.faces.geometry import head_pose, similarity_from_landmarks, warp
from swapper.media.footage import Footage
from swapper.models.portable import LoadedModel
from swapper.options import FeelingOptions
from swapper.types import Coverage

log = logging.getLogger(__name__)

SIDE: Final = 160
"""Of the crops that are read, where the model does not say what it was trained with."""
_SAMPLE: Final = 200
"""Frames of a clip from which a performer's rest is found."""
_FEWEST: Final = 20

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Feeling:
    """Reads performers' faces and says what the decoder of an identity shall hear.

    Attributes:
        estimator: On the model's device; the one that the model was trained with.
        space: The model's.
        performer: Who acts: an identity of the model, or the neutral (D,) of someone else.
        identity: Whose face appears.
        coverage: Of the crops.
        side: Of the crops, in pixels.
        options: Strength and how relative.
    """

    estimator: Estimator
    space: AffectSpace
    performer: str | NDArray[np.float32]
    identity: str
    coverage: Coverage
    side: int
    options: FeelingOptions

    def codes(self, seen: list[Picture]) -> Tensor:
        """Affect codes (N, K) of crops, each (side, side, 3)."""
        embedding = self.estimator.read(np.stack(seen), self.coverage).embedding.numpy()
        return torch.from_numpy(
            self.space.code(embedding, self.performer, self.identity, self.options.relative)
        )


def space_of(model: LoadedModel) -> AffectSpace | None:
    """The affect space in a model file; None if its decoders hear nothing.

    Raises:
        ModelError: It is damaged, or not this model's.
    """
    summary = model.card.affect_space
    if summary is None or not model.net.code_dim:
        return None
    try:
        space = AffectSpace.restore(
            summary, {name: each.numpy() for name, each in model.affect_space.items()}
        )
    except ValueError as error:
        raise ModelError(f"{model.path}: {error}; restore the file") from error
    if space.dim != model.net.code_dim or set(model.net.identities) - set(space.neutrals):
        raise ModelError(f"{model.path}: its affect space is another model's; restore the file")
    return space


def feeling_of(
    model: LoadedModel,
    identity: str,
    options: FeelingOptions,
    make_estimator: Callable[[], Estimator | None],
    find_rest: Callable[[Estimator, int], NDArray[np.float32]],
    device: torch.device,
) -> Feeling | None:
    """What a model needs to hear of the performer; None if it hears nothing.

    Args:
        model: Loaded.
        identity: Whose face appears.
        options: Of the command line.
        make_estimator: The one named there; None to take the one that the model names.
        find_rest: Finds the neutral (D,) of a performer from the clip itself; given the estimator
            and the side of the crops to read.
        device: Where the estimator shall run.

    Raises:
        ModelError: The affect space is damaged.
        UsageError: The estimator is not the model's, or the performer unknown.
        EstimatorError: Its weights cannot be used.
    """
    space = space_of(model)
    if space is None:
        return None
    estimator = _estimator(space, make_estimator).to(device)
    side = model.card.aligned_size or max(SIDE, model.net.resolution)
    performer: str | NDArray[np.float32] = options.performer
    if options.performer not in ("", *space.neutrals):
        raise UsageError(
            f"affect.performer={options.performer}: the model knows "
            f"{', '.join(space.neutrals)}; leave it empty to find the performer's rest in the clip"
        )
    if not options.performer:
        performer = find_rest(estimator, side)
    return Feeling(estimator, space, performer, identity, model.card.coverage, side, options)


def _estimator(space: AffectSpace, make: Callable[[], Estimator | None]) -> Estimator:
    name = space.lineage.partition(":")[0]
    estimator = make()
    if estimator is None:
        try:
            estimator = load_estimator(name, "measuring")
        except (SwapperError, TypeError) as error:
            raise UsageError(
                f"the model was trained with affect={name}, which needs more to be loaded: pass "
                f"affect@estimator={name} and its settings ({' '.join(str(error).split())})"
            ) from error
    if estimator.lineage != space.lineage:
        raise UsageError(
            f"the model was trained with {space.lineage[:40]}..., this is "
            f"{estimator.lineage[:40]}...; pass the estimator with the same weights"
        )
    return estimator


def rest_in(
    footage: Footage, aligner: Aligner, estimator: Estimator, coverage: Coverage, side: int
) -> NDArray[np.float32] | None:
    """The neutral embedding (D,) of the largest face of a clip, from frames spread over it.

    Args:
        footage: Not read yet; read to its end.
        aligner: Prepared.
        estimator: Which reads.
        coverage: Of the crops.
        side: Of the crops, in pixels.

    Returns:
        None where too few faces are found to know how they rest.
    """
    stride = max(1, (footage.info.num_frames or 0) // _SAMPLE)
    crops: list[Picture] = []
    yaws: list[float] = []
    for frame in footage:
        if frame.index % stride or len(crops) >= 2 * _SAMPLE:
            continue
        faces = aligner(frame)
        if not faces:
            continue
        height, width = frame.image.shape[:2]
        landmarks = faces[0].landmarks
        yaws.append(head_pose(landmarks, (width, height))[0])
        crops.append(warp(frame.image, similarity_from_landmarks(landmarks, side, coverage), side))
    if len(crops) < _FEWEST:
        return None
    return neutral_of(estimator.readings(np.stack(crops), coverage), np.array(yaws))


def middle_rest(space: AffectSpace) -> NDArray[np.float32]:
    """The mean of all known people's neutrals: for a performer of whom nothing is known."""
    mean: NDArray[np.float32] = np.mean(list(space.neutrals.values()), axis=0).astype(np.float32)
    return mean
