"""The expression loss in a training step: what it trains, what it leaves alone, that it helps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swapper.data.augment import Augment
from swapper.data.dataset import assemble
from swapper.estimators.base import Estimator, load_estimator
from swapper.losses.expression import CodeMap, ExpressionLoss
from swapper.losses.random_view import RandomView
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import Autoencoder, DfAutoencoder
from swapper.training.expression_step import SwapAssignment, expression_step
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.reconstruct import decode_blocks
from swapper.types import Coverage, FaceBatch
from tests.training.short_runs import face_batch, fit

K = 4
NAMES = ("alice", "bob", "carol")


def batch(identities: int = 2, each: int = 3, step: int = 0) -> FaceBatch:
    code = torch.randn(identities * each, K, generator=torch.Generator().manual_seed(0))
    return replace(face_batch(identities, each, step), code=code)


def woken(identities: int = 2, **settings: Any) -> DfAutoencoder:
    """A network in which the code is heard and no branch is silent."""
    torch.manual_seed(0)
    options = {"width": 4, "latent": 16, "code_dim": K} | settings
    net = DfAutoencoder(NAMES[:identities], 64, **options)
    with torch.no_grad():
        for name, each in net.named_parameters():
            each.add_(torch.randn_like(each), alpha=0.3 if ".code_film." in name else 0.05)
    return net


def bound(**settings: Any) -> tuple[ExpressionLoss, Estimator]:
    loss = ExpressionLoss(**settings)
    estimator = load_estimator("actors", "training")
    map_ = CodeMap(torch.zeros(128), torch.randn(128, K))
    loss.bind(estimator, "face", [map_] * 3)
    return loss, estimator


def test_everyone_is_played_by_everyone_else_in_turn() -> None:
    seen = set()
    for step in range(4):
        cast = SwapAssignment.of(batch(3, step=step), 3, 1.0)
        assert cast.rows.tolist() == list(range(9))
        assert not (cast.performer == cast.identity).any()
        seen |= set(zip(cast.performer.tolist(), cast.identity.tolist(), strict=True))
    assert len(seen) == 6
    two = SwapAssignment.of(batch(2), 2, 1.0)
    assert two.identity.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_share_of_the_faces_keeps_who_follows_whom() -> None:
    follows = torch.tensor([-1, 0, 1, -1, -1, 3])
    cast = SwapAssignment.of(replace(batch(2), previous=follows), 2, 0.5)
    assert cast.rows.tolist() == [0, 1, 3, 4]
    assert cast.previous.tolist() == [-1, 0, -1, -1]
    cast = SwapAssignment.of(replace(batch(2), previous=follows), 2, 1.0)
    assert cast.previous.tolist() == follows.tolist()


def trained_by(trained_layers: str, share: str) -> tuple[set[str], Autoencoder]:
    net, (loss, estimator) = (
        woken(shared_stages=1),
        bound(
            **{
                "swap": 0.0,
                "recon": 0.0,
                "color_anchor": 0.0,
                "trained_layers": trained_layers,
                share: 1.0,
            }
        ),
    )
    made = batch()
    latent = net.encode(torch.rand(6, 3, 64, 64))
    own = torch.cat([
        net.decode(block, name, code).image
        for block, name, code in zip(latent.chunk(2), NAMES, made.code.chunk(2), strict=False)
    ])  # fmt: skip
    extra, told = expression_step(
        net, loss, made, latent, own, torch.rand(6, 5, 64, 64), torch.tensor(1.0)
    )
    extra.backward()
    assert all(each.grad is None for each in estimator.buffers())
    assert torch.isfinite(torch.stack(list(told.values()))).all()
    names = {n for n, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    return names, net


def test_on_the_swap_only_what_listens_to_the_code_learns() -> None:
    names, net = trained_by("conditioning", "swap")
    assert names == net.trained_by_expression(fine=False)
    assert names


def test_its_reach_can_take_in_the_coarse_stages_and_the_encoder() -> None:
    names, net = trained_by("coarse", "swap")
    assert names == net.trained_by_expression(fine=True)
    assert any(name.startswith("encoder.") for name in names)
    assert any(name.startswith("trunk.") for name in names)


def test_on_own_faces_everything_learns_but_masks() -> None:
    names, net = trained_by("conditioning", "recon")
    left = {name for name, _ in net.named_parameters()} - names
    assert left
    assert all(".mask." in name or name == "null" for name in left)


def test_the_gradient_at_the_swap_is_bounded() -> None:
    net, (loss, _) = woken(), bound(swap=0.5, recon=0.0, color_anchor=0.0)
    made = batch()
    latent = net.encode(torch.rand(6, 3, 64, 64))
    arguments = (net, loss, made, latent, torch.rand(6, 3, 64, 64), torch.rand(6, 5, 64, 64))
    torch.manual_seed(0)
    _, loose = expression_step(*arguments, torch.tensor(1e9))
    torch.manual_seed(0)
    _, tight = expression_step(*arguments, torch.tensor(1e-9))
    assert loose["swap_bound"] == 1
    assert tight["swap_bound"] < 1e-3
    torch.testing.assert_close(loose["swap_affect"], tight["swap_affect"])


def test_shuffled_codes_draw_other_pictures() -> None:
    net, made = woken(), batch()
    latent = net.encode(torch.rand(6, 3, 64, 64))
    with torch.no_grad():
        right = decode_blocks(net, latent, [1, 0], made.code).image
        wrong = decode_blocks(net, latent, [1, 0], made.code[[1, 2, 0, 4, 5, 3]]).image
    assert (right - wrong).abs().mean() > 1e-3


@dataclass
class Openness:
    """How dark the middle of the lower half is, as an estimator would answer."""

    embedding: Tensor
    valence: Tensor | None = None
    arousal: Tensor | None = None


class Mouth:
    def __call__(self, faces: Tensor, coverage: Coverage) -> Openness:
        patch = faces[:, :, 36:60, 20:44].mean(dim=(1, 2, 3))
        return Openness(patch[:, None])

    def to(self, device: torch.device) -> Mouth:
        return self


def drawn(openness: Tensor, level: float) -> Tensor:
    """(N, 5, 64, 64): a flat face with a dark mouth as tall as `openness` says."""
    rows = torch.arange(64.0)[None, :, None]
    columns = torch.arange(64.0)[None, None, :]
    tall = (2 + 20 * openness)[:, None, None]
    mouth = torch.sigmoid(tall / 2 - (rows - 48).abs()) * (columns - 32).abs().lt(10)
    picture = (level * (1 - mouth))[:, None].expand(-1, 3, -1, -1)
    return torch.cat([picture, torch.ones(len(openness), 2, 64, 64)], dim=1)


def performance(step: int) -> FaceBatch:
    """Eight faces of each of two people; the second hardly opens the mouth."""
    openness = torch.rand(16, generator=torch.Generator().manual_seed(step))
    openness[8:] *= 0.1
    faces = torch.cat([drawn(openness[:8], 0.8), drawn(openness[8:], 0.5)])
    stored = (faces.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    draw = Augment.none().draw(np.random.default_rng(0), 64, 64)
    return replace(assemble(stored, [draw] * 16, 2, step), code=openness[:, None] * 2)


def toy(folder: Path, with_loss: bool) -> tuple[float, float]:
    """Train two toy people, one of whom never opens the mouth; swap held-out performances.

    Returns:
        Error of the swap's openness, and of the picture beside the mouth, on frames never seen.
    """
    torch.manual_seed(0)
    net = DfAutoencoder(NAMES[:2], 64, width=4, latent=16, code_dim=1, shared_stages=1)
    expression = ExpressionLoss(
        swap=0.1 if with_loss else 0.0, recon=3.0 if with_loss else 0.0, ramp=24,
        view=RandomView(), trained_layers="coarse",
    )  # fmt: skip
    rest = [
        Mouth()(drawn(torch.zeros(1), level)[:, :3], "face").embedding[0] for level in (0.8, 0.5)
    ]
    scale = [torch.tensor([[-12.0]]), torch.tensor([[-12.0 * 0.8 / 0.5]])]
    expression.bind(Mouth(), "face", [CodeMap(*each) for each in zip(rest, scale, strict=True)])
    optim = Optim(partial(torch.optim.AdamW, betas=(0.9, 0.99)), lr=3e-3, warmup_steps=0)
    module = SwapModule(net, ReconstructionLoss(), optim, expression=expression)
    fit(module, folder, map(performance, range(120)))
    held_out = torch.linspace(0.3, 1, 9)
    with torch.no_grad():
        swap = net(drawn(held_out, 0.8)[:, :3], "bob", held_out[:, None] * 2).image
    truth = drawn(held_out, 0.5)[:, :3]
    read = partial(Mouth(), coverage="face")
    error = (read(swap).embedding - read(truth).embedding).abs().mean()
    return float(error), float((swap - truth)[:, :, :30].abs().mean())


@pytest.mark.slow
def test_a_trained_toy_opens_a_mouth_that_its_identity_never_opened(tmp_path: Path) -> None:
    without, beside_without = toy(tmp_path, with_loss=False)
    error, beside = toy(tmp_path, with_loss=True)
    assert error < 0.75 * without
    assert beside < beside_without + 0.03


@pytest.mark.parametrize("wrong", [0, 7])
def test_a_batch_without_the_model_s_codes_is_refused(wrong: int) -> None:
    module = SwapModule(
        woken(), ReconstructionLoss(), Optim(torch.optim.AdamW, lr=1e-3, warmup_steps=0)
    )
    bad = replace(batch(), code=torch.zeros(6, wrong))
    with pytest.raises(ValueError, match=f"codes of {K}, "):
        module.training_step(bad, 0)
