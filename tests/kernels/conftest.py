"""Where kernels are tested: interpreted on a CPU, or on a device."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ahead import rows_of_script

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


@pytest.fixture(
    scope="module", params=["quick", pytest.param("rest", marks=pytest.mark.slow, id="rest")]
)
def rows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """A row a launch of the module's cases, compiled for devices that are not here."""
    pytest.importorskip("triton", reason="triton is not installed")
    module, chosen = request.module, request.param
    cases = [each for each in module.CASES_ON if (each in module.QUICK) == (chosen == "quick")]
    return rows_of_script(module.__file__, cases, tmp_path_factory.mktemp("triton"))
