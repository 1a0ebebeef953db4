"""EmotiEff: the tf_ variant to the letter; licence and hash asked for; harvested once."""

from __future__ import annotations

import io
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from swapper.downloads import cache_folder, sha256_of
from swapper.errors import EstimatorError, UsageError
from swapper.estimators import emotieff
from swapper.estimators.base import load_estimator
from swapper.estimators.efficientnet import EfficientNetB0

ACCEPTED = {"licence": emotieff.LICENCE}


def shaken(net: nn.Module, seed: int = 0) -> nn.Module:
    """With norms that a wrong epsilon or order would show."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight.data, module.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) * 0.02 + 0.01)
            module.weight.data.sqrt_()
            for value in (module.bias.data, module.running_mean):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return net.eval()


class Same(nn.Conv2d):
    """Pads one side more where that comes out odd, worked out for even sizes and stride 2 only."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] % 2 == 0
        low = (self.kernel_size[0] - 2) // 2
        high = self.kernel_size[0] - 2 - low
        return super().forward(nn.functional.pad(x, (low, high, low, high)))


def torchvisions() -> nn.Module:
    """Another hand's EfficientNet-B0, turned into TensorFlow's by norms and strided padding."""
    net = torchvision.models.efficientnet_b0(num_classes=10)
    for module in list(net.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
        for name, conv in module.named_children():
            if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                same = Same(conv.in_channels, conv.out_channels, conv.kernel_size, 2,
                            groups=conv.groups, bias=False)  # fmt: skip
                setattr(module, name, same)
    return shaken(net)


def test_the_network_is_tensorflows_b0() -> None:
    torch.manual_seed(0)
    other, ours = torchvisions(), EfficientNetB0(10).eval()
    # Both name their layers in the order of use, but for the ways of writing a block.
    pairs = zip(ours.state_dict().items(), other.state_dict().items(), strict=True)
    taken = {}
    for (name, mine), (_, theirs) in pairs:
        assert mine.shape == theirs.shape, name
        taken[name] = theirs
    ours.load_state_dict(taken)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features, outputs = ours(x)
        torch.testing.assert_close(outputs, other(x), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            features, other.avgpool(other.features(x)).flatten(1), rtol=1e-3, atol=1e-4
        )
        # What takes the same weights and answers wrongly must not pass for it.
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-5
        assert not torch.allclose(ours(x)[1], other(x), rtol=1e-2, atol=1e-2)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    """A whole module as timm's would be pickled, of a package that is then gone."""
    room: Any = types.ModuleType("oldtimm")

    class EfficientNet(EfficientNetB0):
        pass

    class BatchNormAct2d(nn.BatchNorm2d):
        pass

    for kind in (EfficientNet, BatchNormAct2d):
        kind.__module__, kind.__qualname__ = "oldtimm", kind.__name__
        setattr(room, kind.__name__, kind)
    torch.manual_seed(3)
    net = shaken(EfficientNet(10))
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNormAct2d
    net.classifier = nn.Sequential(net.classifier)
    monkeypatch.setitem(sys.modules, "oldtimm", room)
    torch.save(net, tmp_path / "enet_b0_8_va_mtl.pt")
    monkeypatch.delitem(sys.modules, "oldtimm")
    return tmp_path / "enet_b0_8_va_mtl.pt", net


def test_a_pickled_module_is_harvested_to_the_bit_and_kept(
    published: tuple[Path, nn.Module],
) -> None:
    path, net = published
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features, outputs = net(x)
        for _ in range(2):
            estimator = emotieff.load(path, **ACCEPTED)
            found = estimator.net(x)
            assert torch.equal(found.embedding, features)
            assert torch.equal(found.logits, outputs[:, :8])
            assert torch.equal(found.valence, outputs[:, 8].clamp(-1, 1))
            assert torch.equal(found.arousal, outputs[:, 9].clamp(-1, 1))
    (kept,) = cache_folder().glob("*.safetensors")
    assert kept.name.startswith(sha256_of(path)[:12])
    kept.write_bytes(b"damaged")
    assert emotieff.load(path).fingerprint == estimator.fingerprint
    assert kept.stat().st_size > 1_000_000


def test_reads_faces_and_passes_gradients_on(published: tuple[Path, nn.Module]) -> None:
    estimator = load_estimator("emotieff", "training", weights=str(published[0]), **ACCEPTED)
    faces = torch.rand(1, 3, 128, 128, requires_grad=True)
    answer = estimator(faces)
    assert answer.embedding.shape == (1, 1280)
    assert len(estimator.labels) == answer.logits.shape[1] == 8
    answer.embedding.square().sum().backward()
    assert faces.grad is not None
    assert faces.grad.abs().sum() > 0
    assert not list(estimator.parameters())


def test_another_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    for net, reason in (
        (EfficientNetB0(8), r"classifier\.\w+ is \(8"),
        (nn.Linear(2, 2), "is not enet_b0_8_va_mtl"),
    ):
        torch.save(net, path)
        with pytest.raises(EstimatorError, match=reason) as caught:
            emotieff.load(path, **ACCEPTED)
        assert "\n" not in str(caught.value)
    net = EfficientNetB0(10)
    net.classifier.bias.data[3] = float("nan")
    torch.save(net, path)
    with pytest.raises(EstimatorError, match=r"classifier\.bias that are not finite"):
        emotieff.load(path, **ACCEPTED)
    with pytest.raises(EstimatorError, match=r"none\.pt: no such file: pass affect\.weights=PATH"):
        emotieff.load(tmp_path / "none.pt", **ACCEPTED)


def test_the_licence_is_accepted_once(published: tuple[Path, nn.Module]) -> None:
    path, _ = published
    with pytest.raises(UsageError, match=r"AffectNet.*pass affect\.licence=research-only") as first:
        emotieff.load(path)
    assert "\n" not in str(first.value)
    with pytest.raises(UsageError, match=r"affect\.licence"):
        emotieff.load(path, licence="yes")
    emotieff.load(path, **ACCEPTED)
    emotieff.load(path)


def test_what_was_fetched_is_not_trusted_before_its_hash_is_confirmed(
    published: tuple[Path, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = published
    asked: list[str] = []

    class Answer(io.BytesIO):
        url = emotieff.URL

    def urlopen(url: str, **_: Any) -> Answer:
        asked.append(url)
        return Answer(path.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    digest = sha256_of(path)
    for _ in range(2):
        with pytest.raises(EstimatorError, match=rf"no hash.*affect\.sha256={digest}"):
            emotieff.load(**ACCEPTED)
    before = len(asked)
    fingerprint = emotieff.load(sha256=digest.upper()).fingerprint
    assert emotieff.load().fingerprint == fingerprint == emotieff.load(path).fingerprint
    assert len(asked) == before
    with pytest.raises(EstimatorError, match="sha256 differs"):
        emotieff.load(sha256="0" * 64)
    with pytest.raises(EstimatorError, match=rf"its sha256 is {digest}"):
        emotieff.load(path, sha256="0" * 64)
    with pytest.raises(UsageError, match=r"affect\.sha256=\.\./x: must be 64 hex digits"):
        emotieff.load(sha256="../x")
