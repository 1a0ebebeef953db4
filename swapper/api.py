"""Python API of ``import swapper``: load a model, swap faces in a picture, evaluate a swap.

For clips use `swapper.convert.convert`, which smooths crops over time, estimates the performer's
neutral, keeps sound and colour, and signs what it writes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from swapper.affect.space import AffectSpace
from swapper.devices import pick_device
from swapper.errors import UsageError
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator
from swapper.faces.aligner import Aligner
from swapper.faces.compositing import mask_in_frame
from swapper.faces.geometry import similarity_from_landmarks
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.recognition import Recogniser
from swapper.inference.affect_conditioner import (
    AffectConditioner,
    affect_space_of,
    make_conditioner,
    region_amounts,
)
from swapper.inference.clip_neutral import mean_neutral
from swapper.inference.face_swapper import FaceSwapper
from swapper.media.video_reader import Frame
from swapper.models.model_file import LoadedModel
from swapper.models.model_file import load_model as read_model
from swapper.options.fields import check_option
from swapper.options.groups import AffectOptions, BlendOptions
from swapper.options.verbs import EvaluateOptions
from swapper.report.content import Report
from swapper.types import Face

__all__ = [
    "AffectOptions",
    "BlendOptions",
    "Model",
    "Report",
    "SwappedFrame",
    "evaluate_swap",
    "load_model",
    "swap_frame",
]

FaceSelection = Literal["largest", "all"]
_MIN_SIDE: Final = 16


@dataclass(frozen=True, eq=False)
class SwappedFrame:
    """Result of swapping the faces of a picture.

    Attributes:
        frame: (H, W, 3) uint8 RGB. Where `blend_mask` is 0 pixels are unchanged.
        blend_mask: (H, W) float32 in [0, 1], the share of the swap in each pixel.
        faces: Swapped faces, largest first; empty if none was detected.
    """

    frame: NDArray[np.uint8]
    blend_mask: NDArray[np.float32]
    faces: tuple[Face, ...]


class Model:
    """A trained model, ready to swap; `load_model` makes it.

    Args:
        loaded: ``loaded.net`` is the torch module, ``loaded.card`` what the file says. Kept, like
            `device` and `precision`, as an attribute.
        device: Where the network is and runs.
        precision: "auto" (bf16 on CUDA, else 32), "bf16", "16" or "32".
        estimator: For performers' affect; None to take the one that the model names.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: torch.device,
        precision: str = "auto",
        estimator: Estimator | None = None,
    ) -> None:
        self.loaded = loaded
        self.device = device
        self.precision = precision
        self._estimator = estimator

    def __repr__(self) -> str:
        names = ", ".join(self.identities)
        return f"Model({self.loaded.net.name}, {self.resolution} px, {names}, on {self.device})"

    @property
    def identities(self) -> tuple[str, ...]:
        """Names of the identities."""
        return self.loaded.net.identities

    @property
    def resolution(self) -> int:
        """Side of the output in pixels."""
        return self.loaded.net.resolution

    @property
    def has_affect(self) -> bool:
        """Whether its decoders are conditioned on the performer's affect."""
        return self._affect_space is not None

    @functools.cached_property
    def _affect_space(self) -> AffectSpace | None:
        return affect_space_of(self.loaded)  # restored and checked once, not for every picture

    @property
    def step(self) -> int:
        """Number of training steps."""
        return self.loaded.card.step

    @property
    def sha256(self) -> str:
        """Of the weights file, hex."""
        return self.loaded.sha256

    def rights(self, identity: str) -> str:
        """Return the rights statement of an identity, as given at extraction.

        Raises:
            ModelError: The model does not know the identity.
        """
        return self.loaded.identity(identity).rights

    def conditioner(self, identity: str, options: AffectOptions) -> AffectConditioner | None:
        """Return the affect conditioner for an identity; None if the model is not conditioned.

        Without ``options.performer`` the mean neutral of the model's identities is taken as the
        performer's, which a single picture does not show.

        Raises:
            SwapperError: As `swap_frame`.
        """
        if region_amounts(options):
            raise UsageError(
                "affect.regions: scale deviations from the performer's neutral, which one picture "
                "does not show; use swapper convert on a clip"
            )
        space = self._affect_space
        conditioner = make_conditioner(
            self.loaded,
            identity,
            options,
            lambda: self._estimator,
            lambda *_: mean_neutral(space) if space else np.zeros(0, np.float32),
            self.device,
            space,
        )
        if conditioner is not None:
            self._estimator = conditioner.estimator  # loading it for every picture is slow
        return conditioner


