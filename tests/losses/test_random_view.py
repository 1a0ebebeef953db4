"""Random views: what they keep, what they change, and that gradients pass."""

from __future__ import annotations

import pytest
import torch

from swapper.losses.random_view import RandomView

STILL = {"shift": 0.0, "scale": 0.0, "blur": 0.0, "light": 0.0, "noise": 0.0}


def faces(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_view_that_does_nothing_hardly_changes_a_picture() -> None:
    (seen,) = RandomView(**STILL)(faces())
    assert (seen - faces()).abs().max() < 0.07
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(RandomView(**STILL)(flat)[0], flat)


@pytest.mark.parametrize("name", STILL)
def test_each_strength_changes_something_and_every_draw_is_another(name: str) -> None:
    view = RandomView(**STILL | {name: 0.2})
    torch.manual_seed(0)
    plain = RandomView(**STILL)(faces())[0]
    first, second = view(faces())[0], view(faces())[0]
    assert (first - plain).abs().mean() > 0.004
    assert (first - second).abs().mean() > 0.001
    torch.manual_seed(3)
    again = view(faces())[0]
    torch.manual_seed(3)
    torch.testing.assert_close(view(faces())[0], again, rtol=0, atol=0)


def test_a_shift_moves_by_its_share() -> None:
    dot = torch.zeros(64, 3, 33, 33)
    dot[:, :, 16, 16] = 1
    torch.manual_seed(0)
    (seen,) = RandomView(**STILL | {"shift": 0.1})(dot)
    place = torch.arange(33.0) - 16
    across = (seen[:, 0].sum(dim=1) * place).sum(dim=1)
    assert across.abs().max() <= 0.1 * 33 + 0.1
    assert across.abs().max() > 0.07 * 33
    assert across.std() > 1


def test_both_pictures_are_seen_from_the_same_place() -> None:
    view = RandomView(noise=0.0)
    one, other = view(faces(), faces())
    torch.testing.assert_close(one, other)
    one, other = RandomView(**STILL | {"noise": 0.1})(faces(), faces())
    assert (one - other).abs().mean() > 0.001


def test_gradients_reach_every_pixel() -> None:
    pictures = faces().requires_grad_()
    RandomView(shift=0.0, scale=0.0)(pictures)[0].square().sum().backward()
    assert pictures.grad is not None
    assert (pictures.grad != 0).float().mean() > 0.99


def test_a_strength_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shift .*0\.5.*0\.7"):
        RandomView(shift=0.7)
