"""``judge``: reads what actors show, and never takes part in a training.

A network that has been trained against can be fooled by what it was trained on. So the judge shares
nothing with `swapper.estimators.actors_net` but the question: it sees grey pictures whose light has
been evened out, through two windows of its own, by another kind of network, and has learnt from
other actors under another seed.
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
"""What a file of weights for this network says of itself."""
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
        """Read (N, 1, 96, 80) grey in [0, 1]."""
        even = even_out(x)
        towers = self.upper(even[:, :, :_BROWS_END]), self.lower(even[:, :, _MOUTH_STARTS:])
        answer: AffectBatch = self.readings(self.embed(torch.cat(towers, dim=1)).tanh())
        return answer


class Tower(nn.Module):
    """Convolutions between poolings, then all of the last map at once.

    Args:
        size: Height and width of what it sees.
    """

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


def even_out(grey: Tensor, reach: int = 15) -> Tensor:
    """Each pixel against its surroundings: their mean subtracted, divided by their deviation.

    Args:
        grey: (N, 1, H, W) in [0, 1].
        reach: Side of the surroundings in pixels, odd.
    """
    pad = reach // 2

    def around(x: Tensor) -> Tensor:
        wide = F.avg_pool2d(x, (1, reach), 1, (0, pad), count_include_pad=False)
        return F.avg_pool2d(wide, (reach, 1), 1, (pad, 0), count_include_pad=False)

    mean = around(grey)
    # A floor of three grey levels: a flat cheek is flat, not a map of its grain.
    return (grey - mean) / (around((grey - mean) ** 2) + 0.012**2).sqrt()


def view() -> Preprocess:
    """Hairline to below an open jaw, without the cheeks' outer half, in grey."""
    return Preprocess(Window(-70, -48, 70, 120), (HEIGHT, WIDTH), (0.0,), (1.0,))


def load(path: Path | None = None) -> Estimator:
    """The judge with its weights.

    Args:
        path: Of a file that ``scripts/train_actor_affect.py`` wrote; None takes swapper's own.

    Raises:
        EstimatorError: The weights cannot be used.
    """
    net = blank(JudgeNet)
    load_weights(net, path or OWN / "judge.safetensors", METADATA)
    return Estimator("judge", view(), net, labels=LABELS, units=UNITS, measuring_only=True)
