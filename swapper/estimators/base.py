"""A frozen network that says what a face seems to feel.

Every estimator is one `Estimator`: a `Preprocess` that cuts what the network wants to see out of an
aligned crop, and a network that answers an `AffectBatch`. Adding one means to write that network
and a function that loads it, and to name it in `ESTIMATORS`.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swapper.errors import UsageError
from swapper.estimators.preprocess import Preprocess
from swapper.types import Coverage, Readings

ESTIMATORS: Final[Mapping[str, str]] = {
    "actors": "swapper.estimators.actors_net",
    "judge": "swapper.estimators.judge_net",
    "xception": "swapper.estimators.xception",
    "emotieff": "swapper.estimators.emotieff",
    "torchvision": "swapper.estimators.torchvision",
}
"""Name of each estimator and the module whose ``load()`` makes it."""

Purpose = Literal["training", "measuring"]


@dataclass(frozen=True, slots=True, eq=False)
class AffectBatch:
    """What an estimator says of N faces; None where it has no opinion of that kind.

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
        """The same in main memory, as float32, without a gradient."""
        return replace(
            self, **{name: value.detach().float().cpu() for name, value in _present(self).items()}
        )


def _present(batch: AffectBatch) -> dict[str, Tensor]:
    values = {each.name: getattr(batch, each.name) for each in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}


class Estimator(nn.Module):
    """A network that has learnt, and learns no more.

    Freezing turns its weights into buffers that are not saved: it moves with the module that holds
    it, and has nothing that an optimiser, an average of weights or a checkpoint could take up.
    Gradients pass through to the faces. It answers in its own precision, also under autocast, and
    stays in evaluation mode.

    Args:
        name: By which configs and model files know it.
        view: What of an aligned crop the network sees.
        net: (N, C, h, w) from `view` to an `AffectBatch`; its weights loaded. Taken over.
        labels: Names of its classes, in the order of the logits.
        units: Numbers of its action units, in the order of their columns.
        measuring_only: Whether it must never guide a training, so that it can judge the result.
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
        """How a model file names an estimator that it was trained or selected with."""
        return f"{self.name}:{self.fingerprint}"

    @property
    def look(self) -> str:
        """Hex sha256 of how it looks at a crop: window, size, normalisation; no weights tell."""
        means, deviations = (
            tuple(round(float(each), 6) for each in part.flatten())
            for part in (self.view.mean, self.view.std)
        )
        says = (self.view.window, tuple(self.view.size), means, deviations)
        return hashlib.sha256(repr(says).encode()).hexdigest()

    def forward(self, faces: Tensor, coverage: Coverage = "face") -> AffectBatch:
        """Read faces; differentiable.

        Args:
            faces: (N, 3, S, S) RGB in [0, 1], aligned, of any size.
            coverage: How much of the head they show.

        Raises:
            ValueError: `faces` is no such batch.
        """
        if faces.ndim != 4 or faces.shape[1] != 3 or not faces.is_floating_point():
            raise ValueError(
                f"faces must be (N, 3, S, S) in [0, 1], got {faces.dtype} {tuple(faces.shape)}"
            )
        with torch.autocast(faces.device.type, enabled=False):
            answer: AffectBatch = self.net(self.view(faces.to(self.view.mean.dtype), coverage))
        return answer

    @torch.inference_mode()
    def read(
        self, pictures: NDArray[np.uint8], coverage: Coverage = "face", batch_size: int = 64
    ) -> AffectBatch:
        """Read pictures without a gradient, some at a time.

        Args:
            pictures: (N, S, S, 3) uint8 RGB, N >= 1, aligned.
            coverage: How much of the head they show.
            batch_size: Pictures a pass.

        Returns:
            Tensors in main memory.

        Raises:
            ValueError: `pictures` is no such array.
        """
        if pictures.ndim != 4 or 0 in pictures.shape or pictures.dtype != np.uint8:
            raise ValueError(
                f"pictures must be uint8 (N, S, S, 3), got {pictures.dtype} {pictures.shape}"
            )
        parts = []
        for first in range(0, len(pictures), batch_size):
            some = torch.from_numpy(np.ascontiguousarray(pictures[first : first + batch_size]))
            faces = some.to(self.view.mean.device).permute(0, 3, 1, 2).to(self.view.mean.dtype)
            parts.append(_present(self(faces / 255, coverage).cpu()))
        return AffectBatch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def readings(
        self, pictures: NDArray[np.uint8], coverage: Coverage = "face", batch_size: int = 64
    ) -> Readings:
        """Read pictures as plain arrays, to be kept; arguments as `read`."""
        found = self.read(pictures, coverage, batch_size)
        shares = found.probabilities

        def plain(value: Tensor | None) -> NDArray[np.float32] | None:
            return None if value is None else value.numpy()

        return Readings(
            lineage=self.lineage,
            labels=self.labels,
            units=self.units,
            embedding=found.embedding.numpy(),
            probabilities=plain(shares),
            valence=plain(found.valence),
            arousal=plain(found.arousal),
            intensities=plain(found.units),
        )

    def train(self, mode: bool = True) -> Estimator:
        """Nothing: whoever trains the module around it leaves it evaluating."""
        super().train(False)
        return self


def _frozen(net: nn.Module) -> nn.Module:
    """`net` with every weight and buffer as a buffer that is not saved."""
    for module in net.modules():
        weights = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, value in weights:
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=False)
        if isinstance(module, nn.modules.batchnorm._NormBase):
            # Or it asks every state that is loaded around it for its counter of batches.
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
    """The estimator of that name, with the weights that swapper brings or knows how to fetch.

    Args:
        name: One of `ESTIMATORS`.
        purpose: Whether it will guide a training or only measure.
        settings: Of its module's ``load()``, such as ``weights``.

    Raises:
        UsageError: There is none, or it must not guide a training.
        EstimatorError: Its weights cannot be used.
    """
    if name not in ESTIMATORS:
        raise UsageError(f"affect={name}: no such estimator, choose from {', '.join(ESTIMATORS)}")
    estimator: Estimator = importlib.import_module(ESTIMATORS[name]).load(**settings)
    if purpose == "training":
        refuse_judges(estimator)
    return estimator


def refuse_judges(estimator: Estimator) -> None:
    """Hold a training to estimators that do not measure it later.

    Raises:
        UsageError: It is kept for measuring.
    """
    if estimator.measuring_only:
        free = ", ".join(name for name in ESTIMATORS if name != estimator.name)
        raise UsageError(
            f"affect={estimator.name}: kept for measuring what others have trained; train with one "
            f"of {free}"
        )
