"""ReconstructionLoss: what each part sees, and in which precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from swapper.kernels.dssim import dssim_l1
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.losses.reduce import total
from swapper.types import SwapOutput

R = 32


def draw(dtype: torch.dtype = torch.float32) -> tuple[SwapOutput, Tensor]:
    """Random colours; the face is the square 8..24, eyes and mouth the square 12..16."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 5, R, R, generator=generator, dtype=dtype)
    target[:, 3:] = 0
    target[:, 3, 8:24, 8:24] = 1
    target[:, 4, 12:16, 12:16] = 1
    image = torch.rand(2, 3, R, R, generator=generator, dtype=dtype).requires_grad_()
    mask = torch.rand(2, 1, R, R, generator=generator, dtype=dtype).requires_grad_()
    return SwapOutput(image=image, mask=mask), target


def test_equals_its_definition_in_float64() -> None:
    output, target = draw(torch.float64)
    parts = ReconstructionLoss(background=0.25).per_sample(output, target)
    error = (output.image - target[:, :3]).abs().mean(1)
    weight = target[:, 3] + 0.25 * (1 - target[:, 3])
    structure, _ = dssim_l1(output.image, target[:, :3], weight[:, None])
    mask_error = (output.mask[:, 0] - target[:, 3]).abs()
    expected = {
        "dssim": structure,
        "l1": (error * weight).sum((1, 2)) / weight.sum((1, 2)),
        "eyes_mouth": error[:, 12:16, 12:16].mean((1, 2)),
        "mask": mask_error.mean((1, 2)),
    }
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        assert value.shape == (2,)
        torch.testing.assert_close(parts[name], value, msg=name)


def test_forward_gives_scalars_that_total_takes() -> None:
    loss = ReconstructionLoss(dssim=2, l1=3, eyes_mouth=4, mask=5)
    output, target = draw()
    parts = loss(output, target)
    assert all(value.shape == () and value.dtype == torch.float32 for value in parts.values())
    assert parts.keys() == loss.weights.keys()
    value = sum(weight * parts[name] for name, weight in loss.weights.items())
    torch.testing.assert_close(total(parts, loss.weights), value)


def test_each_part_reaches_what_it_should() -> None:
    output, target = draw()
    parts = ReconstructionLoss(background=0.0, scales=1).per_sample(output, target)
    gradients = {}
    for name, value in parts.items():
        gradients[name] = torch.autograd.grad(
            value.sum(), (output.image, output.mask), retain_graph=True, allow_unused=True
        )
    assert gradients["mask"][0] is None
    assert gradients["mask"][1].all()
    for name in ("dssim", "l1", "eyes_mouth"):
        assert gradients[name][1] is None
    inside = torch.zeros(R, R, dtype=torch.bool)
    inside[8:24, 8:24] = True
    assert (gradients["l1"][0][..., inside] != 0).all()
    assert (gradients["l1"][0][..., ~inside] == 0).all()
    inside[:] = False
    inside[12:16, 12:16] = True
    assert (gradients["eyes_mouth"][0][..., inside] != 0).all()
    assert (gradients["eyes_mouth"][0][..., ~inside] == 0).all()


def test_background_has_a_small_pull() -> None:
    output, target = draw()
    parts = ReconstructionLoss(background=0.1).per_sample(output, target)
    (gradient,) = torch.autograd.grad(parts["l1"].sum(), output.image)
    assert gradient[0, 0, 0, 0].abs() == pytest.approx(0.1 * gradient[0, 0, 16, 16].abs().item())


def test_the_default_priority_of_eyes_and_mouth() -> None:
    """On a face of which they are a seventh, each of their pixels counts about four times."""
    output, target = draw()
    target[:, 3] = 1
    target[:, 4] = 0
    target[:, 4, :R, : R // 7 + 1] = 1
    loss = ReconstructionLoss(dssim=0)
    parts = loss.per_sample(output, target)
    value = loss.weights["l1"] * parts["l1"] + loss.weights["eyes_mouth"] * parts["eyes_mouth"]
    (gradient,) = torch.autograd.grad(value.sum(), output.image)
    assert gradient[0, 0, 0, 0].abs() / gradient[0, 0, 0, -1].abs() == pytest.approx(4.2, abs=0.1)


def test_empty_masks_give_zero_not_nan() -> None:
    output, target = draw()
    target[:, 3:] = 0
    parts = ReconstructionLoss(background=0.0).per_sample(output, target)
    sum(value.sum() for value in parts.values()).backward()
    for name in ("dssim", "l1", "eyes_mouth"):
        assert not parts[name].any()
    assert output.image.grad is not None
    assert not output.image.grad.any()


def test_a_sliver_of_eye_does_not_outweigh_the_face() -> None:
    output, target = draw()
    target[:, 4] = 0
    target[:, 4, 12, 12] = 0.5
    parts = ReconstructionLoss().per_sample(output, target)
    (gradient,) = torch.autograd.grad(parts["eyes_mouth"].sum(), output.image)
    assert gradient.abs().max() <= 0.5 / (0.01 * R * R) / 3 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_and_autocast_are_computed_in_float32(dtype: torch.dtype) -> None:
    output, target = draw()
    halved = SwapOutput(image=output.image.to(dtype), mask=output.mask.to(dtype))
    exact = ReconstructionLoss()(
        SwapOutput(image=halved.image.double(), mask=halved.mask.double()), target.double()
    )
    with torch.autocast("cpu", dtype=dtype):
        parts = ReconstructionLoss()(halved, target)
    for name, value in parts.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), rel=1e-5)


def test_gradient_leads_to_the_target() -> None:
    torch.manual_seed(0)
    _, target = draw()
    logits = torch.zeros(2, 4, R, R, requires_grad=True)
    loss = ReconstructionLoss()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    values = []
    for _ in range(60):
        drawn = logits.sigmoid()
        value = total(loss(SwapOutput(image=drawn[:, :3], mask=drawn[:, 3:]), target), loss.weights)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.1 * values[0]


def test_bad_arguments() -> None:
    output, target = draw()
    with pytest.raises(ValueError, match=r"target must be \(2, 5, 32, 32\), got \(2, 4, 32, 32\)"):
        ReconstructionLoss()(output, target[:, :4])
    with pytest.raises(ValueError, match=r"mask must be \(2, 1, 32, 32\)"):
        ReconstructionLoss()(SwapOutput(image=output.image, mask=output.image), target)
    with pytest.raises(ValueError, match=r"l1 .*-1"):
        ReconstructionLoss(l1=-1)
    with pytest.raises(ValueError, match="background "):
        ReconstructionLoss(background=float("nan"))
    with pytest.raises(ValueError, match=r"weight .*above 0"):
        ReconstructionLoss(dssim=0, l1=0, eyes_mouth=0, mask=0)
