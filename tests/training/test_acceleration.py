"""The switches: each changes how a step is computed and not what it computes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from swapper.errors import UsageError
from swapper.estimators.base import load_estimator
from swapper.kernels import dispatch
from swapper.losses.expression import CodeMap, ExpressionLoss
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import Autoencoder, DfAutoencoder, OriginalAutoencoder
from swapper.training.acceleration import Acceleration
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.types import FaceBatch
from tests.training.short_runs import UNLOGGED, face_batch

pytestmark = pytest.mark.filterwarnings(UNLOGGED)

K = 3
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = dispatch._chosen
    yield
    dispatch._chosen = before
    torch._dynamo.reset()


def made(felt: bool = False) -> SwapModule:
    torch.manual_seed(0)
    net = DfAutoencoder(("alice", "bob"), 64, width=4, latent=16, code_dim=K if felt else 0)
    with torch.no_grad():
        for each in net.parameters():
            each.add_(torch.randn_like(each), alpha=0.05)
    expression = None
    if felt:
        expression = ExpressionLoss(swap=0.5, recon=0.5, ramp=0)
        codes = [CodeMap(torch.zeros(128), torch.randn(128, K))] * 2
        expression.bind(load_estimator("actors", "training"), "face", codes)
    return module_of(net, expression)


def module_of(net: Autoencoder, expression: ExpressionLoss | None = None) -> SwapModule:
    optim = Optim(partial(torch.optim.AdamW), lr=1e-3, warmup_steps=0)
    return SwapModule(net, ReconstructionLoss(), optim, expression=expression)


def batch() -> FaceBatch:
    code = torch.randn(4, K, generator=torch.Generator().manual_seed(0))
    return replace(face_batch(), code=code)


def step(module: SwapModule) -> tuple[float, dict[str, torch.Tensor]]:
    loss = module.training_step(batch(), 0)
    module.zero_grad()
    loss.backward()
    found = {n: p.grad.clone() for n, p in module.net.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


@pytest.mark.parametrize("felt", [False, True])
@pytest.mark.parametrize(
    "speed",
    [
        Acceleration(channels_last=True),
        Acceleration(channels_last=True, compile=True, backend="aot_eager"),
    ],
    ids=["channels_last", "compiled as well"],
)
def test_a_step_is_the_same(speed: Acceleration, felt: bool) -> None:
    loss, gradients = step(made(felt))
    other = made(felt)
    speed.prepare(other, CPU)
    for _ in range(2):  # the second finds everything compiled
        again, found = step(other)
        assert again == pytest.approx(loss, rel=1e-4)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            error = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-9)
            assert error < 2e-3, name


def test_blocks_run_compiled_and_keep_their_names() -> None:
    module = made()
    names = list(module.state_dict())
    Acceleration(compile=True, backend="aot_eager").prepare(module, CPU)
    assert list(module.state_dict()) == names
    blocks = module.net.regions()
    assert len(blocks) == 4 + 2 * (3 + 2)
    assert all(each._compiled_call_impl is not None for each in blocks)
    torch._dynamo.utils.counters.clear()
    step(module)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] >= 8
    assert not counters["graph_break"]


class Copies(TorchDispatchMode):
    """Notes every copy of a picture into another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.clone.default, torch.ops.aten._to_copy.default):
            before, after = args[0], result
            # Where a side is 1 or there is one channel, both layouts are the same.
            wide = before.ndim == 4 and min(before.shape[1:]) > 1
            if wide and before.stride() != after.stride() and before.shape[2] > 4:
                self.found.append(f"{tuple(before.shape)} {before.stride()} {after.stride()}")
        return result


@pytest.mark.parametrize("network", ["df", "original"])
def test_channels_last_goes_through_the_whole_network(network: str) -> None:
    """Forward and backward; up to the latent's dense layers, which want their numbers in a row."""
    torch.manual_seed(0)
    net: Autoencoder
    if network == "df":
        net = DfAutoencoder(("alice", "bob"), 64, width=4, latent=16)
    else:
        net = OriginalAutoencoder(("alice", "bob"))
    module = module_of(net)
    Acceleration(channels_last=True).prepare(module, CPU)
    faces = torch.rand(4, 3, 64, 64).to(memory_format=torch.channels_last)
    with Copies() as copies:
        output = module.reconstruct(net.encode(faces), None)
        upstream = torch.rand_like(output.image)
        assert upstream.is_contiguous(memory_format=torch.channels_last)
        (output.image * upstream).sum().backward()
    assert copies.found == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_asks_the_device(
    device: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swapper.training.acceleration._has_compiler", lambda: True)
    monkeypatch.setattr("swapper.kernels.dispatch._capability", lambda _: (9, 0))
    monkeypatch.setattr("swapper.training.acceleration.failures", lambda _: [])
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    module = made()
    with caplog.at_level(logging.DEBUG):
        Acceleration().prepare(module, torch.device(device))
    weight = module.net.encoder.downs[1].conv.weight
    on_cuda = device == "cuda"
    assert weight.is_contiguous(memory_format=torch.channels_last) == on_cuda
    assert (module.loss._compiled_call_impl is not None) == on_cuda
    said = "channels_last, compiled by block; " if on_cuda else "plain; "
    assert caplog.messages[-1].startswith(said)
    assert caplog.records[-1].levelname == ("INFO" if on_cuda else "DEBUG")


def test_faulty_kernels_are_not_used(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swapper.training.acceleration.failures", lambda _: ["film_lrelu: differs"])
    Acceleration(compile=False).prepare(made(), torch.device("cuda"))
    assert "plain torch instead of kernels: film_lrelu: differs" in caplog.text
    assert dispatch.backend() == "reference"
    with pytest.raises(UsageError, match=r"kernels=triton: film_lrelu: differs"):
        Acceleration(kernels="triton").prepare(made(), torch.device("cuda"))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"compile": "yes"}, r"speed\.compile=yes: must be true, false or auto"),
        ({"kernels": "fast"}, r"kernels=fast: must be one of"),
        ({"cuda_graphs": True}, r"speed\.cuda_graphs=true: needs speed\.compile=true"),
        ({"cuda_graphs": True, "compile": True}, r"needs a CUDA device, this is cpu"),
    ],
)
def test_what_cannot_be_had_is_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Acceleration(**settings).prepare(made(), CPU)
