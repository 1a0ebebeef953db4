"""The swap held to pseudo-targets: whom it trains, how much, at what scale, and that it helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from swapper.data.dataset import pseudo_targets, warped_and_target
from swapper.data.pseudo_recipes import LIP_POINTS, NODES
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import DfAutoencoder
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.swap_step import PseudoTargetLoss
from swapper.types import FaceBatch, PseudoBatch
from tests.training.short_runs import face_batch, fit

NAMES = ("alice", "bob", "carol")
SIDE = 64


def network(identities: int = 2, **settings: int) -> DfAutoencoder:
    torch.manual_seed(0)
    return DfAutoencoder(NAMES[:identities], SIDE, **{"width": 4, "latent": 16, **settings})


def batch(identities: int = 2, each: int = 2, step: int = 0, weight: float = 1.0) -> FaceBatch:
    """Noise as faces; each swap's target is the next identity's face as it is."""
    count = identities * each
    sample = torch.arange(count)
    pseudo = PseudoBatch(
        sample=sample,
        weight=torch.full((count,), weight),
        base=(sample + each) % count,
        flow=torch.zeros(count, NODES, NODES, 2, dtype=torch.float16),
        donor=torch.full((count,), -1),
        donor_from_place=torch.zeros(count, 2, 3),
        lips=torch.zeros(count, LIP_POINTS, 2, dtype=torch.float16),
        gain=torch.tensor([1.0, 0.0]).expand(count, 3, 2),
        shade=torch.zeros(count, NODES, NODES, dtype=torch.int8),
    )
    return replace(face_batch(identities, each, step, SIDE), pseudo=pseudo)


def run(net: DfAutoencoder, some: FaceBatch, swap: PseudoTargetLoss | None = None) -> Tensor:
    """The loss of swaps of always the same performers."""
    noise = torch.rand(
        len(some.identity), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)
    )
    loss, parts = (swap or PseudoTargetLoss())(
        net, ReconstructionLoss(), some, net.encode(noise), None
    )
    assert set(parts) == {"pseudo_dssim", "pseudo_l1", "pseudo_eyes_mouth", "pseudo_mask"}
    return loss


def trained(net: DfAutoencoder) -> set[str]:
    """Which identities' decoders have a gradient."""
    return {
        name
        for name in net.identities
        if any(
            each.grad is not None and each.grad.abs().sum() > 0
            for key, each in net.named_parameters()
            if key.startswith(f"decoders.{net.identities.index(name)}.")
        )
    }


def test_it_trains_every_decoder_and_the_encoder() -> None:
    net = network(3)
    run(net, batch(3)).backward()
    assert trained(net) == set(NAMES)
    assert all(
        each.grad is not None for key, each in net.named_parameters() if key.startswith("encoder.")
    )


def test_a_performer_is_decoded_as_the_one_whose_turn_it_is() -> None:
    net = network(3)
    some = batch(3, step=1)
    assert some.pseudo is not None
    # Only alice's faces are held to anything; at step 1 she is carol's.
    some = replace(some, pseudo=replace(some.pseudo, weight=torch.tensor([1.0, 1, 0, 0, 0, 0])))
    run(net, some).backward()
    assert trained(net) == {"carol"}


def test_what_is_not_trusted_weighs_nothing_and_half_weighs_half() -> None:
    net = network()
    whole, half, none = (float(run(net, batch(weight=each)).detach()) for each in (1, 0.5, 0))
    assert none == 0
    assert half == pytest.approx(whole / 2, rel=1e-5)


def test_the_weight_scales_it() -> None:
    net, some = network(), batch()
    one, three = (float(run(net, some, PseudoTargetLoss(weight)).detach()) for weight in (1.0, 3.0))
    assert three == pytest.approx(3 * one, rel=1e-6)


def test_its_targets_are_the_other_identitys_faces() -> None:
    some = batch()
    target = pseudo_targets(some, SIDE)
    expected = some.faces[[2, 3, 0, 1]].permute(0, 3, 1, 2) / 255
    assert torch.equal(target, expected)


def test_above_its_resolution_it_says_nothing_of_fine_detail() -> None:
    """Detail that averages out over two by two pixels has no gradient."""
    net, some = network(), batch()
    latent = net.encode(torch.rand(4, 3, SIDE, SIDE)).detach()
    seen: list[Tensor] = []
    decode = net.decode

    def keep(*arguments: object) -> object:
        output = decode(*arguments)  # type: ignore[arg-type]
        output.image.retain_grad()
        seen.append(output.image)
        return output

    net.decode = keep  # type: ignore[method-assign, assignment]
    for side, coarse in ((SIDE // 2, True), (SIDE, False)):
        seen.clear()
        PseudoTargetLoss(resolution=side)(net, ReconstructionLoss(), some, latent, None)[
            0
        ].backward()
        gradient = seen[0].grad
        assert gradient is not None
        fine = gradient[..., ::2, ::2] - gradient[..., 1::2, 1::2]
        assert (fine.abs().max() < 1e-9) == coarse


def test_a_share_of_each_block_is_decoded() -> None:
    net, some = network(), batch(each=4)
    assert some.pseudo is not None
    rows = torch.tensor([0, 1, 4, 5])
    part = some.pseudo.map(lambda each: each[rows])
    sizes: list[int] = []
    decode = net.decode

    def count(latent: Tensor, *more: object) -> object:
        sizes.append(len(latent))
        return decode(latent, *more)  # type: ignore[arg-type]

    net.decode = count  # type: ignore[method-assign, assignment]
    run(net, replace(some, pseudo=part))
    assert sizes == [2, 2]


def test_swaps_learn_what_no_own_face_shows(tmp_path: Path) -> None:
    """After as many steps, a swap is nearer to its target than where nothing held it to one."""
    some, errors = batch(), []
    for swap in (PseudoTargetLoss(), None):
        optim = Optim(torch.optim.Adam, 5e-3, warmup_steps=0)
        net = network()
        fit(SwapModule(net, ReconstructionLoss(), optim, swap=swap), tmp_path, [some] * 25)
        with torch.no_grad():
            warped, _ = warped_and_target(some, SIDE)
            loss, _ = PseudoTargetLoss()(net, ReconstructionLoss(), some, net.encode(warped), None)
        errors.append(float(loss))
    assert errors[0] < 0.9 * errors[1]
