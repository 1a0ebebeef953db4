"""Which backend runs, and that a choice is taken at its word."""

from __future__ import annotations

import logging

import pytest
import torch

from swapper.errors import UsageError
from swapper.kernels import dispatch


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "_chosen", None)
    monkeypatch.setattr(dispatch, "_warned", set())


def test_auto_on_a_cpu_is_the_reference() -> None:
    assert dispatch.backend() == "auto"
    assert not dispatch.takes_kernel("film_lrelu", torch.zeros(1), None)
    assert dispatch.explain("cpu").endswith("plain torch: kernels are for CUDA devices")


def test_auto_does_not_take_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not dispatch.takes_kernel("film_lrelu", torch.zeros(1))
    assert "plain torch" in dispatch.explain("cpu")
    with dispatch.using("triton"):
        assert dispatch.takes_kernel("film_lrelu", torch.zeros(1))
        assert dispatch.explain("cpu").endswith("Triton kernels, as requested")


def test_triton_is_never_replaced_in_silence() -> None:
    with (
        dispatch.using("triton"),
        pytest.raises(UsageError, match=r"film_lrelu .*kernels=auto"),
    ):
        dispatch.takes_kernel("film_lrelu", torch.zeros(1))


@pytest.mark.parametrize(
    ("tensor", "limit", "reason"),
    [
        (torch.zeros(1, dtype=torch.float64), "", "float64 is for the reference"),
        (torch.zeros(1), "window above 15", "window above 15"),
        (torch.zeros(1, device="meta"), "", "not meta"),
    ],
)
def test_the_reason_is_told(
    tensor: torch.Tensor, limit: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with dispatch.using("triton"), pytest.raises(UsageError, match=reason):
        dispatch.takes_kernel("dssim_l1", tensor, limit=limit)
    assert not dispatch.takes_kernel("dssim_l1", tensor, limit=limit)


def test_tensors_of_two_devices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with dispatch.using("triton"), pytest.raises(UsageError, match="lie on cpu and meta"):
        dispatch.takes_kernel("film_lrelu", torch.zeros(1), torch.zeros(1, device="meta"))


def test_the_environment_is_asked_where_nobody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.VARIABLE, "reference")
    assert dispatch.backend() == "reference"
    assert dispatch.explain("cpu").endswith("plain torch")
    with dispatch.using("auto"):  # as configs do that leave it open
        assert dispatch.backend() == "reference"
    with dispatch.using("triton"):
        assert dispatch.backend() == "triton"
    monkeypatch.setenv(dispatch.VARIABLE, "cuda")
    with pytest.raises(UsageError, match=r"SWAPPER_KERNELS=cuda: .*auto, triton"):
        dispatch.backend()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"kernels=fast: .*auto, triton, reference"):
        dispatch.use("fast")  # type: ignore[arg-type]


def test_a_warning_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dispatch._warn_once("so")
        dispatch._warn_once("so")
    assert [each.message for each in caplog.records] == ["so"]


@pytest.mark.gpu
def test_auto_takes_the_kernel_on_a_gpu() -> None:
    assert dispatch.takes_kernel("film_lrelu", torch.zeros(1, device="cuda"))
    assert dispatch.explain("cuda").endswith("Triton kernels")
    double = torch.zeros(1, device="cuda", dtype=torch.float64)
    assert not dispatch.takes_kernel("film_lrelu", double)
