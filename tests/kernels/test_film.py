"""film_lrelu and its sub-pixel order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from swapper.kernels import dispatch
from swapper.kernels.film import film_lrelu, pixel_shuffle

SHAPES = [(2, 3, 1, 1, 1), (1, 8, 7, 5, 2), (3, 3, 4, 6, 2), (2, 2, 3, 2, 3)]
"""N, C, H, W, upscale."""

INTERPRETS = importlib.util.find_spec("triton") is not None and not torch.cuda.is_available()


@pytest.fixture(
    params=[
        torch.float64,
        pytest.param(
            torch.float32,
            marks=pytest.mark.skipif(not INTERPRETS, reason="Triton does not interpret here"),
        ),
    ],
    ids=["reference", "triton"],
)
def precision(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """The best that a backend computes in; it is that backend which runs."""
    dtype: torch.dtype = request.param
    with dispatch.using("reference" if dtype == torch.float64 else "triton"):
        yield dtype


def loop_reference(
    x: Tensor, gamma: Tensor, beta: Tensor, slope: float, r: int, residual: Tensor | None
) -> Tensor:
    """The contract, one output pixel at a time."""
    n, channels, h, w = x.shape
    c = channels // (r * r)
    out = torch.zeros(n, c, h * r, w * r, dtype=x.dtype)
    for y in range(h * r):
        for column in range(w * r):
            first = ((y % r) * r + column % r) * c
            value = x[:, first : first + c, y // r, column // r]
            value = value * (1 + gamma[:, first : first + c]) + beta[:, first : first + c]
            out[:, :, y, column] = torch.where(value > 0, value, slope * value)
    return out if residual is None else out + residual


def draw(shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> tuple[Tensor, ...]:
    n, c, h, w, r = shape
    generator = torch.Generator().manual_seed(7)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    channels = c * r * r
    return (
        normal(n, channels, h, w),
        normal(n, channels),
        normal(n, channels),
        normal(n, c, h * r, w * r),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_the_contract_written_as_loops(
    shape: tuple[int, int, int, int, int],
    memory_format: torch.memory_format,
    precision: torch.dtype,
) -> None:
    x, gamma, beta, residual = draw(shape, precision)
    expected = loop_reference(x, gamma, beta, 0.2, shape[-1], residual)
    x = x.contiguous(memory_format=memory_format)
    got = film_lrelu(x, gamma, beta, slope=0.2, upscale=shape[-1], residual=residual)
    tolerance = 1e-12 if precision == torch.float64 else 2e-6
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)],
)
@pytest.mark.usefixtures("precision")
def test_half_types_are_computed_in_float32(dtype: torch.dtype, tolerance: float) -> None:
    x, gamma, beta, residual = draw((2, 8, 7, 5, 2), dtype)
    got = film_lrelu(x, gamma.float(), beta.float(), upscale=2, residual=residual)
    exact = loop_reference(
        x.double(), gamma.float().double(), beta.float().double(), 0.1, 2, residual.double()
    )
    assert got.dtype == dtype
    relative = (got.double() - exact).norm() / exact.norm()
    assert relative <= tolerance
    if dtype != torch.float32:  # rounded once, at the end
        torch.testing.assert_close(got, exact.float().to(dtype), rtol=2 * tolerance, atol=1e-6)


def test_gradients_in_float64() -> None:
    x, gamma, beta, residual = (t.requires_grad_() for t in draw((2, 2, 2, 3, 2), torch.float64))
    assert torch.autograd.gradcheck(
        lambda a, g, b, r: film_lrelu(a, g, b, upscale=2, residual=r), (x, gamma, beta, residual)
    )
    shared = torch.randn(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: film_lrelu(a, None, b, upscale=2), (x, shared))


@pytest.mark.usefixtures("precision")
def test_no_gamma_is_exactly_zero_gamma() -> None:
    x, gamma, beta, _ = draw((2, 8, 7, 5, 2), torch.float32)
    assert torch.equal(
        film_lrelu(x, None, beta, upscale=2), film_lrelu(x, gamma * 0, beta, upscale=2)
    )


def test_one_vector_serves_every_sample(precision: torch.dtype) -> None:
    x, gamma, beta, _ = draw((3, 2, 3, 2, 1), precision)
    one = film_lrelu(x, gamma[0], beta[0])
    assert torch.equal(one, film_lrelu(x, gamma[:1].expand(3, -1), beta[:1].expand(3, -1)))


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("upscale", [1, 2])
def test_channels_last_stays(upscale: int) -> None:
    x, gamma, beta, _ = draw((2, 8, 6, 4, upscale), torch.float32)
    last = film_lrelu(x.contiguous(memory_format=torch.channels_last), gamma, beta, upscale=upscale)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert film_lrelu(x, gamma, beta, upscale=upscale).is_contiguous()


def test_order_is_not_torchs() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1, 1)
    assert pixel_shuffle(x, 2)[0, 0].tolist() == [[0, 2], [4, 6]]
    assert pixel_shuffle(x, 2)[0, 1].tolist() == [[1, 3], [5, 7]]


@pytest.mark.usefixtures("precision")
def test_bad_shapes_name_dimension_expected_and_actual() -> None:
    x, gamma, beta, residual = draw((2, 2, 3, 3, 2), torch.float32)
    with pytest.raises(ValueError, match=r"beta dimension 1 must be 8 .* got 7"):
        film_lrelu(x, None, beta[:, :7])
    with pytest.raises(ValueError, match=r"gamma dimension 0 must be 2 .* got 1"):
        film_lrelu(x, gamma[:1], beta)
    with pytest.raises(ValueError, match=r"x dimension 1 .*9.* 8"):
        film_lrelu(x, None, beta, upscale=3)
    with pytest.raises(ValueError, match=r"residual must be \(2, 8, 3, 3\)"):
        film_lrelu(x, None, beta, residual=residual)
    with pytest.raises(ValueError, match=r"x must have 4 dimensions"):
        film_lrelu(x[0], None, beta)
    with pytest.raises(ValueError, match=r"beta must have 1 or 2 dimensions"):
        film_lrelu(x, None, beta[None])
    with pytest.raises(ValueError, match=r"upscale .* 0"):
        film_lrelu(x, None, beta, upscale=0)
