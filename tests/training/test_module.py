"""The training step: which way gradients go, and what happens when they are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor

from swapper.errors import TrainingError
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import DfAutoencoder
from swapper.training.module import MAX_BAD_STEPS, SwapModule
from swapper.training.optim import Optim
from tests.training.short_runs import UNLOGGED, face_batch, fit

pytestmark = pytest.mark.filterwarnings(UNLOGGED)


def module(optimizer: Any = torch.optim.AdamW, lr: float = 3e-3, **settings: Any) -> SwapModule:
    torch.manual_seed(0)
    net = DfAutoencoder(("alice", "bob"), 64, width=4, latent=16, **settings)
    optim = Optim(partial(optimizer), lr=lr, warmup_steps=0)
    return SwapModule(net, ReconstructionLoss(), optim, record={"config": {}, "identities": []})


def test_each_decoder_learns_from_its_own_faces_only() -> None:
    made = module()
    faces = face_batch()
    output = made.reconstruct(made.net.encode(torch.rand(4, 3, 64, 64)), None)
    assert output.image.shape == (4, 3, 64, 64)
    output.image[:2].sum().backward()
    gradients = [
        sum(float(each.grad.abs().sum()) for each in decoder.parameters() if each.grad is not None)
        for decoder in made.net.decoders
    ]
    assert gradients[0] > 0
    assert gradients[1] == 0
    assert faces.identity.tolist() == [0, 0, 1, 1]


class Watch(Callback):
    """Keeps the loss of each step and, flat, the weights after it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.weights: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))
        self.weights.append(flat(pl_module))


def flat(made: Any) -> Tensor:
    return torch.cat([each.detach().flatten() for each in made.net.parameters()])


def test_a_run_lowers_the_loss(tmp_path: Path) -> None:
    watch = Watch()
    fit(module(), tmp_path, [face_batch()] * 25, watch)
    assert watch.losses[-1] < 0.9 * watch.losses[0]


def spoilt(made: SwapModule, bad: Iterator[bool]) -> SwapModule:
    """Its gradient is not finite at the steps that `bad` names."""
    weight = next(made.net.parameters())
    weight.register_hook(lambda grad: grad * (torch.nan if next(bad) else 1.0))
    return made


def test_a_gradient_that_is_not_finite_changes_nothing_and_many_end_the_run(tmp_path: Path) -> None:
    watch, made = Watch(), spoilt(module(), (True for _ in count()))
    before = flat(made)
    with pytest.raises(TrainingError, match=rf"step {MAX_BAD_STEPS - 1}: .* optim\.lr"):
        fit(made, tmp_path, [face_batch()] * (MAX_BAD_STEPS + 5), watch, gradient_clip_val=1.0)
    assert len(watch.weights) == MAX_BAD_STEPS - 1
    assert all(torch.equal(each, before) for each in (*watch.weights, flat(made)))


def test_one_good_step_forgives_the_bad_ones_and_is_clipped(tmp_path: Path) -> None:
    good = MAX_BAD_STEPS - 1  # bad before and bad after, by number
    watch, made = Watch(), spoilt(module(torch.optim.SGD, lr=1.0), (n != good for n in count()))
    before = flat(made)
    steps = [face_batch()] * (2 * MAX_BAD_STEPS - 1)
    fit(made, tmp_path, steps, watch, gradient_clip_val=1e-3)
    assert torch.equal(watch.weights[good - 1], before)
    moved = float((watch.weights[good] - before).double().norm())
    assert moved == pytest.approx(1e-3, rel=1e-2)
    assert torch.equal(watch.weights[-1], watch.weights[good])


def test_what_dropout_draws_depends_on_seed_step_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    made, other = module(), module()
    other.seed = 1

    def draw(made: SwapModule, step: int = 0, rank: int = 0) -> float:
        monkeypatch.setattr(SwapModule, "global_rank", rank)
        made.training_step(face_batch(step=step), 0)
        return float(torch.rand(1))

    assert draw(made) == draw(made)
    assert len({draw(made), draw(made, step=1), draw(made, rank=1), draw(other)}) == 4


def test_a_checkpoint_carries_the_config(tmp_path: Path) -> None:
    trainer = fit(module(), tmp_path, [face_batch()])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["swapper"] == {"config": {}, "identities": []}
