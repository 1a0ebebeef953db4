"""Optimiser and learning rate; the rate is a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch.nn import Parameter
from torch.optim import Optimizer

from swapper.options.fields import check_range


@dataclass
class Optim:
    """Optimiser factory and learning-rate schedule.

    Attributes:
        optimizer: Returns the optimiser for an iterable of parameters (a partial).
        lr: Learning rate after the warm-up.
        warmup_steps: Steps over which the rate rises linearly from near 0.
        decay: "none", or "cosine" down to `floor` x `lr` at the last step.
        floor: Share of `lr` left at the end of a decay, in [0, 1].
    """

    optimizer: Callable[..., Optimizer]
    lr: float
    warmup_steps: int = 100
    decay: Literal["none", "cosine"] = "none"
    floor: float = 0.05

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, got {self.warmup_steps}")
        check_range(0, 1, floor=self.floor)
        if self.decay not in ("none", "cosine"):
            raise ValueError(f"decay must be none or cosine, got {self.decay}")

    def build(self, parameters: Iterable[Parameter]) -> Optimizer:
        """Return the optimiser over `parameters`."""
        return self.optimizer(parameters, lr=self.lr)

    def rate(self, step: int, max_steps: int) -> float:
        """Learning rate of step `step`, counted from 0; `max_steps` below 1 means endless."""
        rate = self.lr
        if self.warmup_steps:
            rate *= min(1.0, (step + 1) / self.warmup_steps)
        if self.decay == "cosine" and max_steps > self.warmup_steps:
            done = (step - self.warmup_steps) / (max_steps - self.warmup_steps)
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
            rate *= self.floor + (1 - self.floor) * cosine
        return rate
