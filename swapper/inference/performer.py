"""What conversion checks and learns of the performer's footage before it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError, UsageError
from swapper.estimators.base import Estimator
from swapper.faces.aligner import Aligner, opened
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.person import PersonFollower, Reference, make_follower
from swapper.inference.affect_conditioner import affect_space_of, region_amounts
from swapper.inference.clip_neutral import estimate_neutral, find_clip_neutral, mean_neutral
from swapper.inference.region_warp import RegionWarp
from swapper.media.source import Footage, open_footage
from swapper.media.video_reader import VideoReader
from swapper.models.model_file import LoadedModel
from swapper.options.verbs import ConvertOptions

log = logging.getLogger(__name__)

T = TypeVar("T")


def check_regions(options: ConvertOptions) -> None:
    """Refuse region dials that cannot work, before anything is read.

    Raises:
        UsageError: The dials would apply to several people.
    """
    if region_amounts(options.affect) and options.faces == "all":
        raise UsageError(
            "affect.regions: scale deviations from one performer's neutral; pass faces=largest"
        )


def check_range(footage: Footage) -> None:
    """Refuse HDR, whose range and mastering data a conversion would lose.

    Raises:
        MediaError: It is HDR.
    """
    if isinstance(footage, VideoReader) and footage.coded.hdr is not None:
        raise MediaError(
            f"{footage.path}: is HDR ({footage.coded.hdr}), whose range a swap cannot keep; make "
            "it SDR first: ffmpeg -i IN -vf zscale=t=linear:npl=203,tonemap=hable,"
            "zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p10 OUT"
        )


def follower_of(
    options: ConvertOptions, footage: Footage, reference: Reference | None
) -> PersonFollower | None:
    """Return what chooses the performer's face; None to take all faces.

    Raises:
        UsageError: The options do not fit each other, or pictures.
    """
    still = not isinstance(footage, VideoReader)
    return make_follower(options.faces, options.person, reference, still=still)


def shared_files(make_aligner: Callable[[], Aligner]) -> dict[str, dict[str, str]]:
    """Return the settings of estimators whose weights are in the aligner's file."""
    aligner = make_aligner()
    if isinstance(aligner, MediapipeAligner) and aligner.model:
        return {"mediapipe": {"weights": aligner.model}}
    return {}


def make_region_warp(
    options: ConvertOptions, make_aligner: Callable[[], Aligner], reference: Reference | None
) -> RegionWarp | None:
    """Prepare the region dials: find the performer's neutral in a first pass over the clip.

    Raises:
        UsageError: The clip has too few faces to find a neutral, or a region has no landmarks.
    """
    amounts = region_amounts(options.affect)
    if not amounts:
        return None
    neutral = _first_pass(options, make_aligner, reference, find_clip_neutral)
    if neutral is None:
        raise UsageError(
            f"affect.regions: {options.video} has too few faces to find the performer's neutral; "
            "drop the dials"
        )
    try:
        return RegionWarp(neutral.shape, amounts)
    except ValueError as error:
        raise UsageError(
            f"affect.regions: {error} by this aligner; pass aligner=mediapipe, or drop the dial"
        ) from error


def performer_neutral(
    options: ConvertOptions,
    model: LoadedModel,
    make_aligner: Callable[[], Aligner],
    reference: Reference | None,
    estimator: Estimator,
    side: int,
) -> NDArray[np.float32]:
    """Estimate the performer's neutral in a first pass over the clip."""
    estimate = partial(
        estimate_neutral, estimator=estimator, coverage=model.card.coverage, side=side
    )
    neutral = _first_pass(options, make_aligner, reference, estimate)
    if neutral is None:
        space = affect_space_of(model)
        assert space is not None
        log.warning(
            "%s: too few faces to estimate the performer's neutral; the mean of %s is taken. Pass "
            "affect.performer= if one of them performs",
            options.video,
            ", ".join(space.neutrals),
        )
        return mean_neutral(space)
    return neutral


def _first_pass(
    options: ConvertOptions,
    make_aligner: Callable[[], Aligner],
    reference: Reference | None,
    estimate: Callable[..., T],
) -> T:
    with (
        open_footage(options.video) as footage,
        opened(make_aligner(), footage.info.path, footage.info.num_frames) as aligner,
    ):
        return estimate(footage, aligner, follower=follower_of(options, footage, reference))
