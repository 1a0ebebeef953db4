"""``judge``: an estimator for rendered actors that is never used in training.

A model can learn to fool the estimator that it is trained against. So the judge shares nothing with
`swapper.estimators.actors_net` but its outputs: its input is contrast-normalised grey, cut by two
windows of its own, its architecture differs, and it was trained on other actors with another seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swapper.estimators.actors_net import LABELS, UNITS, ReadingHead
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.weights_file import OWN, blank, load_weights

METADATA: Final = {"network": "judge-1", "labels": ",".join(LABELS)}
"""Metadata of a file of weights for this network."""
HEIGHT, WIDTH = 96, 80
_BROWS_END: Final = 44
"""Rows of the view that show brows and eyes."""
_MOUTH_STARTS: Final = 40


class JudgeNet(nn.Module):
    """One tower of plain convolutions for brows and eyes, one for nose, mouth and chin."""

    def __init__(self) -> None:
        super().__init__()
        self.upper = Tower((_BROWS_END, WIDTH))
        self.lower = Tower((HEIGHT - _MOUTH_STARTS, WIDTH))
        # Without the norm, the hyperbolic tangent saturates in the first steps and learns no more.
        self.embed = nn.Sequential(nn.Linear(2 * Tower.FEATURES, 160), nn.LayerNorm(160))
        self.readings = ReadingHead(160)

    def forward(self, x: Tensor) -> AffectBatch:
        """Predict from (N, 1, 96, 80) grey in [0, 1]."""
        even = normalise_contrast(x)
        towers = self.upper(even[:, :, :_BROWS_END]), self.lower(even[:, :, _MOUTH_STARTS:])
        answer: AffectBatch = self.readings(self.embed(torch.cat(towers, dim=1)).tanh())
        return answer


class Tower(nn.Module):
    """Convolutions and poolings of height × width, then a linear layer over the last map."""

    FEATURES: Final = 128

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _layer(1, 24, kernel=5, stride=2),
            _layer(24, 32),
            _layer(32, 32),
            nn.MaxPool2d(2),
            _layer(32, 64),
            _layer(64, 64),
            nn.MaxPool2d(2),
            _layer(64, 64),
            _layer(64, 24, kernel=1),
            nn.Flatten(),
            nn.Linear(24 * (size[0] // 8) * (size[1] // 8), self.FEATURES),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, height, width) to (N, 128)."""
        features: Tensor = self.layers(x)
        return features


def _layer(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def normalise_contrast(grey: Tensor, side: int = 15) -> Tensor:
    """Local contrast normalisation: subtract the local mean, divide by the local deviation.

    Of (N, 1, H, W) grey in [0, 1]; the local window is `side` pixels wide, odd.
    """
    pad = side // 2

    def around(x: Tensor) -> Tensor:
        wide = F.avg_pool2d(x, (1, side), 1, (0, pad), count_include_pad=False)
        return F.avg_pool2d(wide, (side, 1), 1, (pad, 0), count_include_pad=False)

    mean = around(grey)
    # A floor of three grey levels, so that the noise of flat skin is not amplified.
    return (grey - mean) / (around((grey - mean) ** 2) + 0.012**2).sqrt()


def view() -> Preprocess:
    """Hairline to below an open jaw, without the cheeks' outer half, in grey."""
    return Preprocess(Window(-70, -48, 70, 120), (HEIGHT, WIDTH), (0.0,), (1.0,))


def load(path: Path | None = None) -> Estimator:
    """Load the judge with its weights.

    Args:
        path: Of a file that ``scripts/train_actor_affect.py`` wrote; None takes swapper's own.

    Raises:
        EstimatorError: The weights cannot be used.
    """
    net = blank(JudgeNet)
    load_weights(net, path or OWN / "judge.safetensors", METADATA)
    return Estimator("judge", view(), net, labels=LABELS, units=UNITS, measuring_only=True)
