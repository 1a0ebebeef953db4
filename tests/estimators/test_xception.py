"""mini-XCEPTION: faces read sensibly with its real weights; what is missing says its cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from convert_weights import convert_xception
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.estimators import xception
from swapper.estimators.base import Estimator, load_estimator
from swapper.estimators.weights_file import save_weights
from swapper.faces.geometry import similarity_from_landmarks, warp
from swapper.faces.openface import OpenfaceAligner
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import sample_stage
from swapper.media.video_reader import VideoReader
from swapper.synth.actor import Actor
from swapper.synth.emotions import EMOTION_BY_NAME


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """A file as ``scripts/convert_weights.py`` makes it, with random values."""
    torch.manual_seed(0)
    path = tmp_path / "xception.safetensors"
    save_weights(xception.MiniXception(), path, xception.METADATA, torch.float32)
    return path


def test_gradients_reach_the_face(converted: Path) -> None:
    estimator = load_estimator("xception", "training", weights=str(converted))
    faces = torch.rand(2, 3, 96, 96, requires_grad=True)
    estimator(faces).embedding.square().sum().backward()
    assert faces.grad is not None
    assert (faces.grad.flatten(1).abs().sum(1) > 0).all()
    assert not list(estimator.parameters())


@pytest.mark.parametrize("name", ["none.safetensors", "net.hdf5", "."])
def test_what_is_not_converted_says_how_to(converted: Path, name: str) -> None:
    path = converted.parent / name
    if name == "net.hdf5":
        path.write_bytes(b"Keras")
    with pytest.raises(EstimatorError, match=r"scripts/convert_weights\.py xception") as caught:
        xception.load(path)
    assert str(caught.value).startswith(str(path))


def test_without_a_path_the_cache_is_looked_up(converted: Path) -> None:
    with pytest.raises(EstimatorError, match=r"weights/xception\.safetensors: no such file"):
        load_estimator("xception", "training")


def test_damaged_weights_name_the_file_and_the_cure(converted: Path) -> None:
    converted.write_bytes(converted.read_bytes()[:-4])
    with pytest.raises(EstimatorError, match=r"xception\.safetensors: .*convert_weights"):
        xception.load(converted)


# --- the real weights -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Estimator:
    pytest.importorskip("h5py", reason="pip install 'swapper[convert]'")
    path = tmp_path_factory.mktemp("weights") / "xception.safetensors"
    convert_xception(shared / "weights" / "fer2013_mini_XCEPTION.102-0.66.hdf5", path)
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


@pytest.mark.slow
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
