"""mini-XCEPTION: its Keras file read exactly, hostile ones refused, faces read sensibly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from swapper.errors import EstimatorError
from swapper.estimators import xception
from swapper.estimators.base import Estimator, load_estimator
from swapper.faces.geometry import similarity_from_landmarks, warp
from swapper.faces.openface import OpenfaceAligner
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import sample_stage
from swapper.media.video_reader import VideoReader
from swapper.synth.actor import Actor
from swapper.synth.emotions import EMOTION_BY_NAME

h5py = pytest.importorskip("h5py", reason="pip install 'swapper[xception]'")

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


def test_the_keras_file_is_read_to_the_letter(tmp_path: Path) -> None:
    layers = keras_layers()
    estimator = xception.load(write(tmp_path / "net.hdf5", layers))
    x = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = estimator.net(x)
    torch.testing.assert_close(found.logits, as_tensorflow_would(layers, x), rtol=1e-4, atol=1e-4)
    assert found.embedding.shape == (3, 128)
    assert estimator.labels == xception.LABELS


def test_gradients_reach_the_face(tmp_path: Path) -> None:
    estimator = xception.load(write(tmp_path / "net.hdf5", keras_layers()))
    faces = torch.rand(2, 3, 96, 96, requires_grad=True)
    estimator(faces).embedding.square().sum().backward()
    assert faces.grad is not None
    assert (faces.grad.flatten(1).abs().sum(1) > 0).all()
    assert not list(estimator.parameters())


def refusal(path: Path) -> str:
    with pytest.raises(EstimatorError) as caught:
        xception.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 500
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
    assert "no such file: pass affect.weights=PATH" in refusal(path)


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


def test_the_pinned_file_is_asked_for_and_its_absence_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        raise OSError("offline")

    monkeypatch.setattr("urllib.request.urlopen", nothing)
    with pytest.raises(EstimatorError, match=r"offline.*pass affect\.weights=PATH"):
        load_estimator("xception", "training")


# --- the real weights -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared: Path) -> Estimator:
    path = shared / "weights" / "fer2013_mini_XCEPTION.102-0.66.hdf5"
    return load_estimator("xception", "training", weights=str(path))


@pytest.fixture(scope="module")
def clip(shared: Path, real: Estimator) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Of every third frame of the real clip A: number, probabilities, height of the brows."""
    aligner = OpenfaceAligner(str(shared / "real" / "clip_a.openface.csv"))
    aligner.prepare()
    numbers, crops, brows = [], [], []
    with VideoReader(shared / "real" / "clip_a.mp4") as reader:
        for frame in reader:
            found = aligner(frame)
            if frame.index % 3 == 0 and found:
                points = found[0].landmarks
                crops.append(warp(frame.image, similarity_from_landmarks(points, 160, "head"), 160))
                lift = points[[37, 38, 43, 44], 1].mean() - points[[19, 20, 23, 24], 1].mean()
                brows.append(lift / np.linalg.norm(points[45] - points[36]))
                numbers.append(frame.index)
    shares = real.read(np.stack(crops), "head").probabilities
    assert shares is not None
    return np.array(numbers), shares.numpy(), np.array(brows)


def test_finds_the_surprised_frames_of_a_real_clip(clip: Any) -> None:
    # Looked at: from frame 300 on her mouth and eyes are wide open, and never before.
    numbers, shares, _ = clip
    surprised = shares.argmax(axis=1) == real_label("surprise")
    assert surprised[numbers >= 300].mean() > 0.8
    assert surprised[numbers < 280].mean() < 0.05


def test_finds_the_frowning_frames_of_a_real_clip(clip: Any) -> None:
    # Looked at: she sulks with knitted brows in these.
    numbers, shares, brows = clip
    frowning = ((numbers >= 114) & (numbers <= 165)) | ((numbers >= 231) & (numbers <= 276))
    unpleasant = shares[:, [real_label(name) for name in ("anger", "fear", "sad", "disgust")]]
    assert unpleasant[frowning].sum(axis=1).mean() > 0.95
    neutral = shares[:, real_label("neutral")]
    assert neutral[frowning].max() < 0.1
    assert neutral[~frowning].max() > 0.3
    # And the lower the brows, the angrier.
    assert np.corrcoef(shares[:, real_label("anger")], brows)[0, 1] < -0.5


def real_label(name: str) -> int:
    return xception.LABELS.index(name)


def test_reads_actors_rightly_more_often_than_not(real: Estimator) -> None:
    emotions = ("neutral", "happy", "surprise")
    crops, played = [], []
    for seed in range(12):
        actor, stage = Actor(sample_identity(seed)), sample_stage(seed)
        for emotion in emotions:
            for variant in EMOTION_BY_NAME[emotion].variants[:2]:
                shot = actor.render(HeadState(variant.intensities()), stage, 192)
                points = shot.landmarks.astype(np.float32)
                crops.append(warp(shot.image, similarity_from_landmarks(points, 160, "face"), 160))
                played.append(real_label(emotion))
    logits = real.read(np.stack(crops)).logits
    assert logits is not None
    right = logits.numpy().argmax(axis=1) == np.array(played)
    for emotion in emotions:
        assert right[np.array(played) == real_label(emotion)].mean() > 0.5, emotion
