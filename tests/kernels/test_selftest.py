"""Kernels are tried before they are trusted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from swapper.kernels import dispatch, selftest

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are interpreted on machines without a GPU only"
)


def test_the_kernels_here_are_what_they_should_be() -> None:
    assert selftest.failures(CPU) == []


@pytest.mark.parametrize("fault", [1.01, float("nan")])
def test_a_wrong_kernel_is_found(fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    right = selftest._film

    def wrong(device: torch.device) -> list[Tensor]:
        values = right(device)
        if dispatch.backend() == "triton":
            values[2] = values[2] * fault
        return values

    monkeypatch.setattr(selftest, "_film", wrong)
    (line,) = selftest.failures(CPU)
    assert line.startswith("film_lrelu: differs from its reference by ")


def test_a_kernel_that_cannot_run_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    first, second, third = selftest.failures(CPU)
    assert first.startswith("film_lrelu: UsageError: kernels=triton: film_lrelu cannot run")
    assert second.startswith("dssim_l1: UsageError: ")
    assert third.startswith("warp_pair: UsageError: ")
