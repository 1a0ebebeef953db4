"""Other people's weights: read to the letter, hostile files refused, nothing unpickled."""

from __future__ import annotations

import io
import json
import os
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import convert_weights
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from swapper.downloads import cache_folder
from swapper.errors import EstimatorError, UsageError
from swapper.estimators import emotieff, xception
from swapper.files import sha256_of
from tests.refusals import refusal_of

h5py = pytest.importorskip("h5py", reason="pip install 'swapper[convert]'")
timm = pytest.importorskip("timm", reason="pip install 'swapper[emotieff]'")

Layers = list[tuple[str, dict[str, Any], dict[str, NDArray[np.float32]]]]


def keras_layers(seed: int = 0) -> Layers:
    """What Keras keeps of mini-XCEPTION, with random values."""
    rng = np.random.default_rng(seed)

    def array(*shape: int) -> NDArray[np.float32]:
        scale = np.sqrt(2 / max(np.prod(shape[:-1]), 1)) if len(shape) > 1 else 0.1
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    def conv(kernel: int, inputs: int, outputs: int, stride: int, padding: str, **more: Any) -> Any:
        config = {"strides": [stride, stride], "padding": padding}
        return "Conv2D", config, {"kernel": array(kernel, kernel, inputs, outputs), **more}

    def norm(channels: int) -> Any:
        weights = {"gamma": 1 + array(channels), "beta": array(channels)}
        weights |= {"moving_mean": array(channels), "moving_variance": 1 + np.abs(array(channels))}
        return "BatchNormalization", {"epsilon": 0.001}, weights

    def separable(inputs: int, outputs: int) -> Any:
        weights = {"depthwise_kernel": array(3, 3, inputs, 1)}
        weights["pointwise_kernel"] = array(1, 1, inputs, outputs)
        return "SeparableConv2D", {"strides": [1, 1], "padding": "same"}, weights

    pool = {"strides": [2, 2], "padding": "same", "pool_size": [3, 3]}
    layers: Layers = [("InputLayer", {}, {})]
    layers += [conv(3, 1, 8, 1, "valid"), norm(8), ("Activation", {}, {})]
    layers += [conv(3, 8, 8, 1, "valid"), norm(8)]
    for width in (16, 32, 64, 128):
        layers += [separable(width // 2, width), norm(width), separable(width, width), norm(width)]
        layers += [conv(1, width // 2, width, 2, "same"), ("MaxPooling2D", pool, {}), norm(width)]
    layers.append(conv(3, 128, 7, 1, "same", bias=array(7)))
    return layers


def write(path: Path, layers: Layers) -> Path:
    """As Keras 2.0 lays a model out."""
    with h5py.File(path, "w") as file:
        described = []
        for number, (kind, config, weights) in enumerate(layers):
            name = f"{kind.lower()}_{number}"
            described.append({"class_name": kind, "config": {"name": name, **config}})
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}_1/{key}:0".encode() for key in weights]
            for key, value in weights.items():
                group[f"{name}_1/{key}:0"] = value
        file.attrs["model_config"] = json.dumps({"config": {"layers": described}}).encode()
    return path


def as_tensorflow_would(layers: Layers, x: Tensor) -> Tensor:
    """(N, 7) logits, each layer written out after Keras's documentation, channels first."""
    queue = iter([each for each in layers if each[0] not in ("InputLayer", "Activation")])

    def conv(y: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weights = next(queue)[2]
        kernel = torch.tensor(weights["kernel"]).permute(3, 2, 0, 1)
        bias = torch.tensor(weights["bias"]) if "bias" in weights else None
        return F.conv2d(y, kernel, bias, stride=stride, padding=padding)

    def norm(y: Tensor) -> Tensor:
        w = {key: torch.tensor(value)[:, None, None] for key, value in next(queue)[2].items()}
        scaled = (y - w["moving_mean"]) / torch.sqrt(w["moving_variance"] + 1e-3)
        return scaled * w["gamma"] + w["beta"]

    def separable(y: Tensor) -> Tensor:
        weights = next(queue)[2]
        depth = torch.tensor(weights["depthwise_kernel"]).permute(2, 3, 0, 1)
        point = torch.tensor(weights["pointwise_kernel"]).permute(3, 2, 0, 1)
        return F.conv2d(F.conv2d(y, depth, padding=1, groups=y.shape[1]), point)

    x = norm(conv(x)).relu()
    x = norm(conv(x)).relu()
    for before in (0, 0, 1, 0):  # 60, 30, 15 and 8 pixels: only 15 takes an even padding
        deep = norm(separable(norm(separable(x)).relu()))
        padded = F.pad(deep, (before, 1, before, 1), value=-1e30)
        around = conv(x, stride=2)
        next(queue)
        x = F.max_pool2d(padded, 3, 2) + norm(around)
    return conv(x, padding=1).mean((2, 3))


def converted_xception(path: Path) -> Any:
    output = path.with_suffix(".safetensors")
    convert_weights.convert_xception(path, output)
    return xception.load(output)


def test_the_keras_file_is_read_to_the_letter(tmp_path: Path) -> None:
    layers = keras_layers()
    estimator = converted_xception(write(tmp_path / "net.hdf5", layers))
    x = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    answer = estimator.net(x)
    torch.testing.assert_close(answer.logits, as_tensorflow_would(layers, x), rtol=1e-4, atol=1e-4)
    assert answer.embedding.shape == (3, 128)
    assert estimator.labels == xception.LABELS


def refusal(path: Path) -> str:
    options = convert_weights.parser().parse_args(["xception", str(path)])
    message = refusal_of(EstimatorError, convert_weights.run, options)
    assert message.startswith(str(path))
    return message


def test_what_is_no_hdf5_or_only_half_of_one(tmp_path: Path) -> None:
    path = write(tmp_path / "net.hdf5", keras_layers())
    size = path.stat().st_size
    for share in (0.9, 0.5, 0.01):
        os.truncate(path, int(size * share))
        refusal(path)
    path.write_bytes(b"no weights")
    refusal(path)
    path.unlink()
    assert "no such file" in refusal(path)


def test_an_hdf5_of_something_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["numbers"] = np.zeros(3)
    assert "no usable Keras file" in refusal(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "a") as file:
        file.attrs["model_config"] = "[" * 100_000
    refusal(tmp_path / "other.hdf5")


def changed(number: int, **changes: Any) -> Layers:
    layers = keras_layers()
    kind, config, weights = layers[number]
    for key, value in changes.items():
        (weights if key in weights else config)[key] = value
    layers[number] = (kind, config, weights)
    return layers


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (keras_layers()[:-1], "a Conv2D was expected, not its end"),
        (keras_layers() + keras_layers()[-1:], "it goes on with a Conv2D"),
        (changed(1, padding="same"), "a Conv2D has padding same, not valid"),
        (changed(1, kernel=np.zeros((3, 3, 3, 8), np.float32)), "kernel is"),
        (changed(1, kernel=np.zeros((3, 3, 1, 8), np.float64)), "not a layer's float32"),
        (changed(1, kernel=np.full((3, 3, 1, 8), np.nan, np.float32)), "not finite"),
        (changed(2, moving_variance=np.full(8, -1, np.float32)), "a variance is negative"),
        (changed(2, epsilon=0), "has epsilon 0"),
        (changed(2, epsilon=[1]), "is not mini-XCEPTION"),
        (changed(2, epsilon=1e-5), "has epsilon 1e-05"),
    ],
)
def test_another_network(layers: Layers, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(write(tmp_path / "net.hdf5", layers))


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "victim.hdf5", keras_layers())
    path = write(tmp_path / "net.hdf5", keras_layers())
    inner = "model_weights/conv2d_1/conv2d_1_1/kernel:0"
    with h5py.File(path, "a") as file:
        del file[inner]
        file[inner] = h5py.ExternalLink(str(tmp_path / "victim.hdf5"), inner)
    assert "is missing or a link" in refusal(path)
    with h5py.File(path, "a") as file:
        del file[inner]
        raw = [(str(tmp_path / "victim.hdf5"), 0, 288)]
        file.create_dataset(inner, (3, 3, 1, 8), np.float32, external=raw)
    assert "is no plain array" in refusal(path)


def test_arrays_that_unpack_are_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "net.hdf5", keras_layers())
    inner = "model_weights/conv2d_1/conv2d_1_1/kernel:0"
    with h5py.File(path, "a") as file:
        del file[inner]
        file.create_dataset(inner, (1 << 20, 1 << 20), np.float32, chunks=True, compression="gzip")
    assert "is no plain array" in refusal(path)


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


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    """A whole module as timm's is pickled, of a package that is then gone."""
    room: Any = types.ModuleType("oldtimm")

    class EfficientNet(nn.Module):
        pass

    EfficientNet.__module__, EfficientNet.__qualname__ = "oldtimm", "EfficientNet"
    room.EfficientNet = EfficientNet
    torch.manual_seed(3)
    net = shaken(timm.create_model("tf_efficientnet_b0", num_classes=10))
    pickled = EfficientNet()
    for name, child in net.named_children():
        pickled.add_module(name, child)
    pickled.classifier = nn.Sequential(net.classifier)
    monkeypatch.setitem(sys.modules, "oldtimm", room)
    torch.save(pickled, tmp_path / "enet_b0_8_va_mtl.pt")
    monkeypatch.delitem(sys.modules, "oldtimm")
    return tmp_path / "enet_b0_8_va_mtl.pt", net


def convert_emotieff(*line: object) -> Path:
    arguments = ["emotieff", *map(str, line)]
    return convert_weights.run(convert_weights.parser().parse_args(arguments))


def test_a_pickled_module_is_converted_to_the_bit(published: tuple[Path, nn.Module]) -> None:
    path, net = published
    made = convert_emotieff(path, "--licence", "research-only")
    assert made == cache_folder() / "emotieff.safetensors"
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        outputs = net(x)
        answer = emotieff.load().net(x)
    assert torch.equal(answer.logits, outputs[:, :8])
    assert torch.equal(answer.valence, outputs[:, 8].clamp(-1, 1))
    assert torch.equal(answer.arousal, outputs[:, 9].clamp(-1, 1))


def test_another_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(EstimatorError, match=r"net\.pt: .*enet_b0_8_va_mtl") as caught:
        convert_emotieff(path, "--licence", "research-only")
    assert "\n" not in str(caught.value)


def test_the_licence_has_to_be_accepted(
    published: tuple[Path, nn.Module], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["convert_weights", "emotieff", str(published[0])])
    assert convert_weights.main() == 2
    error = capsys.readouterr().err
    assert "--licence research-only" in error
    assert error.count("\n") == 1
    assert not (cache_folder() / "emotieff.safetensors").exists()


def test_what_was_fetched_is_not_trusted_before_its_hash_is_confirmed(
    published: tuple[Path, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = published
    accepted = ("--licence", "research-only")
    requests: list[str] = []

    class Answer(io.BytesIO):
        url = convert_weights.EMOTIEFF_URL

    def urlopen(url: str, **_: Any) -> Answer:
        requests.append(url)
        return Answer(path.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    digest = sha256_of(path)
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"--sha256 {digest}"):
            convert_emotieff(*accepted)
    before = len(requests)
    assert convert_emotieff(*accepted, "--sha256", digest.upper()).is_file()
    assert len(requests) == before
    with pytest.raises(EstimatorError, match="sha256 differs"):
        convert_emotieff(*accepted, "--sha256", "0" * 64)
    with pytest.raises(EstimatorError, match=rf"its sha256 is {digest}"):
        convert_emotieff(path, *accepted, "--sha256", "0" * 64)
    with pytest.raises(UsageError, match="must be 64 hex digits"):
        convert_emotieff(*accepted, "--sha256", "../x")
