"""EmotiEff: timm's network, read as its author publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swapper.errors import EstimatorError
from swapper.estimators import emotieff
from swapper.estimators.base import load_estimator
from swapper.estimators.weights_file import save_weights

pytest.importorskip("timm", reason="pip install 'swapper[emotieff]'")


def test_reads_faces_and_passes_gradients_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = emotieff.EmotiEffNet()
    net.net.classifier.bias.data[8:] = torch.tensor([3.0, -3.0])
    path = tmp_path / "emotieff.safetensors"
    save_weights(net, path, emotieff.METADATA, torch.float32)
    estimator = load_estimator("emotieff", "training", weights=str(path))
    faces = torch.rand(1, 3, 128, 128, requires_grad=True)
    answer = estimator(faces)
    assert answer.embedding.shape == (1, 1280)
    assert len(estimator.labels) == answer.logits.shape[1] == 8
    assert answer.valence.item() == 1  # within [-1, 1], whatever a linear layer says
    assert answer.arousal.item() == -1
    answer.embedding.square().sum().backward()
    assert faces.grad is not None
    assert faces.grad.abs().sum() > 0
    assert not list(estimator.parameters())


def test_what_is_not_converted_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(EstimatorError, match=r"scripts/convert_weights\.py emotieff"):
        load_estimator("emotieff", "training", weights=str(tmp_path / "enet_b0_8_va_mtl.pt"))
