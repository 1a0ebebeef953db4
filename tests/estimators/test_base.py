"""The protocol: frozen, differentiable, held apart from training, comparable by hash."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swapper.errors import UsageError
from swapper.estimators import judge_net, weights_file
from swapper.estimators.base import (
    AffectBatch,
    Estimator,
    fingerprint,
    load_estimator,
    refuse_measuring_only,
)
from swapper.estimators.preprocess import Preprocess, Window


class Net(nn.Module):
    """Has all that training changes: weights, running statistics, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 5)
        )
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> AffectBatch:
        embedding = self.layers(x)
        return AffectBatch(embedding, self.head(embedding), valence=embedding[:, 0].tanh())


def make(seed: int = 0, *, measuring_only: bool = False) -> Estimator:
    torch.manual_seed(seed)
    view = Preprocess(Window(-60, -30, 60, 90), (8, 8))
    labels = ("calm", "glad", "cross")
    return Estimator("toy", view, Net(), labels=labels, measuring_only=measuring_only)


def faces(count: int = 3, size: int = 20) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def test_freezing_changes_no_answer() -> None:
    torch.manual_seed(0)
    net, view = Net(), Preprocess(Window(-60, -30, 60, 90), (8, 8))
    net(view(faces(64)))  # gives BatchNorm statistics of its own
    expected = net.eval()(view(faces()))
    found = Estimator("toy", view, copy.deepcopy(net))(faces())
    assert torch.equal(found.embedding, expected.embedding)


def test_training_the_module_around_it_changes_nothing() -> None:
    estimator, given = make(), faces()
    before = estimator(given)
    around = nn.ModuleDict({"estimator": estimator, "own": nn.Linear(2, 2)})
    around.train()
    assert around["own"].training
    assert not any(module.training for module in estimator.modules())
    for _ in range(3):
        after = estimator(given)
    assert torch.equal(before.embedding, after.embedding)


def test_has_nothing_to_train_average_or_save() -> None:
    around = nn.ModuleDict({"estimator": make(), "own": nn.Linear(2, 2)})
    assert [name for name, _ in around.named_parameters()] == ["own.weight", "own.bias"]
    assert list(around.state_dict()) == ["own.weight", "own.bias"]
    around.load_state_dict({"own.weight": torch.ones(2, 2), "own.bias": torch.ones(2)})


def test_it_still_moves_with_the_module_around_it() -> None:
    around = nn.ModuleDict({"estimator": make()}).double()
    assert around["estimator"](faces()).embedding.dtype == torch.float64
    twin = copy.deepcopy(around)
    assert torch.equal(twin["estimator"](faces()).embedding, around["estimator"](faces()).embedding)


def test_gradients_reach_the_faces_and_nothing_else() -> None:
    estimator = make()
    given = faces().requires_grad_()
    answer = estimator(given)
    answer.embedding.square().sum().backward()
    assert given.grad is not None
    assert (given.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(value.grad is None and not value.requires_grad for value in estimator.buffers())


def test_reads_the_same_under_autocast() -> None:
    estimator, given = make(), faces()
    with torch.autocast("cpu", torch.bfloat16):
        cast = estimator(given.bfloat16().float())
    plain = estimator(given.bfloat16().float())
    assert cast.embedding.dtype == torch.float32
    assert torch.equal(cast.embedding, plain.embedding)


def test_the_fingerprint_is_of_the_weights() -> None:
    assert make().fingerprint == make().fingerprint
    assert make(1).fingerprint != make().fingerprint
    assert make().double().fingerprint == make().fingerprint
    assert make().lineage == f"toy:{make().fingerprint}"
    net = Net()
    known = fingerprint(net)
    with torch.no_grad():
        net.layers[1].running_mean += 1e-3
    assert fingerprint(net) != known


def test_pictures_read_as_faces_do_in_batches_of_any_size() -> None:
    estimator = make()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), np.uint8)
    expected = estimator(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    for batch_size in (1, 2, 64):
        found = estimator.read(pictures, batch_size=batch_size)
        torch.testing.assert_close(found.embedding, expected.embedding)
        torch.testing.assert_close(found.probabilities, expected.probabilities)
        assert found.arousal is None


def test_the_coverage_of_the_crop_counts() -> None:
    estimator, given = make(), faces()
    assert not torch.equal(estimator(given).embedding, estimator(given, "head").embedding)


def test_readings_are_plain_and_can_be_thinned() -> None:
    estimator = make()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    answer, plain = estimator.read(pictures), estimator.readings(pictures)
    assert len(plain) == 3
    assert plain.lineage == estimator.lineage
    assert plain.labels == ("calm", "glad", "cross")
    assert plain.arousal is None
    np.testing.assert_array_equal(plain.embedding, answer.embedding)
    assert plain.probabilities is not None
    np.testing.assert_allclose(plain.probabilities.sum(axis=1), 1, rtol=1e-6)
    fewer = plain.take(np.array([2, 0]))
    np.testing.assert_array_equal(fewer.embedding, plain.embedding[[2, 0]])
    assert fewer.valence is not None
    assert plain.valence is not None
    np.testing.assert_array_equal(fewer.valence, plain.valence[[2, 0]])
    assert fewer.arousal is None
    assert fewer.labels == plain.labels


@pytest.mark.parametrize(
    "given",
    [
        torch.rand(3, 20, 20),
        torch.rand(1, 1, 20, 20),
        torch.zeros(1, 3, 20, 20, dtype=torch.uint8),
    ],
)
def test_refuses_what_is_no_batch_of_faces(given: Tensor) -> None:
    with pytest.raises(ValueError, match=r"faces must be \(N, 3, S, S\)"):
        make()(given)


def test_refuses_what_are_no_pictures() -> None:
    with pytest.raises(ValueError, match="pictures must be uint8"):
        make().read(np.zeros((1, 20, 20, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pictures must be uint8"):
        make().read(np.zeros((0, 20, 20, 3), np.uint8))


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"affect=angry: .*actors, judge"):
        load_estimator("angry", "training")


def test_a_judge_measures_and_never_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_file.save_weights(
        judge_net.JudgeNet(), tmp_path / "judge.safetensors", judge_net.METADATA
    )
    monkeypatch.setattr(judge_net, "OWN", tmp_path)
    assert load_estimator("judge", "measuring").measuring_only
    with pytest.raises(UsageError, match="affect=judge: reserved for measuring") as caught:
        load_estimator("judge", "training")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="affect=toy: reserved for measuring"):
        refuse_measuring_only(make(measuring_only=True))
    refuse_measuring_only(make())
