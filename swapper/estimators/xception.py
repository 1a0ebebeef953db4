"""``affect=xception``: mini-XCEPTION, 58 thousand weights trained on FER2013.

Octavio Arriaga's network (https://github.com/oarriaga/face_classification, MIT), converted from the
Keras file that he published by ``scripts/convert_weights.py xception``; FER2013's pictures are
faces found on the web, for research. Its answers change when the window moves by a few pixels, so
the window is one at which it reads real faces and actors sensibly (docs/affect.md).

Source: Arriaga, Valdenegro-Toro and Plöger, "Real-time Convolutional Neural Networks for Emotion
and Gender Classification", 2017, arXiv:1710.07557.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window, pad_same
from swapper.estimators.weights_file import load_converted

LABELS: Final = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes in its order, by swapper's names."""
SIZE: Final = 64
METADATA: Final = {"network": "mini_xception"}


class SeparableConv(nn.Module):
    """Keras's SeparableConv2D: 3x3 each channel by itself, then 1x1 across them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        answer: Tensor = self.pointwise(self.depthwise(x))
        return answer


class Block(nn.Module):
    """Two separable convolutions and a strided skip connection."""

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
        pooled = F.max_pool2d(pad_same(deep, (3, 3), (2, 2), -torch.inf), 3, 2)
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
        weights: safetensors that ``scripts/convert_weights.py xception`` made; None takes those in
            ``$SWAPPER_HOME/weights``.

    Raises:
        EstimatorError: The weights are missing or cannot be used.
    """
    net = load_converted(MiniXception, "xception", weights, METADATA)
    return Estimator("xception", view(), net, labels=LABELS)
