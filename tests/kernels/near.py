"""How near a kernel must come to float64, and which cases of a grid are quick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Relative L2. The interpreter cuts bfloat16 off where a device rounds it."""


def each_dtype(cases: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The cases in each dtype, as further parameter; quick are float32 and the first case."""
    return [
        pytest.param(
            *case, dtype,
            marks=() if dtype == torch.float32 or case is cases[0] else pytest.mark.slow,
        )
        for case in cases
        for dtype in TOLERANCES
    ]  # fmt: skip


def assert_near(got: Tensor, want: Tensor, tolerance: float) -> None:
    a, b = got.double().flatten(), want.double().flatten()
    assert a.shape == b.shape
    assert torch.isfinite(a).all()
    assert (a - b).norm() <= tolerance * b.norm()
    assert torch.dot(a, b) >= 0.9999 * a.norm() * b.norm()
