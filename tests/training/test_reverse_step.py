"""Reverse pairs: from which step, what they train, and what they leave alone."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from swapper.data.augment import Augment
from swapper.data.dataset import assemble, warped_and_target
from swapper.errors import UsageError
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import DfAutoencoder
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.reverse_step import ReversePairs
from swapper.types import FaceBatch

SIDE = 64


def network(identities: int = 2) -> DfAutoencoder:
    torch.manual_seed(0)
    return DfAutoencoder(("alice", "bob", "carol")[:identities], SIDE, width=4, latent=16)


def batch(identities: int = 2, each: int = 2, step: int = 0) -> FaceBatch:
    faces = np.random.default_rng(0).integers(
        0, 256, (identities * each, SIDE, SIDE, 5), dtype=np.uint8
    )
    draw = Augment.none().draw(np.random.default_rng(0), SIDE, SIDE)
    return assemble(faces, [draw] * len(faces), identities, step)


def given_back(net: DfAutoencoder, averaged: DfAutoencoder, some: FaceBatch) -> Tensor:
    warped, target = warped_and_target(some, SIDE)
    loss, parts = ReversePairs()(
        net, averaged, ReconstructionLoss(), warped, target, None, some.step
    )
    assert set(parts) == {"reverse_dssim", "reverse_l1", "reverse_eyes_mouth", "reverse_mask"}
    return loss


def test_it_trains_encoder_and_decoders_and_not_the_average() -> None:
    net = network(3)
    averaged = deepcopy(net)
    given_back(net, averaged, batch(3)).backward()
    assert all(each.grad is not None for each in net.encoder.parameters())
    for decoder in net.decoders:
        assert any(each.grad is not None and each.grad.any() for each in decoder.parameters())
    assert all(each.grad is None for each in averaged.parameters())


def test_the_input_is_a_swap_by_the_averaged_weights() -> None:
    """A change of the average's other decoder changes the loss; one of its own does not."""
    net, some = network(), batch()
    plain = given_back(net, deepcopy(net), some)
    for index in range(2):
        averaged = deepcopy(net)
        with torch.no_grad():
            for each in averaged.decoders[index].parameters():
                each.add_(0.1)
        assert given_back(net, averaged, some) != plain
    # Alice's block alone: her faces are swapped by Bob's decoder.
    warped, target = (each[:2] for each in warped_and_target(some, SIDE))
    averaged = deepcopy(net)
    with torch.no_grad():
        for each in averaged.decoders[0].parameters():
            each.add_(0.1)
        swaps = [
            net_of.decode(net_of.encode(warped), "bob", None).image for net_of in (net, averaged)
        ]
    assert torch.equal(*swaps)
    assert target.shape == (2, 5, SIDE, SIDE)


def test_it_sets_in_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, float] = {}
    module = SwapModule(
        network(), ReconstructionLoss(), Optim(torch.optim.Adam, 1e-3),
        reverse=ReversePairs(start=5),
    )  # fmt: skip
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    for step, on in ((4, False), (5, True)):
        monkeypatch.setattr(SwapModule, "global_step", property(lambda _, step=step: step))
        logged.clear()
        module.training_step(batch(), 0)
        assert ("train/reverse_l1" in logged) == on


def test_a_net_learns_to_give_back_faces() -> None:
    some, net = batch(), network()
    averaged = deepcopy(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    first = float(given_back(net, averaged, some).detach())
    for _ in range(25):
        optimiser.zero_grad()
        given_back(net, averaged, some).backward()
        optimiser.step()
    assert given_back(net, averaged, some) < 0.8 * first


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"weight": float("nan")}, {"start": -1}])
def test_settings_out_of_range_name_the_key(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=rf"reverse\.{next(iter(settings))}="):
        ReversePairs(**settings)  # type: ignore[arg-type]
