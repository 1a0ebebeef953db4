"""The two networks that swapper brings: what they share, what not, and how well they read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from swapper.errors import EstimatorError
from swapper.estimators import actors_net, judge_net
from swapper.estimators.weights_file import OWN, save_weights
from swapper.faces.geometry import similarity_from_landmarks, warp
from swapper.head_renderer import units as actor_units
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import sample_stage
from swapper.synth.actor import Actor
from swapper.synth.emotions import BASIC, EMOTION_BY_NAME

READERS = [pytest.param(actors_net, id="actors"), pytest.param(judge_net, id="judge")]
NETS: dict[ModuleType, type[nn.Module]] = {
    actors_net: actors_net.ActorsNet,
    judge_net: judge_net.JudgeNet,
}
SIZES = (64, 128, 256)
HeldOut = tuple[dict[int, NDArray[np.uint8]], NDArray[np.int64], NDArray[np.float32]]
FIRST_SEED = 4_000_000  # of people whom no set that the networks learn from holds


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2].removesuffix("_net")


def test_labels_and_units_are_the_actors_own() -> None:
    assert actors_net.LABELS == BASIC
    assert actors_net.UNITS == actor_units.UNITS


@pytest.mark.parametrize("module", READERS)
def test_answers_everything_within_its_range(module: ModuleType) -> None:
    torch.manual_seed(0)
    net = NETS[module]().eval()
    answer = net(module.view()(torch.rand(3, 3, 50, 50)))
    assert answer.probabilities.shape == (3, 8)
    for value in (answer.valence, answer.arousal):
        assert value.shape == (3,)
        assert value.abs().max() <= 1
    assert answer.units.shape == answer.asymmetry.shape == (3, 19)
    for side in (answer.units + answer.asymmetry / 2, answer.units - answer.asymmetry / 2):
        assert side.min() >= 0
        assert side.max() <= 1


@pytest.mark.parametrize("module", READERS)
def test_loading_keeps_the_random_numbers_of_a_run(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(NETS[module](), path, module.METADATA)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    estimator = module.load(path)
    assert torch.equal(torch.rand(4), expected)
    assert (estimator.name, estimator.measuring_only) == (name_of(module), module is judge_net)


def test_neither_takes_the_others_weights(tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    save_weights(judge_net.JudgeNet(), path, judge_net.METADATA)
    with pytest.raises(EstimatorError, match=r"'judge-1' .*'actors-1'"):
        actors_net.load(path)


def test_the_judge_looks_past_light_and_colour() -> None:
    torch.manual_seed(0)
    net, view = judge_net.JudgeNet().eval(), judge_net.view()
    faces = torch.rand(2, 3, 60, 60)
    dimmed = 0.6 * faces.mean(dim=1, keepdim=True).expand_as(faces) + 0.2
    grey = faces.mean(dim=1, keepdim=True).expand_as(faces)
    torch.testing.assert_close(
        net(view(dimmed)).embedding, net(view(grey)).embedding, atol=0.01, rtol=0.05
    )


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """Crops by size, emotion and shown units of every basic emotion on six people."""
    crops: dict[int, list[NDArray[np.uint8]]] = {size: [] for size in SIZES}
    emotions, shown = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + 6):
        actor, stage = Actor(sample_identity(seed), detail=2), sample_stage(seed)
        for number, emotion in enumerate(BASIC):
            variants = EMOTION_BY_NAME[emotion].variants
            state = HeadState(
                variants[seed % len(variants)].intensities(), pose=(seed % 7 * 3.0, 0, 0)
            )
            shot = actor.render(state, stage, 256)
            for size in SIZES:
                matrix = similarity_from_landmarks(shot.landmarks.astype(np.float32), size, "face")
                crops[size].append(warp(shot.image, matrix, size))
            emotions.append(number)
            shown.append(shot.observed_units.mean(axis=0))
    stacked = {size: np.stack(each) for size, each in crops.items()}
    return stacked, np.array(emotions), np.stack(shown)


@pytest.mark.parametrize("module", READERS)
def test_weights_are_small_and_their_own(module: ModuleType) -> None:
    assert (OWN / f"{name_of(module)}.safetensors").stat().st_size < 2_000_000
    assert actors_net.load().fingerprint != judge_net.load().fingerprint


@pytest.mark.parametrize("module", READERS)
def test_reads_people_it_never_saw(module: ModuleType, held_out: HeldOut) -> None:
    crops, emotions, shown = held_out
    for size in SIZES:
        answer = module.load().read(crops[size])
        hits = (answer.logits.numpy().argmax(axis=1) == emotions).mean()
        assert hits > 0.375, f"{size} px: three times chance"
        moving = shown.std(axis=0) > 0.1
        rho = [
            np.corrcoef(answer.units.numpy()[:, column], shown[:, column])[0, 1]
            for column in np.flatnonzero(moving)
        ]
        assert np.mean(rho) > 0.5, f"{size} px"


@pytest.mark.parametrize("module", READERS)
def test_reads_a_crop_alike_at_every_size(module: ModuleType, held_out: HeldOut) -> None:
    crops, _, _ = held_out
    finest = module.load().read(crops[256]).units
    for size in SIZES[:-1]:
        assert (module.load().read(crops[size]).units - finest).abs().mean() < 0.05, size
