"""Any torchvision torchvision, by config alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from swapper.errors import EstimatorError, UsageError
from swapper.estimators import torchvision
from swapper.estimators.base import load_estimator
from tests.refusals import Hostile

LABELS = ["calm", "glad", "cross"]
ARCHITECTURES = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5",
                 "convnext_tiny", "densenet121", "vit_b_32", "swin_t", "regnet_x_400mf",
                 "mnasnet0_5", "googlenet")  # fmt: skip


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_cut_before_the_head_it_answers_as_the_whole(arch: str) -> None:
    torch.manual_seed(0)
    more = {"init_weights": False} if arch == "googlenet" else {}
    net = models.get_model(arch, weights=None, num_classes=3, **more).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = net(x)
        found = torchvision.Classifier(net, 3)(x)
    assert torch.equal(found.logits, expected)
    assert found.embedding.ndim == 2
    assert found.embedding.shape[1] > 100


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
    return models.get_model("resnet18", weights=None, num_classes=3).eval()


@pytest.mark.parametrize("kind", ["plain", "wrapped", "parallel", "safetensors"])
def test_every_way_to_keep_weights(kind: str, net: nn.Module, tmp_path: Path) -> None:
    state = net.state_dict()
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "wrapped":
        torch.save({"epoch": 3, "model_state_dict": state}, path)
    else:
        prefix = "module." if kind == "parallel" else ""
        torch.save({prefix + name: value for name, value in state.items()}, path)
    estimator = load_estimator(
        "torchvision", "training", arch="resnet18", weights=str(path), labels=LABELS, size=64
    )
    faces = torch.rand(2, 3, 96, 96, requires_grad=True)
    answer = estimator(faces)
    torch.testing.assert_close(answer.logits, net(estimator.view(faces)))
    assert answer.embedding.shape == (2, 512)
    assert list(estimator.labels) == LABELS
    assert answer.probabilities is not None
    assert answer.probabilities.shape == (2, len(LABELS))
    answer.embedding.sum().backward()
    assert faces.grad is not None
    assert faces.grad.abs().sum() > 0


def refusal(path: Path, **changes: Any) -> str:
    with pytest.raises((EstimatorError, UsageError)) as caught:
        torchvision.load(**{"arch": "resnet18", "weights": path, "labels": LABELS, **changes})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_weights_that_cannot_be_used(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    assert "no such file: pass affect.weights=PATH" in refusal(path)
    path.write_bytes(b"nothing")
    assert "no state dict that can be read safely" in refusal(path)
    torch.save({"fc.weight": Hostile(tmp_path / "proof")}, path)
    assert "no state dict that can be read safely" in refusal(path)
    assert not (tmp_path / "proof").exists()
    torch.save([1, 2], path)
    assert "holds no state dict" in refusal(path)
    torch.save(net.state_dict(), path)
    os.truncate(path, path.stat().st_size // 2)
    refusal(path)
    torch.save({**net.state_dict(), "fc.bias": torch.full((3,), torch.nan)}, path)
    assert "fc.bias that are not finite" in refusal(path)
    torch.save(net.state_dict(), path)
    assert "is not resnet18 with 2 classes, fc." in refusal(path, labels=["a", "b"])
    assert "is not resnet34 with 3 classes" in refusal(path, arch="resnet34")
    (tmp_path / "net.safetensors").write_bytes(b"nothing")
    assert "no usable safetensors" in refusal(tmp_path / "net.safetensors")


def test_settings_that_make_no_sense(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    assert "affect.arch=resnet: choose from alexnet" in refusal(path, arch="resnet")
    assert "affect.arch=raft_large: choose" in refusal(path, arch="raft_large")
    assert "affect.labels=glad: must be" in refusal(path, labels="glad")
    assert "two or more different names" in refusal(path, labels=["a", "b", "a"])
    assert "affect.window=[1, 2]" in refusal(path, window=[1, 2])
    assert "empty window" in refusal(path, window=[1, 1, 0, 0])
    assert "mean and std" in refusal(path, mean=[0.5])
    squeeze = models.get_model("squeezenet1_1", weights=None, num_classes=3)
    torch.save(squeeze.state_dict(), path)
    assert "does not end in a linear layer" in refusal(path, arch="squeezenet1_1")
