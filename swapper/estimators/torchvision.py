"""``affect=torchvision``: any of torchvision's classifiers, by config alone.

    affect=torchvision affect.arch=resnet18 affect.weights=mine.pth affect.labels=[calm,glad,cross]

The weights are a state dict that ``torch.save`` wrote, read with ``weights_only=True``, or
safetensors. The input of the last linear layer is the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from swapper.downloads import require_file
from swapper.errors import EstimatorError, UsageError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.weights_file import blank, fill
from swapper.files import one_line

_MAX_BYTES: Final = 2 << 30
_WRAPPINGS: Final = ("state_dict", "model_state_dict", "model")
"""Keys under which trainers keep the weights in their checkpoints."""


class Classifier(nn.Module):
    """A classifier cut before its last linear layer.

    Args:
        net: From pictures to logits; modified.
        classes: How many.

    Raises:
        ValueError: It does not end in a linear layer.
    """

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        linear = [
            (name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)
        ]
        if not linear or linear[-1][1].out_features != classes:
            raise ValueError("does not end in a linear layer")
        name, self.head = linear[-1]
        where, _, last = name.rpartition(".")
        setattr(net.get_submodule(where), last, nn.Identity())
        self.body = net

    def forward(self, x: Tensor) -> AffectBatch:
        """Predict from (N, 3, size, size), normalised."""
        embedding = self.body(x)
        return AffectBatch(embedding, self.head(embedding))


def load(
    arch: str,
    weights: str | Path,
    labels: Sequence[str],
    size: int = 224,
    window: Sequence[float] = (-75.0, -60.0, 75.0, 110.0),
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
) -> Estimator:
    """Load the estimator with its weights.

    Args:
        arch: torchvision's name of the classifier, such as ``resnet18``.
        weights: Path of its state dict, ``.pth`` or ``.safetensors``.
        labels: Names of its classes, in the order of its outputs.
        size: Side of the picture that it takes, in pixels.
        window: Left, top, right and bottom of what it sees of a face, in millimetres from between
            the eyes of an average one.
        mean: Of red, green and blue in [0, 1], subtracted; or of grey.
        std: Of each, divided by.

    Raises:
        UsageError: The architecture, the labels or the window are not valid.
        EstimatorError: The weights cannot be used.
    """
    available = models.list_models(module=models)
    if arch not in available:
        raise UsageError(f"affect.arch={arch}: choose from {', '.join(available)}")
    # A string is a sequence of strings too, and would pass for one class a letter.
    names = [] if isinstance(labels, str) else [str(label) for label in labels]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"affect.labels={labels}: must be two or more different names")
    if len(window) != 4:
        raise UsageError(f"affect.window={list(window)}: must be [left, top, right, bottom] in mm")
    try:
        view = Preprocess(Window(*window), (size, size), mean, std)
    except ValueError as error:
        raise UsageError(f"affect=torchvision: {error}") from error
    path = require_file(weights, "affect.weights", EstimatorError)
    tensors = _tensors(path)
    whole = blank(lambda: models.get_model(arch, weights=None, num_classes=len(names)))
    fill(whole, tensors, path, f"{arch} with {len(names)} classes")
    try:
        net = Classifier(whole, len(names))
    except ValueError as error:
        raise UsageError(f"affect.arch={arch}: {error}; choose another") from error
    return Estimator("torchvision", view, net, labels=names)


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict; the file is not trusted, and an EstimatorError if it holds none."""
    if path.stat().st_size > _MAX_BYTES:
        raise EstimatorError(f"{path}: larger than 2 GiB; no classifier is")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise EstimatorError(f"{path}: no usable safetensors ({one_line(error)})") from error
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # which, depends on where the file is damaged
        raise EstimatorError(
            f"{path}: no state dict that can be read safely ({one_line(error)}); save "
            "net.state_dict() or safetensors"
        ) from error
    for key in _WRAPPINGS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise EstimatorError(f"{path}: holds no state dict; save net.state_dict()")
    # What DataParallel puts before each name.
    return {name.removeprefix("module."): value for name, value in loaded.items()}
