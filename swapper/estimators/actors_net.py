"""``affect=actors``: a small network trained only on swapper's rendered actors.

It needs no download and no real faces, so the demo and the tests use it. On real people it is
unreliable: use an estimator that was trained on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.weights_file import OWN, blank, load_weights

LABELS: Final = ("neutral", "happy", "sad", "surprise", "fear", "anger", "disgust", "contempt")
UNITS: Final = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 27, 43)
"""Action units of an actor, in the order of the columns of its intensities."""
METADATA: Final = {"network": "actors-1", "labels": ",".join(LABELS)}
"""Metadata of a file of weights for this network."""
SIZE: Final = 80


class ReadingHead(nn.Module):
    """Linear heads for classes, valence and arousal, and action units of an embedding.

    Units are predicted for each side; mean and asymmetry are derived from these.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.classes = nn.Linear(features, len(LABELS))
        self.circumplex = nn.Linear(features, 2)
        self.sides = nn.Linear(features, 2 * len(UNITS))

    def forward(self, embedding: Tensor) -> AffectBatch:
        """Predict from (N, features)."""
        valence, arousal = self.circumplex(embedding).tanh().unbind(1)
        left, right = self.sides(embedding).sigmoid().unflatten(1, (2, len(UNITS))).unbind(1)
        return AffectBatch(
            embedding, self.classes(embedding), valence, arousal, (left + right) / 2, left - right
        )


class ActorsNet(nn.Module):
    """Residual network of 0.7 million weights.

    Faces are aligned, so the last map is flattened, not pooled, to keep positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(3, 24, stride=2),
            _conv(24, 32, stride=2),
            ResidualBlock(32),
            _conv(32, 64, stride=2),
            ResidualBlock(64),
            ResidualBlock(64),
            _conv(64, 128, stride=2),
            ResidualBlock(128),
            _conv(128, 32, kernel=1),
        )
        self.embed = nn.Linear(32 * (SIZE // 16) ** 2, 128)
        self.readings = ReadingHead(128)

    def forward(self, x: Tensor) -> AffectBatch:
        """Predict from (N, 3, 80, 80), normalised."""
        answer: AffectBatch = self.readings(F.silu(self.embed(self.trunk(x).flatten(1))))
        return answer


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip connection, as many channels in as out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return F.silu(x + self.norm(self.second(self.first(x))))


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


def view() -> Preprocess:
    """Brows to chin, an open mouth included; two millimetres a pixel."""
    return Preprocess(Window(-80, -40, 80, 120), (SIZE, SIZE), (0.5,) * 3, (0.25,) * 3)


def load(path: Path | None = None) -> Estimator:
    """Load the estimator with its weights.

    Args:
        path: Of a file that ``scripts/train_actor_affect.py`` wrote; None takes swapper's own.

    Raises:
        EstimatorError: The weights cannot be used.
    """
    net = blank(ActorsNet)
    load_weights(net, path or OWN / "actors.safetensors", METADATA)
    return Estimator("actors", view(), net, labels=LABELS, units=UNITS)
