"""Weights of named losses, and their reduction to one scalar."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def check_weights(**weights: float) -> None:
    """Check weights by name.

    Raises:
        ValueError: One is negative or not finite.
    """
    for name, value in weights.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number, at least 0, got {value}")


def mean_parts(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean over the samples of each part (N,), by name."""
    return {name: value.mean() for name, value in parts.items()}


def total(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Weighted sum of the parts; a weight of 0 leaves its part out of the graph.

    Args:
        parts: Name to scalar, or to (N,), of which the mean is taken.
        weights: Name to weight, for exactly these names.

    Returns:
        Scalar.

    Raises:
        ValueError: The names of parts and weights differ, or there are none.
    """
    if not parts or set(parts) != set(weights):
        raise ValueError(f"weights are for {sorted(weights)}, parts are {sorted(parts)}")
    means = mean_parts(parts)
    terms = [weights[name] * value for name, value in means.items() if weights[name]]
    if not terms:
        return torch.zeros_like(next(iter(means.values())))
    return torch.stack(terms).sum()
