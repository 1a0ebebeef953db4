"""Optimiser and learning rate; the rate is a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

from torch.nn import Parameter
from torch.optim import Optimizer


class Optim:
    """Optimiser factory and learning-rate schedule.

    Args:
        optimizer: Returns the optimiser for an iterable of parameters (a partial).
        lr: Learning rate after the warm-up.
        warmup_steps: Steps over which the rate rises linearly from near 0.
        decay: "none", or "cosine" down to `floor` x `lr` at the last step.
        floor: Share of `lr` left at the end of a decay, in [0, 1].
    """

    def __init__(
        self,
        optimizer: Callable[..., Optimizer],
        lr: float,
        warmup_steps: int = 100,
        decay: Literal["none", "cosine"] = "none",
        floor: float = 0.05,
    ) -> None:
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, got {warmup_steps}")
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {floor}")
        if decay not in ("none", "cosine"):
            raise ValueError(f"decay must be none or cosine, got {decay}")
        self.optimizer = optimizer
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.floor = floor

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