def load_model(
    path: str | Path,
    device: str = "auto",
    *,
    precision: Literal["auto", "bf16", "16", "32"] = "auto",
    estimator: Estimator | None = None,
) -> Model:
    """Load a trained model.

    Args:
        path: A run's folder, an export's, or a ``model.safetensors`` beside its ``model.json``.
        device: "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda", "cuda:1", "mps".
        precision: Of the network: "auto" is bf16 on CUDA, else float32.
        estimator: For a model that is conditioned on affect; required where the model's own
            needs more than its name to be loaded, as emotieff does. See
            `swapper.estimators.base.load_estimator`.

    Raises:
        ModelError: A file is missing, damaged or not a model.
        UsageError: No such device.
        ValueError: `precision` is invalid.
    """
    if precision not in ("auto", "bf16", "16", "32"):
        raise ValueError(f"precision must be auto, bf16, 16 or 32, got {precision!r}")
    where = pick_device(device)
    return Model(read_model(Path(path), where), where, precision, estimator)


def swap_frame(
    model: Model,
    frame: NDArray[np.uint8],
    identity: str,
    landmarks: NDArray[np.floating] | None = None,
    *,
    aligner: Aligner | None = None,
    faces: FaceSelection = "largest",
    affect: AffectOptions | None = None,
    blend: BlendOptions | None = None,
) -> SwappedFrame:
    """Swap the performer's face in one picture for an identity's.

    The result carries no provenance: mark what you publish.

    Args:
        model: From `load_model`.
        frame: (H, W, 3) uint8 RGB, upright; not changed.
        identity: Whose face appears, one of ``model.identities``.
        landmarks: (68, 2) of the face to swap, x y in pixels, iBUG order, pixel centres at
            integers; None to detect faces with `aligner`.
        aligner: Detects faces where no landmarks are given; None takes `fan`, loaded once, which
            downloads its weights the first time.
        faces: Which of the detected faces to swap.
        affect: As ``swapper convert affect.*``; no effect on a model without affect codes.
        blend: Compositing options.

    Returns:
        The new picture, the blend mask and the swapped faces.

    Raises:
        ModelError: The model does not know the identity.
        UsageError: An option is out of range, or not supported by the model.
        AlignerError: The aligner's weights cannot be used.
        EstimatorError: The weights of the model's estimator cannot be used.
        ValueError: `frame` or `landmarks` has another shape or dtype, or `faces` is invalid.
    """
    picture = _checked_frame(frame)
    if faces not in get_args(FaceSelection):
        raise ValueError(f"faces must be largest or all, got {faces!r}")
    blend, affect = blend or BlendOptions(), affect or AffectOptions()
    check_option(affect)
    check_option(blend)
    model.loaded.identity(identity)
    conditioner = model.conditioner(identity, affect)
    picture_frame = Frame.of(picture)
    detected = (
        [Face(_checked_landmarks(landmarks))]
        if landmarks is not None
        else (aligner or _own_aligner())(picture_frame)
    )
    swapper = FaceSwapper(model.loaded, identity, blend, model.device, model.precision, conditioner)
    return _paste_faces(swapper, picture_frame, detected[:1] if faces == "largest" else detected)


