"""The layers and how they start."""

from __future__ import annotations

import pytest
import torch

from swapper.kernels.film import pixel_shuffle
from swapper.models.blocks import Down, Head, Residual, Up, init_icnr_, rms_norm, sigmoid
from swapper.models.conditioning import CodeFilm, Film, IdentityFilm


def is_nearest_neighbour(x: torch.Tensor) -> bool:
    corner = x[..., ::2, ::2]
    return all(torch.equal(corner, x[..., i::2, j::2]) for i in (0, 1) for j in (0, 1))


def test_sub_pixel_layers_start_without_checkerboard() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7)
    for layer in (Up(6, 4), Head(6, 3)):
        y = layer(x)
        assert y.shape[2:] == (10, 14)
        assert is_nearest_neighbour(y)
        assert y.std() > 0.05


def test_icnr_keeps_the_size_of_the_features() -> None:
    torch.manual_seed(0)
    weight = torch.empty(4 * 32, 64, 3, 3)
    init_icnr_(weight)
    y = torch.nn.functional.conv2d(torch.randn(4, 64, 16, 16), weight, padding=1)
    assert pixel_shuffle(y, 2).relu().square().mean().item() == pytest.approx(1, rel=0.15)


def test_residual_starts_as_identity_and_learns() -> None:
    torch.manual_seed(0)
    block = Residual(8)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.second.weight.grad is not None
    assert block.second.weight.grad.abs().sum() > 0


def test_down_halves() -> None:
    assert Down(3, 8)(torch.rand(2, 3, 16, 12)).shape == (2, 8, 8, 6)


def test_rms_norm_in_half_precision_neither_overflows_nor_divides_by_zero() -> None:
    large = torch.full((2, 4), 60000.0, dtype=torch.float16)
    torch.testing.assert_close(rms_norm(large, 1), torch.ones_like(large))
    assert torch.equal(rms_norm(torch.zeros(2, 4), 1), torch.zeros(2, 4))
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = x / x.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(rms_norm(x, 1), expected, rtol=1e-6, atol=1e-6)


def test_colours_are_finer_than_bfloat16() -> None:
    logits = torch.linspace(0, 4, 1000, dtype=torch.bfloat16)
    fine = sigmoid(logits)
    assert fine.dtype == torch.float32
    assert len(fine.unique()) > len(torch.sigmoid(logits).unique())


def test_film_of_code_starts_at_zero_and_never_answers_to_zero() -> None:
    film = CodeFilm(3, 5)
    gamma, beta = film(torch.randn(2, 3)).gamma, film(torch.randn(2, 3)).beta
    assert gamma.shape == beta.shape == (2, 5)
    assert gamma.abs().sum() == beta.abs().sum() == 0
    torch.nn.init.normal_(film.linear.weight)
    assert film(torch.zeros(2, 3)).gamma.abs().sum() == 0
    assert film(torch.ones(2, 3)).gamma.abs().sum() > 0


def test_films_add() -> None:
    identity = IdentityFilm(4)
    both = identity() + Film(torch.ones(2, 4), 2 * torch.ones(2, 4))
    assert torch.equal(both.gamma, torch.ones(2, 4))
    assert torch.equal(both.beta, 2 * torch.ones(2, 4))


def test_modulation_cannot_draw_a_checkerboard() -> None:
    torch.manual_seed(0)
    layer = Up(6, 4)
    gamma, beta = torch.randn(2, 4), torch.randn(2, 4)
    x = torch.randn(2, 6, 5, 5)
    y = layer(x, gamma, beta)
    assert is_nearest_neighbour(y)
    plain = torch.nn.functional.conv2d(x, layer.conv.weight[:4], padding=1)
    scaled = plain * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
    torch.testing.assert_close(
        y[..., ::2, ::2], torch.nn.functional.leaky_relu(scaled, 0.1), rtol=1e-4, atol=1e-5
    )
