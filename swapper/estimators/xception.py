"""``affect=xception``: mini-XCEPTION, 58 thousand weights trained on FER2013.

Octavio Arriaga's network (https://github.com/oarriaga/face_classification, MIT), read from the
Keras file that he published; FER2013's pictures are faces found on the web, for research. It is
small and fast but unstable: a shift of a few pixels may change its output, so its window was chosen
for plausible readings of real faces and actors (docs/affect.md).

Source: Arriaga, Valdenegro-Toro and Plöger, "Real-time Convolutional Neural Networks for Emotion
and Gender Classification", 2017, arXiv:1710.07557.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swapper.downloads import existing, pinned
from swapper.errors import EstimatorError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.keras import Layer, read_layers
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.same_padding import pad_same
from swapper.estimators.weights_file import blank

LABELS: Final = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes in its order, by swapper's names."""
URL: Final = (
    "https://github.com/oarriaga/face_classification/raw/master/trained_models/emotion_models/"
    "fer2013_mini_XCEPTION.102-0.66.hdf5"
)
SHA256: Final = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
SIZE: Final = 64
_KINDS: Final = ("Conv2D", "SeparableConv2D", "BatchNormalization", "MaxPooling2D")
_OPTION: Final = "affect.weights"


class SeparableConv(nn.Module):
    """Keras's SeparableConv2D: 3x3 each channel by itself, then 1x1 across them.

    Args:
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        answer: Tensor = self.pointwise(self.depthwise(x))
        return answer


class Block(nn.Module):
    """Two separable convolutions and a strided skip connection.

    Args:
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = SeparableConv(inputs, outputs)
        self.first_norm = _norm(outputs)
        self.second = SeparableConv(outputs, outputs)
        self.second_norm = _norm(outputs)
        self.around = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.around_norm = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/2, W/2), rounded up."""
        deep = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        pooled = F.max_pool2d(pad_same(deep, 3, 2, -torch.inf), 3, 2)
        answer: Tensor = pooled + self.around_norm(self.around(x))
        return answer


class MiniXception(nn.Module):
    """The network; its embedding is the input of the last convolution, averaged over the face."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, bias=False)
        self.first_norm = _norm(8)
        self.second = nn.Conv2d(8, 8, 3, bias=False)
        self.second_norm = _norm(8)
        self.blocks = nn.Sequential(Block(8, 16), Block(16, 32), Block(32, 64), Block(64, 128))
        self.classes = nn.Conv2d(128, len(LABELS), 3, padding=1)

    def forward(self, x: Tensor) -> AffectBatch:
        """Predict from (N, 1, 64, 64) grey in [-1, 1]."""
        x = F.relu(self.first_norm(self.first(x)))
        features = self.blocks(F.relu(self.second_norm(self.second(x))))
        return AffectBatch(features.mean((2, 3)), self.classes(features).mean((2, 3)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def view() -> Preprocess:
    """Forehead to chin, a little taller than wide, as the boxes of FER2013's faces are."""
    return Preprocess(Window(-69, -51, 69, 101), (SIZE, SIZE), (0.5,), (0.5,))


def load(weights: str | Path | None = None) -> Estimator:
    """Load the estimator with its weights.

    Args:
        weights: Of mini-XCEPTION as Keras's HDF5; None downloads Arriaga's, pinned by its hash.

    Raises:
        EstimatorError: The weights are not available or not usable.
    """
    path = (
        existing(weights, _OPTION, EstimatorError)
        if weights
        else pinned(URL, SHA256, _OPTION, EstimatorError)
    )
    layers = read_layers(path, _KINDS)
    net = blank(MiniXception)
    try:
        _fill(net, iter(layers))
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EstimatorError(f"{path}: is not mini-XCEPTION for 64x64 grey ({reason})") from error
    return Estimator("xception", view(), net, labels=LABELS)


def _fill(net: MiniXception, layers: Iterator[Layer]) -> None:
    """Copy the layers in Keras's order.

    Raises:
        ValueError: They are another network's.
    """
    for conv, norm in ((net.first, net.first_norm), (net.second, net.second_norm)):
        _conv(conv, _next(layers, "Conv2D", strides=[1, 1], padding="valid"))
        _batch_norm(norm, layers)
    for block in net.blocks:
        assert isinstance(block, Block)
        for separable, norm in ((block.first, block.first_norm), (block.second, block.second_norm)):
            layer = _next(layers, "SeparableConv2D", strides=[1, 1], padding="same")
            # (height, width, channel, 1) to one kernel a channel.
            _holds(layer, "depthwise_kernel", "pointwise_kernel")
            _copy(separable.depthwise.weight, layer, "depthwise_kernel", (2, 3, 0, 1))
            _copy(separable.pointwise.weight, layer, "pointwise_kernel", (3, 2, 0, 1))
            _batch_norm(norm, layers)
        _conv(block.around, _next(layers, "Conv2D", strides=[2, 2], padding="same"))
        _next(layers, "MaxPooling2D", strides=[2, 2], padding="same", pool_size=[3, 3])
        _batch_norm(block.around_norm, layers)
    _conv(net.classes, _next(layers, "Conv2D", strides=[1, 1], padding="same"))
    if more := next(layers, None):
        raise ValueError(f"it goes on with a {more.kind[:40]}")


def _next(layers: Iterator[Layer], kind: str, **config: object) -> Layer:
    layer = next(layers, None)
    if layer is None or layer.kind != kind:
        raise ValueError(f"a {kind} was expected, not {layer.kind[:40] if layer else 'its end'}")
    for key, value in config.items():
        if layer.config.get(key) != value:
            raise ValueError(f"a {kind} has {key} {str(layer.config.get(key))[:40]}, not {value}")
    return layer


def _conv(conv: nn.Conv2d, layer: Layer) -> None:
    _holds(layer, *(("kernel",) if conv.bias is None else ("kernel", "bias")))
    _copy(conv.weight, layer, "kernel", (3, 2, 0, 1))
    if conv.bias is not None:
        _copy(conv.bias, layer, "bias", (0,))


def _batch_norm(norm: nn.BatchNorm2d, layers: Iterator[Layer]) -> None:
    layer = _next(layers, "BatchNormalization")
    norm.eps = float(layer.config["epsilon"])
    if not 0 < norm.eps < 1:
        raise ValueError(f"a BatchNormalization has epsilon {norm.eps}")
    _holds(layer, "gamma", "beta", "moving_mean", "moving_variance")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    _copy(norm.weight, layer, "gamma", (0,))
    _copy(norm.bias, layer, "beta", (0,))
    _copy(norm.running_mean, layer, "moving_mean", (0,))
    _copy(norm.running_var, layer, "moving_variance", (0,))
    if norm.running_var.min() < 0:
        raise ValueError("a variance is negative")


def _holds(layer: Layer, *names: str) -> None:
    if set(layer.weights) != set(names):
        raise ValueError(f"a {layer.kind} holds {', '.join(layer.weights)[:80]}")


@torch.no_grad()
def _copy(to: Tensor, layer: Layer, name: str, order: tuple[int, ...]) -> None:
    """Copy an array whose axes come in another order."""
    values = torch.from_numpy(layer.weights[name])
    if values.ndim != len(order) or values.permute(order).shape != to.shape:
        raise ValueError(f"a {layer.kind}'s {name} is {tuple(values.shape)}")
    to.copy_(values.permute(order))