def evaluate_swap(
    performer: str | Path,
    swap: str | Path,
    *,
    truth: str | Path | None = None,
    model: str | Path | None = None,
    output: str | Path | None = None,
    make_aligner: Callable[[], Aligner] | None = None,
    estimator: Estimator | AutoEstimator | None = None,
    self_swap: str | Path | None = None,
    identity: str | Path | None = None,
    recogniser: Recogniser | None = None,
    ceiling: bool = True,
    device: str = "auto",
) -> Report:
    """Evaluate how well a swap preserves the performer's expression, as ``swapper evaluate``.

    Estimators that took part in the model's training are not used.

    Args:
        performer: The clip that was converted.
        swap: The converted clip, with as many frames.
        truth: Ground truth, where there is one.
        model: Run folder or model file that made the swap; its lineage is checked.
        output: Folder for report.html and report.json; None writes nothing.
        make_aligner: Called for each clip; None takes MediaPipe, which reads 52 blendshapes too.
        estimator: Of emotions, and of action units where it has them; None for none. See
            `swapper.estimators.base.load_estimator`, whose purpose is "measuring" here, and
            `swapper.estimators.auto.AutoEstimator`, which chooses one as the command does.
        self_swap: The performer reconstructed by the same model.
        identity: Faceset of the identity; needs `recogniser`.
        recogniser: Measures whose face appears, such as
            `swapper.faces.recognition_dlib.DlibRecogniser`; None for none.
        ceiling: Whether to read the re-encoded performer as well, as the upper bound.
        device: Of the estimator.

    Returns:
        The report; ``report.to_dict()`` is the content of report.json.

    Raises:
        SwapperError: In one line; the subclass names the kind.
    """
    from swapper.evaluate import build_report, evaluate

    options = EvaluateOptions(
        performer=str(performer),
        swap=str(swap),
        truth="" if truth is None else str(truth),
        identity="" if identity is None else str(identity),
        model="" if model is None else str(model),
        output="" if output is None else str(output),
        overwrite=True,
        ceiling=ceiling,
        self_swap="" if self_swap is None else str(self_swap),
        device=device,
    )
    judge = build_report if output is None else evaluate
    return judge(options, make_aligner or MediapipeAligner, lambda: estimator, lambda: recogniser)


def _paste_faces(swapper: FaceSwapper, frame: Frame, faces: list[Face]) -> SwappedFrame:
    """Swap `faces` and composite them into the frame, one after another."""
    size, coverage = swapper.size, swapper.model.card.coverage
    placed = [
        swapper.crop(frame, face, similarity_from_landmarks(face.landmarks, size, coverage))
        for face in faces
    ]
    picture = frame.image
    height, width = picture.shape[:2]
    covered = np.zeros((height, width), np.float32)
    for face, (swap, mask) in zip(placed, swapper.swap(placed), strict=True):
        picture, _, blend_mask = swapper.paste(picture, face, swap, mask)
        part = mask_in_frame(blend_mask, face.aligned_from_frame, (width, height))
        np.maximum(covered, part, out=covered)
    return SwappedFrame(picture, covered, tuple(faces))


def _checked_frame(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a contiguous copy of the caller's picture."""
    frame = np.asarray(frame)  # any other type fails on its dtype
    if frame.dtype != np.uint8 or frame.ndim != 3:
        raise ValueError(f"frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
    if frame.shape[2] != 3 or min(frame.shape[:2]) < _MIN_SIDE:
        raise ValueError(
            f"frame must be (H, W, 3) of {_MIN_SIDE} pixels or more a side, got {frame.shape}"
        )
    return np.array(frame, order="C")


def _checked_landmarks(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    points = np.ascontiguousarray(landmarks, np.float32)
    similarity_from_landmarks(points, _MIN_SIDE, "face")  # refuses what cannot be aligned
    return points


@functools.cache
def _own_aligner() -> Aligner:
    from swapper.faces.fan import FanAligner

    return FanAligner()
