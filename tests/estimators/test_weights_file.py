"""Weights of estimators: round trip, and one line about each thing that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from swapper.errors import EstimatorError
from swapper.estimators.weights_file import load_weights, save_weights
from tests.refusals import refusal_of

SAYS = {"network": "toy-1"}


def make(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "toy.safetensors"
    save_weights(make(0), path, {**SAYS, "epochs": "3"})
    return path


def refusal(path: Path) -> str:
    message = refusal_of(EstimatorError, load_weights, make(1), path, SAYS)
    assert message.startswith(f"{path}: ")
    assert "train_actor_affect.py" in message
    return message


def rewrite(path: Path, says: dict[str, str] | None = None, **changes: Tensor | None) -> None:
    tensors = {**load_file(path), **{key.replace("__", "."): v for key, v in changes.items()}}
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, path, SAYS if says is None else says)


def test_round_trip_as_half_precision(path: Path) -> None:
    net = make(1)
    load_weights(net, path, SAYS)
    for (name, found), wanted in zip(
        net.state_dict().items(), make(0).state_dict().values(), strict=True
    ):
        assert torch.equal(found, wanted.half().to(wanted.dtype)), name
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    assert [each.name for each in path.parent.iterdir()] == ["toy.safetensors"]


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.safetensors")


def test_a_truncated_file(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)
    refusal(path)


@pytest.mark.parametrize("content", [b"", b"no", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}      "])
def test_a_foreign_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refusal(path)


def test_a_file_that_is_far_too_large(path: Path) -> None:
    os.truncate(path, 1 << 32)
    assert "larger than its network" in refusal(path)


def test_another_network(path: Path) -> None:
    rewrite(path, {"network": "toy-2"})
    assert "says network 'toy-2' instead of 'toy-1'" in refusal(path)
    rewrite(path, {})
    assert "says network 'None' instead of 'toy-1'" in refusal(path)


def test_weights_of_another_shape_number_or_kind(path: Path) -> None:
    rewrite(path, **{"0__bias": torch.zeros(3)})
    assert "holds 0.bias as F32 (3,) instead of (2,)" in refusal(path)
    rewrite(path, **{"0__bias": torch.zeros(2, dtype=torch.int64)})
    assert "holds 0.bias as I64 (2,)" in refusal(path)
    rewrite(path, **{"0__bias": None})
    assert "'0.bias' differs" in refusal(path)
    rewrite(path, **{"0__bias": torch.zeros(2), "more": torch.zeros(1)})
    assert "'more' differs" in refusal(path)


def test_numbers_that_are_not_finite(path: Path) -> None:
    rewrite(path, **{"0__bias": torch.tensor([0.0, float("nan")])})
    assert "holds numbers in 0.bias that are not finite" in refusal(path)


def test_a_refused_file_leaves_the_network_alone(path: Path) -> None:
    rewrite(path, **{"1__running_var": torch.tensor([1.0, float("inf")])})
    net, untouched = make(1), make(1)
    with pytest.raises(EstimatorError):
        load_weights(net, path, SAYS)
    for found, wanted in zip(
        net.state_dict().values(), untouched.state_dict().values(), strict=True
    ):
        assert torch.equal(found, wanted)


def test_what_cannot_be_stored_is_not_written(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    net = make(0)
    with torch.no_grad():
        net[0].bias.fill_(1e6)  # type: ignore[union-attr, operator]
    with pytest.raises(EstimatorError, match=r"0.bias "):
        save_weights(net, path, SAYS)
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(EstimatorError, match="cannot be written"):
        save_weights(make(0), tmp_path / "file" / "toy.safetensors", SAYS)
