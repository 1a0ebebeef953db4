"""Where kernels are tested: interpreted on a CPU, or on a device."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch

from swapper.kernels import dispatch


@pytest.fixture(
    params=[
        pytest.param(
            "cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="the gpu tests do it"),
        ),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with dispatch.using("triton"):
        yield str(request.param)


@pytest.fixture
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger tiles: the interpreter is slow by operations, not by values."""
    if not torch.cuda.is_available():
        kernel = importlib.import_module("swapper.kernels.triton_dssim")
        monkeypatch.setattr(kernel, "COLUMNS", 128)
        monkeypatch.setattr(kernel, "STRIPS", 8)
