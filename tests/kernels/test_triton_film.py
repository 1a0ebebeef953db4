"""film_lrelu's Triton kernel against float64: interpreted on a CPU, or on a device."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from near import TOLERANCES, assert_near, each_dtype
from torch import Tensor

from swapper.errors import UsageError
from swapper.kernels import dispatch
from swapper.kernels.film import film_lrelu, film_lrelu_reference

pytest.importorskip("triton", reason="triton is not installed")
kernel: Any = importlib.import_module("swapper.kernels.triton_film")

CASES: list[tuple[tuple[int, int, int, int, int], str, str, str]] = [
    # (N, C, H, W, upscale), layout of x, gamma and beta, upstream gradient
    ((2, 3, 1, 1, 1), "last", "each", "last"),
    ((2, 3, 1, 1, 2), "planes", "shared", "planes"),
    ((1, 8, 7, 7, 2), "last", "mixed", "sliced"),
    ((3, 8, 16, 16, 1), "last", "beta", "last"),
    ((2, 24, 7, 5, 2), "planes", "each", "last"),
    ((1, 24, 16, 16, 2), "last", "shared", "last"),
    ((1, 3, 37, 29, 2), "sliced", "each", "planes"),
    ((1, 24, 37, 29, 1), "last", "each", "last"),
    ((1, 8, 37, 29, 2), "planes", "beta", "expanded"),
    ((2, 8, 1, 7, 1), "sliced", "chunk", "expanded"),
    ((2, 130, 3, 2, 1), "last", "chunk", "sliced"),
    ((2, 2, 3, 4, 3), "last", "mixed", "last"),
    ((2, 1, 5, 4, 1), "last", "each", "planes"),
]


def lay(values: Tensor, layout: str) -> Tensor:
    """The same values otherwise in memory; what lies between and around them is NaN."""
    if layout == "planes":
        return values.contiguous()
    if layout == "last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "expanded":
        return values[:1, :1, :1, :1].expand(values.shape)
    n, c, h, w = values.shape
    room = torch.full((n, h + 2, w + 3, c + 8), torch.nan, dtype=values.dtype, device=values.device)
    view = room.permute(0, 3, 1, 2)[:, 8:, 1:-1, 2:-1]
    return view.copy_(values)


def draw(
    shape: tuple[int, int, int, int, int],
    dtype: torch.dtype,
    device: str,
    layout: str = "last",
    film: str = "each",
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """x, gamma, beta and residual."""
    n, c, h, w, r = shape
    generator = torch.Generator().manual_seed(c * 100 + h)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(device)

    channels = c * r * r
    x = lay(normal(n, channels, h, w).to(dtype), layout)
    residual = lay(normal(n, c, h * r, w * r).to(dtype), "last")
    gamma, beta = normal(n, 2 * channels).chunk(2, dim=1)  # neither is contiguous
    if film == "each":
        return x, gamma.contiguous(), beta.to(dtype), residual
    if film == "shared":
        return x, gamma[0], beta[0], residual.float()
    if film == "mixed":
        return x, gamma.to(dtype), beta[0], residual.contiguous()
    return x, None if film == "beta" else gamma, beta[0] if film == "beta" else beta, residual


def noise(like: Tensor, layout: str) -> Tensor:
    """An upstream gradient."""
    values = torch.randn(like.shape, generator=torch.Generator().manual_seed(3))
    return lay(values.to(like), layout)


def run(function: Any, inputs: Any, upstream: Tensor, **options: Any) -> list[Tensor]:
    """Output, then the gradients of x, gamma, beta and residual, those that there are."""
    leaves = [None if each is None else each.detach().requires_grad_() for each in inputs]
    x, gamma, beta, residual = leaves
    out = function(x, gamma, beta, residual=residual, **options)
    found = torch.autograd.grad(
        out, [each for each in leaves if each is not None], upstream.to(out.dtype)
    )
    return [out.detach(), *found]


@pytest.mark.parametrize(("shape", "layout", "film", "upstream", "dtype"), each_dtype(CASES))
def test_output_and_every_gradient(
    shape: tuple[int, int, int, int, int],
    layout: str,
    film: str,
    upstream: str,
    dtype: torch.dtype,
    device: str,
) -> None:
    inputs = draw(shape, dtype, device, layout, film)
    up = noise(inputs[3].to(dtype), upstream)
    got = run(film_lrelu, inputs, up, slope=0.2, upscale=shape[-1])
    exact = [None if each is None else each.double() for each in inputs]
    want = run(film_lrelu_reference, exact, up, slope=0.2, upscale=shape[-1])
    given = [each for each in inputs if each is not None]
    assert [each.dtype for each in got] == [dtype, *(each.dtype for each in given)]
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["planes", "last"])
def test_the_same_bits_again(layout: str, dtype: torch.dtype, device: str) -> None:
    inputs = draw((3, 8, 17, 13, 2), dtype, device, layout)
    once, again = (run(film_lrelu, inputs, inputs[3], upscale=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("layout", ["planes", "last", "sliced", "turned", "point"])
def test_the_memory_format_is_the_references(layout: str, upscale: int, device: str) -> None:
    x, gamma, beta, _ = draw((2, 8, 4, 6, upscale), torch.float32, device)
    if layout == "turned":
        x = x.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2)
    else:
        x = x[..., :1, :1] if layout == "point" else x
        x = lay(x, "last" if layout == "point" else layout)
    x = x.requires_grad_()
    got = film_lrelu(x, gamma, beta, upscale=upscale)
    want = film_lrelu_reference(x, gamma, beta, upscale=upscale)
    torch.testing.assert_close(got, want)
    (change,) = torch.autograd.grad(got.sum(), x)
    for tensor, like in ((got, want), (change, torch.empty_like(x))):
        strides = zip(tensor.shape, tensor.stride(), like.stride(), strict=True)
        assert all(a == b for size, a, b in strides if size > 1)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("slope", [0.0, 1.0, -0.5, 2.0, 1e-40, float("inf")])
def test_any_slope_and_no_number(slope: float, device: str) -> None:
    x, gamma, beta, residual = draw((1, 8, 5, 3, 2), torch.float32, device)
    assert gamma is not None
    for place, value in enumerate((torch.nan, torch.inf, -torch.inf, 0.0, -0.0)):
        x[0, 3 * place, 1, 1] = value
    gamma[0, 20], beta[0, 21] = 0.0, torch.nan
    x[:, 22] = beta[:, 22] = 0.0  # on the kink
    up = torch.ones_like(residual)
    got = run(film_lrelu, (x, gamma, beta, residual), up, slope=slope, upscale=2)
    want = run(film_lrelu_reference, (x, gamma, beta, residual), up, slope=slope, upscale=2)
    assert got[0].isnan().any()
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def test_no_gamma_is_exactly_zero_gamma(device: str) -> None:
    x, gamma, beta, residual = draw((2, 8, 7, 5, 2), torch.float32, device)
    assert gamma is not None
    none = run(film_lrelu, (x, None, beta, residual), residual, upscale=2)
    zero = run(film_lrelu, (x, gamma * 0, beta, residual), residual, upscale=2)
    del zero[2]
    assert all(torch.equal(a, b) for a, b in zip(none, zero, strict=True))


@pytest.mark.parametrize("layout", ["last", "planes"])
@pytest.mark.parametrize("upscale", [1, 2])
def test_all_is_written_and_nothing_around_it(
    upscale: int, layout: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, gamma, beta, residual = draw((2, 3, 7, 5, upscale), torch.float32, device, layout)
    wholes: list[tuple[Tensor, Tensor]] = []

    def guarded(like: Tensor) -> Tensor:
        """An empty tensor of this shape inside a larger one of NaN."""
        if like.ndim == 3:  # partial sums, which are dense
            whole = torch.full((like.numel() + 64,), torch.nan, device=device)
            view = whole[32 : 32 + like.numel()].view(like.shape)
        else:
            n, c, h, w = like.shape
            whole = torch.full((n, h + 2, w + 2, c + 8), torch.nan, device=device)
            view = whole[:, 1:-1, 1:-1, 4:-4].permute(0, 3, 1, 2)
        wholes.append((whole, view))
        return view

    result, gradients = kernel._result, kernel._empty_gradients
    monkeypatch.setattr(kernel, "_result", lambda *a: guarded(result(*a)))
    monkeypatch.setattr(kernel, "_empty_gradients", lambda *a: tuple(map(guarded, gradients(*a))))
    run(film_lrelu, (x, gamma, beta, residual), residual, upscale=upscale)
    assert len(wholes) == 4
    for whole, view in wholes:
        assert torch.isfinite(view).all()
        view.detach().fill_(torch.nan)
        assert whole.isnan().all()


@pytest.mark.filterwarnings("ignore:Input #")
def test_gradients_are_finite_differences(device: str) -> None:
    """Away from the kink all is linear in each input, so float32 is enough."""
    inputs = [torch.tensor(v, device=device).reshape(1, 4) for v in ([0.5, -1, 2, -3], [0.25] * 4)]
    x, gamma = inputs[0].reshape(1, 4, 1, 1), inputs[1]
    beta, residual = torch.tensor([0.5, -0.5, 0.25, 0.0], device=device), x.reshape(1, 1, 2, 2)
    leaves = [each.clone().requires_grad_() for each in (x, gamma, beta, residual)]
    assert torch.autograd.gradcheck(
        lambda a, g, b, r: film_lrelu(a, g, b, upscale=2, residual=r, slope=0.25),
        leaves,
        eps=2**-5,
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("wanted", ["x", "gamma", "beta", "residual"])
def test_one_gradient_alone_is_the_same(wanted: str, device: str) -> None:
    inputs = draw((2, 8, 7, 5, 2), torch.bfloat16, device)
    place = ["x", "gamma", "beta", "residual"].index(wanted)
    up = noise(inputs[3], "last")
    want = run(film_lrelu, inputs, up, upscale=2)[1 + place]
    leaves = [each.clone() for each in inputs if each is not None]
    leaves[place].requires_grad_()
    x, gamma, beta, residual = leaves
    out = film_lrelu(x, gamma, beta, residual=residual, upscale=2)
    (got,) = torch.autograd.grad(out, leaves[place], up)
    assert torch.equal(got, want)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3, 2), (2, 4, 0, 3, 2), (2, 0, 3, 3, 1)])
def test_nothing_in_nothing_out(shape: tuple[int, int, int, int, int], device: str) -> None:
    n, c, h, w, r = shape
    x = torch.zeros(n, c * r * r, h, w, device=device)
    inputs = (x, x.new_zeros(n, c * r * r), x.new_zeros(c * r * r), x.new_zeros(n, c, h * r, w * r))
    got = run(film_lrelu, inputs, inputs[3], upscale=r)
    assert [each.shape for each in got] == [inputs[3].shape, *(each.shape for each in inputs)]
    assert all((each == 0).all() for each in got)


def test_what_the_kernel_cannot_do_is_said(device: str) -> None:
    x, gamma, beta, residual = draw((2, 3, 2, 2, 1), torch.float32, device)
    with pytest.raises(UsageError, match="float64 is for the reference"):
        film_lrelu(x.double(), gamma, beta)
    with pytest.raises(UsageError, match="int32 is for the reference"):
        film_lrelu(x, gamma, beta.int())
    x = x.requires_grad_()
    out = film_lrelu(x, gamma, beta, residual=residual)
    (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="film_lrelu_backward"):
        first.sum().backward()


def test_autocast_changes_nothing(device: str) -> None:
    inputs = draw((2, 3, 5, 4, 2), torch.float32, device)
    plain = run(film_lrelu, inputs, inputs[3], upscale=2)
    with torch.autocast(device, dtype=torch.bfloat16):
        cast = run(film_lrelu, inputs, inputs[3], upscale=2)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_the_operators_keep_torchs_rules(device: str) -> None:
    for layout, film in (("last", "each"), ("planes", "beta")):
        x, gamma, beta, residual = draw((2, 3, 3, 2, 2), torch.bfloat16, device, layout, film)
        leaves = [None if e is None else e.requires_grad_() for e in (x, gamma, beta, residual)]
        torch.library.opcheck(kernel.film_lrelu, (*leaves[:3], 0.1, 2, leaves[3]))
        arguments = (residual, x, gamma, beta, 0.1, 2, [True, gamma is not None, True])
        torch.library.opcheck(
            kernel._film_lrelu_backward,
            tuple(e.detach() if isinstance(e, Tensor) else e for e in arguments),
        )


def test_compiles_without_a_break(device: str) -> None:
    inputs = draw((2, 3, 3, 2, 2), torch.float32, device)
    up = noise(inputs[3], "last")
    torch._dynamo.reset()
    backend = "inductor" if device == "cuda" else "aot_eager"  # it takes 15 s on a CPU
    compiled = torch.compile(film_lrelu, fullgraph=True, backend=backend)
    got = run(compiled, inputs, up, upscale=2)
    want = run(film_lrelu, inputs, up, upscale=2)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)
        assert a.stride() == b.stride()


@pytest.mark.slow
def test_offsets_beyond_31_bits(device: str) -> None:
    """Three samples 2**30 and some elements apart, in memory of which the rest is never touched."""
    apart = 2**30 + 65
    room = torch.empty(2 * apart + 48, dtype=torch.float16, device=device)
    x = torch.as_strided(room, (3, 8, 2, 3), (apart, 1, 24, 8))
    values, gamma, beta, _ = draw((3, 8, 2, 3, 1), torch.float16, device)
    x.copy_(values)
    got = film_lrelu(x, gamma, beta)
    assert torch.equal(got, film_lrelu(values, gamma, beta))


@pytest.mark.parametrize("layout", ["last", "planes"])
def test_a_program_may_take_many_tiles(
    layout: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "ENOUGH_PROGRAMS", 8)
    monkeypatch.setattr(kernel, "BACKWARD_TILE", 256)
    inputs = draw((1, 8, 37, 29, 2), torch.float32, device, layout)
    block, _, steps = kernel._backward_tile(inputs[0], 2)
    assert steps > 4
    assert steps * block < 37 * 29  # more than one program, the last of them not full
    up = noise(inputs[3], "last")
    got = run(film_lrelu, inputs, up, upscale=2)
    want = run(
        film_lrelu_reference, [each.double() for each in inputs if each is not None], up, upscale=2
    )
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, TOLERANCES[torch.float32])


@pytest.mark.parametrize("upscale", [1, 2])
def test_programs_are_neither_too_few_nor_too_many(upscale: int) -> None:
    for n, c, side in ((64, 512, 8), (16, 1024, 8), (32, 256, 16), (16, 64, 64), (64, 64, 128)):
        x = torch.empty(n, c * upscale**2, side, side, device="meta")
        forward = kernel._forward_tile(x, upscale)
        block, run_, steps = kernel._backward_tile(x, upscale)
        backward = kernel._programs(x, upscale, steps * block, run_)
        assert kernel._programs(x, upscale, *forward) >= 256
        assert backward >= 256
        assert kernel._programs(x, upscale, *forward) <= x.numel() / 1024
        if side >= 128:  # both sums are written and read, against three tensors of two bytes
            assert 4 * 4 * backward * run_ <= 0.02 * 6 * x.numel()
    x = torch.empty(1024, 512 * upscale**2, 1024, 1024, device="meta")
    assert kernel._programs(x, upscale, *kernel._forward_tile(x, upscale)) < 2**31


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["last", "planes"])
def test_a_cuda_graph_replays_it(layout: str) -> None:
    with dispatch.using("triton"):
        inputs = draw((4, 64, 16, 16, 2), torch.bfloat16, "cuda", layout)
        up = noise(inputs[3], "last")
        leaves = [each.detach().requires_grad_() for each in inputs if each is not None]

        def step() -> list[Tensor]:
            x, gamma, beta, residual = leaves
            out = film_lrelu(x, gamma, beta, residual=residual, upscale=2)
            return [out, *torch.autograd.grad(out, leaves, up)]

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = step()
        with torch.no_grad():
            for each in leaves:
                each.mul_(-1.5)
        graph.replay()
        for got, want in zip(kept, step(), strict=True):
            assert torch.equal(got, want)


@pytest.mark.gpu
def test_large_maps_on_a_device() -> None:
    """A level of a decoder at its real size: bfloat16 rounded to even, so closer than above."""
    inputs = draw((8, 64, 128, 128, 2), torch.bfloat16, "cuda")
    up = noise(inputs[3], "last")
    with dispatch.using("triton"):
        got = run(film_lrelu, inputs, up, upscale=2)
    exact = [None if each is None else each.double() for each in inputs]
    want = run(film_lrelu_reference, exact, up, upscale=2)
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, 4e-3)
