"""Frozen networks that estimate the affect of faces.

Every estimator is an `Estimator`: a `Preprocess` that cuts the network's input out of an aligned
crop, and a network that returns an `AffectBatch`. To add one, write the network and a ``load()``
function, and register its module in `ESTIMATORS`.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swapper.errors import EstimatorError, UsageError
from swapper.estimators.preprocess import Preprocess
from swapper.types import Coverage, Readings

ESTIMATORS: Final[Mapping[str, str]] = {
    "mediapipe": "swapper.estimators.blendshapes",
    "actors": "swapper.estimators.actors_net",
    "judge": "swapper.estimators.judge_net",
    "xception": "swapper.estimators.xception",
    "emotieff": "swapper.estimators.emotieff",
    "torchvision": "swapper.estimators.torchvision",
}
"""Name of each estimator and the module whose ``load()`` returns it."""

log = logging.getLogger(__name__)

Purpose = Literal["training", "measuring"]


@dataclass(frozen=True, slots=True, eq=False)
class AffectBatch:
    """An estimator's outputs for N faces; None for outputs that it does not have.

    Attributes:
        embedding: (N, D), penultimate features.
        logits: (N, C), C the estimator's labels.
        valence: (N,) in [-1, 1], unpleasant to pleasant.
        arousal: (N,) in [-1, 1], calm to excited.
        units: (N, U) intensities of the estimator's action units, each the mean of both sides;
            0 at rest, 1 at most.
        asymmetry: (N, U), how much stronger a unit is on the person's left than on the right.
    """

    embedding: Tensor
    logits: Tensor | None = None
    valence: Tensor | None = None
    arousal: Tensor | None = None
    units: Tensor | None = None
    asymmetry: Tensor | None = None

    @property
    def probabilities(self) -> Tensor | None:
        """(N, C), summing to 1."""
        return None if self.logits is None else self.logits.softmax(dim=1)

    def cpu(self) -> AffectBatch:
        """Return the batch on the CPU, as float32, detached."""
        return replace(
            self, **{name: value.detach().float().cpu() for name, value in _present(self).items()}
        )


def _present(batch: AffectBatch) -> dict[str, Tensor]:
    values = {each.name: getattr(batch, each.name) for each in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}


class Estimator(nn.Module):
    """A frozen network with its preprocessing.

    Freezing turns its weights into non-persistent buffers: it moves with the module that holds it,
    and no optimiser, weight averaging or checkpoint includes them. Gradients pass through to the
    faces. It runs in its own precision, also under autocast, and stays in evaluation mode.

    Args:
        name: In configs and model files.
        view: Preprocessing of aligned crops.
        net: From `view`'s (N, C, h, w) to an `AffectBatch`; its weights loaded. Modified.
        labels: Names of its classes, in the order of the logits.
        units: Numbers of its action units, in the order of their columns.
        measuring_only: Whether it must not be used in training, so that it can evaluate the result.
    """

    def __init__(
        self,
        name: str,
        view: Preprocess,
        net: nn.Module,
        *,
        labels: Sequence[str] = (),
        units: Sequence[int] = (),
        measuring_only: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.labels = tuple(labels)
        self.units = tuple(units)
        self.measuring_only = measuring_only
        self.fingerprint = fingerprint(net)
        """Hex sha256 of the weights."""
        self.view = view
        self.net = _frozen(net)
        self.train(False)

    @property
    def lineage(self) -> str:
        """Name and fingerprint, "name:sha256", as stored in the lineage of model files."""
        return f"{self.name}:{self.fingerprint}"

    @property
    def preprocessing_hash(self) -> str:
        """Hex sha256 of the preprocessing: window, size, normalisation; weights do not cover it."""
        means, deviations = (
            tuple(round(float(each), 6) for each in part.flatten())
            for part in (self.view.mean, self.view.std)
        )
        description = (self.view.window, tuple(self.view.size), means, deviations)
        return hashlib.sha256(repr(description).encode()).hexdigest()

    def forward(self, faces: Tensor, coverage: Coverage = "face") -> AffectBatch:
        """Predict affect of faces; differentiable.

        Args:
            faces: (N, 3, S, S) RGB in [0, 1], aligned, of any size.
            coverage: How much of the head they show.

        Raises:
            ValueError: `faces` has another shape or dtype.
        """
        if faces.ndim != 4 or faces.shape[1] != 3 or not faces.is_floating_point():
            raise ValueError(
                f"faces must be (N, 3, S, S) in [0, 1], got {faces.dtype} {tuple(faces.shape)}"
            )
        with torch.autocast(faces.device.type, enabled=False):
            affect: AffectBatch = self.net(self.view(faces.to(self.view.mean.dtype), coverage))
        return affect

    @torch.inference_mode()
    def read(
        self, pictures: NDArray[np.uint8], coverage: Coverage = "face", batch_size: int = 64
    ) -> AffectBatch:
        """Predict affect of pictures in batches, without a gradient.

        Args:
            pictures: (N, S, S, 3) uint8 RGB, N >= 1, aligned.
            coverage: How much of the head they show.
            batch_size: Pictures per batch.

        Returns:
            Tensors on the CPU.

        Raises:
            ValueError: `pictures` has another shape or dtype.
        """
        if pictures.ndim != 4 or 0 in pictures.shape or pictures.dtype != np.uint8:
            raise ValueError(
                f"pictures must be uint8 (N, S, S, 3), got {pictures.dtype} {pictures.shape}"
            )
        parts = []
        for first in range(0, len(pictures), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(pictures[first : first + batch_size]))
            faces = batch.to(self.view.mean.device).permute(0, 3, 1, 2).to(self.view.mean.dtype)
            parts.append(_present(self(faces / 255, coverage).cpu()))
        return AffectBatch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def readings(
        self, pictures: NDArray[np.uint8], coverage: Coverage = "face", batch_size: int = 64
    ) -> Readings:
        """Predict affect of pictures as arrays; arguments as `read`."""
        read = self.read(pictures, coverage, batch_size)
        optional = {
            "probabilities": read.probabilities,
            "valence": read.valence,
            "arousal": read.arousal,
            "intensities": read.units,
        }
        arrays = {name: each.numpy() for name, each in optional.items() if each is not None}
        return Readings(self.lineage, self.labels, self.units, read.embedding.numpy(), **arrays)

    def train(self, mode: bool = True) -> Estimator:
        """No effect: it stays in evaluation mode when a parent module is trained."""
        super().train(False)
        return self


def _frozen(net: nn.Module) -> nn.Module:
    """Return `net` with every weight and buffer as a non-persistent buffer."""
    for module in net.modules():
        weights = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, value in weights:
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=False)
        if isinstance(module, nn.modules.batchnorm._NormBase):
            # Else loading a parent's state dict requires its num_batches_tracked.
            module.track_running_stats = False
    return net


def fingerprint(net: nn.Module) -> str:
    """Hex sha256 of a network's weights by name, shape and value, however they are stored."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        if value.is_floating_point():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_estimator(name: str, purpose: Purpose, **settings: Any) -> Estimator:
    """Load an estimator by name, with bundled or downloaded weights.

    Args:
        name: One of `ESTIMATORS`.
        purpose: Whether it is used in training or only for measuring.
        settings: Of its module's ``load()``, such as ``weights``.

    Raises:
        UsageError: Unknown name, or it must not be used in training.
        EstimatorError: Its weights cannot be used.
    """
    if name not in ESTIMATORS:
        raise UsageError(f"affect={name}: no such estimator, choose from {', '.join(ESTIMATORS)}")
    estimator: Estimator = importlib.import_module(ESTIMATORS[name]).load(**settings)
    if purpose == "training":
        refuse_measuring_only(estimator)
    return estimator


def load_default(weights: str | None = None) -> Estimator | None:
    """Load the estimator for real footage, ``mediapipe``; None with a warning if that fails.

    Args:
        weights: Its file, see `swapper.estimators.blendshapes.load`.
    """
    try:
        return load_estimator("mediapipe", "training", weights=weights)
    except EstimatorError as error:
        log.warning("affect is not read: %s", error)
        return None


def refuse_measuring_only(estimator: Estimator) -> None:
    """Raise a UsageError for an estimator that is reserved for measuring."""
    if estimator.measuring_only:
        others = ", ".join(name for name in ESTIMATORS if name != estimator.name)
        raise UsageError(
            f"affect={estimator.name}: reserved for measuring; train with one of {others}"
        )
