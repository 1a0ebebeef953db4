"""The training step: which way gradients go, and what happens when they are not finite."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from swapper.data.augment import Augment
from swapper.data.dataset import assemble
from swapper.errors import TrainingError
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import DfAutoencoder
from swapper.training.module import MAX_BAD_STEPS, SwapModule
from swapper.training.optim import Optim
from swapper.types import FaceBatch


def module(**settings: Any) -> SwapModule:
    torch.manual_seed(0)
    net = DfAutoencoder(("alice", "bob"), 64, width=4, latent=16, **settings)
    optim = Optim(partial(torch.optim.AdamW, betas=(0.9, 0.99)), lr=3e-3, warmup_steps=0)
    made = SwapModule(net, ReconstructionLoss(), optim, record={"config": {}, "identities": []})
    made.log = made.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    made._trainer = SimpleNamespace(global_rank=0, global_step=7)  # type: ignore[assignment]
    return made


def batch(per_identity: int = 2) -> FaceBatch:
    faces = np.random.default_rng(0).integers(0, 256, (2 * per_identity, 64, 64, 5), dtype=np.uint8)
    draw = Augment.none().draw(np.random.default_rng(0), 64, 64)
    return assemble(faces, [draw] * len(faces), 2, 0)


def test_each_decoder_learns_from_its_own_faces_only() -> None:
    made = module()
    faces = batch()
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


def test_a_step_lowers_the_loss() -> None:
    made = module()
    optimizer = made.configure_optimizers()
    losses = []
    for _ in range(25):
        loss = made.training_step(batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_gradient_that_is_not_finite_changes_nothing_and_many_end_the_run() -> None:
    made = module()
    optimizer = made.configure_optimizers()
    before = [each.clone() for each in made.net.parameters()]
    for number in range(MAX_BAD_STEPS):
        for each in made.net.parameters():
            each.grad = torch.full_like(each, float("nan"))
        if number == MAX_BAD_STEPS - 1:
            with pytest.raises(TrainingError, match=r"step 7: .* lower optim\.lr"):
                made.configure_gradient_clipping(optimizer, 1.0)
        else:
            made.configure_gradient_clipping(optimizer, 1.0)
        optimizer.step()
    after = list(made.net.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_one_good_step_forgives_the_bad_ones() -> None:
    made = module()
    optimizer = made.configure_optimizers()
    for _ in range(3):
        for bad in (True, False):
            for each in made.net.parameters():
                each.grad = torch.full_like(each, float("inf") if bad else 1.0)
            made.configure_gradient_clipping(optimizer, 1.0)
    assert made._bad_steps == 0
    norm = torch.stack([each.grad.norm() for each in made.net.parameters()]).norm()  # type: ignore[union-attr]
    assert float(norm) == pytest.approx(1.0, rel=1e-3)


def test_what_dropout_draws_depends_on_seed_step_and_rank() -> None:
    made = module()
    draws = []
    for rank in (0, 0, 1):
        made._trainer.global_rank = rank  # type: ignore[misc]
        made.training_step(batch(), 0)
        draws.append(float(torch.rand(1)))
    assert draws[0] == draws[1] != draws[2]


def test_a_checkpoint_carries_the_config() -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    assert checkpoint["swapper"] == {"config": {}, "identities": []}
