"""dssim_l1's Triton kernel against float64: interpreted on a CPU, or on a device."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from near import TOLERANCES, assert_near, each_dtype
from torch import Tensor

from swapper.errors import UsageError
from swapper.kernels import dispatch
from swapper.kernels.dssim import MAX_WINDOW, dssim_l1, dssim_l1_reference

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = pytest.mark.usefixtures("few_programs")
kernel: Any = importlib.import_module("swapper.kernels.triton_dssim")

CASES: list[tuple[tuple[int, int, int, int], int, int, bool, str]] = [
    # (N, C, H, W), window, scales, masked, layout
    ((2, 3, 1, 7), 3, 2, True, "last"),
    ((2, 8, 7, 1), 5, 2, False, "planes"),
    ((2, 24, 7, 5), 5, 3, True, "sliced"),
    ((1, 3, 16, 16), 11, 1, True, "last"),
    ((1, 3, 37, 29), 5, 2, True, "colours"),
    ((1, 1, 70, 5), 3, 1, True, "planes"),
]


def lay(values: Tensor, layout: str) -> Tensor:
    """The same values otherwise in memory; what lies between and around them is NaN."""
    if layout == "planes":
        return values.contiguous()
    if layout == "last":
        return values.contiguous(memory_format=torch.channels_last)
    n, c, h, w = values.shape
    border, more = (0, 2) if layout == "colours" else (2, 5)
    shape = n, h + 2 * border, w + 2 * border, c + more
    room = torch.full(shape, torch.nan, dtype=values.dtype, device=values.device)
    view = room[:, border : border + h, border : border + w, more:].permute(0, 3, 1, 2)
    return view.copy_(values)


def draw(
    shape: tuple[int, int, int, int], dtype: torch.dtype, device: str, layout: str = "last"
) -> tuple[Tensor, Tensor, Tensor]:
    n, _, h, w = shape
    generator = torch.Generator().manual_seed(h * 100 + w)
    target = torch.rand(shape, generator=generator)
    pred = (target + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    mask = torch.rand(n, 1, h, w, generator=generator)
    pred, target, mask = (lay(t.to(device, dtype), layout) for t in (pred, target, mask))
    return pred, target, mask


def run(
    function: Any, pred: Tensor, target: Tensor, mask: Tensor | None, **options: Any
) -> list[Tensor]:
    """DSSIM, L1 and the gradient by `pred` of a sum with weights of both signs."""
    leaf = pred.detach().requires_grad_()
    dssim, l1 = function(leaf, target, mask, **options)
    up = torch.linspace(-1, 0.5, len(pred), device=pred.device)
    (change,) = torch.autograd.grad([dssim, l1], leaf, [up.to(dssim), (up * up + 1).to(l1)])
    return [dssim.detach(), l1.detach(), change]


def exact(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if each is None else each.double() for each in tensors]


@pytest.mark.parametrize(
    ("shape", "window", "scales", "masked", "layout", "dtype"), each_dtype(CASES)
)
def test_values_and_gradient(
    shape: tuple[int, int, int, int],
    window: int,
    scales: int,
    masked: bool,
    layout: str,
    dtype: torch.dtype,
    device: str,
) -> None:
    pred, target, drawn = draw(shape, dtype, device, layout)
    mask = drawn if masked else None
    options = {"window": window, "scales": scales}
    got = run(dssim_l1, pred, target, mask, **options)
    want = run(dssim_l1_reference, *exact(pred, target, mask), **options)
    assert [each.dtype for each in got] == [torch.float32, torch.float32, dtype]
    assert got[2].stride() == torch.empty_like(pred).stride()
    for a, b, tolerance in zip(got, want, (1e-5, 1e-5, TOLERANCES[dtype]), strict=True):
        assert_near(a, b, tolerance)


@pytest.mark.slow
def test_the_defaults_over_strips_and_columns_of_the_real_size(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "COLUMNS", 32)
    monkeypatch.setattr(kernel, "STRIPS", 1)
    pred, target, mask = draw((1, 3, 18, 13), torch.float32, device)
    scale = kernel._scales(pred, target, mask, pred.new_empty(0), 1)[0]
    assert scale.programs() == 6  # three strips of eight rows, two runs of columns
    got = run(dssim_l1, pred, target, mask)
    want = run(dssim_l1_reference, *exact(pred, target, mask))
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, 1e-5)


def test_a_point_is_all_there_is(device: str) -> None:
    """Its variance is 0: large terms cancel in the gradient, so it is a little less exact."""
    pred, target, mask = draw((2, 3, 1, 1), torch.float32, device)
    got = run(dssim_l1, pred, target, mask, window=3)
    want = run(dssim_l1_reference, *exact(pred, target, mask), window=3)
    for a, b, tolerance in zip(got, want, (1e-5, 1e-5, 1e-4), strict=True):
        assert_near(a, b, tolerance)


def test_nearly_flat_and_bright_pictures_do_not_cancel(device: str) -> None:
    pred, target, mask = draw((1, 3, 15, 11), torch.float32, device)
    pred, target = (0.9 + 0.02 * each for each in (pred, target))
    got = run(dssim_l1, pred, target, mask, window=5, scales=1)
    want = run(dssim_l1_reference, *exact(pred, target, mask), window=5, scales=1)
    torch.testing.assert_close(got[0].double(), want[0], rtol=0, atol=5e-6)
    assert_near(got[1], want[1], 1e-5)
    assert_near(got[2], want[2], 1e-4)


def test_equal_pictures_and_empty_masks_are_zero(device: str) -> None:
    pred, target, mask = draw((3, 3, 6, 5), torch.float32, device)
    pred[1], mask[0] = target[1], 0
    dssim, l1, change = run(dssim_l1, pred, target, mask, window=5, scales=2)
    assert dssim[0] == l1[0] == l1[1] == 0
    assert abs(dssim[1]) < 1e-6
    assert dssim[2] > 0.01
    assert (change[0] == 0).all()
    assert change[1].abs().max() < 1e-6
    assert (change[2] != 0).any()


def test_one_loss_alone(device: str) -> None:
    pred, target, mask = draw((1, 3, 6, 5), torch.float32, device)
    for place in (0, 1):
        got, want = (
            torch.autograd.grad(
                function(leaf := each.detach().requires_grad_(), target, mask, window=3)[
                    place
                ].mean(),
                leaf,
            )[0]
            for function, each in ((dssim_l1, pred), (dssim_l1_reference, pred))
        )
        assert_near(got, want, 1e-5)


def test_without_a_gradient_nothing_is_kept(device: str) -> None:
    pred, target, mask = draw((1, 3, 6, 5), torch.float32, device)
    bare = kernel.dssim_l1(pred, target, mask, 3, 1.5, 2, False)
    full = kernel.dssim_l1(pred, target, mask, 3, 1.5, 2, True)
    assert bare[4].numel() == 0
    assert full[4].numel() > 0
    assert all(torch.equal(a, b) for a, b in zip(bare[:2], full[:2], strict=True))


@pytest.mark.parametrize("layout", ["last", pytest.param("planes", marks=pytest.mark.slow)])
def test_the_same_bits_again_and_under_autocast(layout: str, device: str) -> None:
    pred, target, mask = draw((1, 3, 9, 7), torch.float32, device, layout)
    once = run(dssim_l1, pred, target, mask, window=3)
    again = run(dssim_l1, pred, target, mask, window=3)
    with torch.autocast(device, dtype=torch.bfloat16):
        cast = run(dssim_l1, pred, target, mask, window=3)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(once, cast, strict=True))


def test_all_is_written_and_nothing_around_it(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pred, target, mask = draw((2, 3, 7, 5), torch.float32, device)
    wholes: list[tuple[Tensor, Tensor]] = []

    def guarded(like: Tensor) -> Tensor:
        """An empty tensor of this shape inside a larger one of NaN."""
        if like.ndim < 4:
            whole = torch.full((like.numel() + 128,), torch.nan, device=device)
            view = whole[64 : 64 + like.numel()].view(like.shape)
        else:
            n, c, h, w = like.shape
            whole = torch.full((n * h * w * c + 128,), torch.nan, device=device)
            view = whole[64:-64].view(n, h, w, c).permute(0, 3, 1, 2)
        wholes.append((whole, view))
        return view

    empty, gradient = kernel._empty, kernel._gradient
    monkeypatch.setattr(kernel, "_empty", lambda *a: tuple(map(guarded, empty(*a))))
    monkeypatch.setattr(kernel, "_gradient", lambda x: guarded(gradient(x)))
    *_, change = run(dssim_l1, pred, target, mask, window=3, scales=2)
    assert torch.isfinite(change).all()
    dssim, l1, share, halved, planes, *gradients = wholes
    assert len(gradients) == 2
    for _, view in (dssim, l1, share, *gradients):
        assert torch.isfinite(view).all()
    # Parts of these two begin at multiples of ALIGNED; the gaps between stay as they were.
    assert halved[1].isfinite().sum() == 2 * 4 * 3 * (3 + 3 + 1)
    assert planes[1].isfinite().sum() == 3 * 2 * 3 * (7 * 5 + 4 * 3)
    for whole, view in wholes:
        view.detach().fill_(torch.nan)
        assert whole.isnan().all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Input #")
def test_gradient_is_finite_differences(device: str) -> None:
    pred, target, mask = draw((1, 1, 2, 2), torch.float32, device)
    pred = (target + torch.tensor([[[[0.2, -0.2], [0.2, 0.3]]]], device=device)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: dssim_l1(p, target, mask, window=3, scales=2),
        (pred,),
        eps=2**-7,
        atol=2e-2,
        rtol=2e-2,
    )


def test_what_the_kernel_cannot_do_is_said(device: str) -> None:
    pred, target, mask = draw((1, 3, 4, 4), torch.float32, device)
    for inputs, options, reason in (
        ((pred.double(), target, mask), {}, "float64 is for the reference"),
        ((pred, (target * 255).byte(), mask), {}, "uint8 is for the reference"),
        ((pred, target.clone().requires_grad_(), mask), {}, "target requires a gradient"),
        ((pred, target, mask.clone().requires_grad_()), {}, "mask requires a gradient"),
        ((pred, target, mask), {"window": MAX_WINDOW + 2}, "window above 15"),
        ((pred[:, :0], target[:, :0], mask), {}, "pictures are empty"),
    ):
        with pytest.raises(UsageError, match=reason):
            dssim_l1(*inputs, **options)
    dssim, l1 = dssim_l1(pred[:0].requires_grad_(), target[:0], mask[:0])
    assert dssim.shape == l1.shape == (0,)


@pytest.mark.slow
def test_the_operators_keep_torchs_rules(device: str) -> None:
    # Of a size that leaves no gaps between the parts of a buffer: nothing is ever said of gaps.
    pred, target, mask = draw((4, 4, 8, 8), torch.bfloat16, device)
    leaf = pred.requires_grad_()
    for weights in (mask, None):
        torch.library.opcheck(kernel.dssim_l1, (leaf, target, weights, 3, 1.5, 2, True))
    dssim, l1, *kept = (
        each.detach() for each in kernel.dssim_l1(leaf, target, mask, 3, 1.5, 2, True)
    )
    arguments = (dssim, l1, pred.detach(), target, mask, *kept, 3, 1.5, 2)
    torch.library.opcheck(kernel._dssim_l1_backward, arguments)


@pytest.mark.slow
def test_compiles_without_a_break(device: str) -> None:
    pred, target, mask = draw((2, 3, 5, 4), torch.float32, device)
    torch._dynamo.reset()
    backend = "inductor" if device == "cuda" else "aot_eager"
    compiled = torch.compile(dssim_l1, fullgraph=True, backend=backend)
    got = run(compiled, pred, target, mask, window=3, scales=2)
    want = run(dssim_l1, pred, target, mask, window=3, scales=2)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["last", "planes"])
def test_a_cuda_graph_replays_it(layout: str) -> None:
    with dispatch.using("triton"):
        pred, target, mask = draw((4, 3, 64, 64), torch.bfloat16, "cuda", layout)
        leaf = pred.detach().requires_grad_()

        def step() -> list[Tensor]:
            dssim, l1 = dssim_l1(leaf, target, mask)
            return [dssim, l1, *torch.autograd.grad((dssim + l1).sum(), leaf)]

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = step()
        with torch.no_grad():
            leaf.mul_(0.5)
        graph.replay()
        for got, want in zip(kept, step(), strict=True):
            assert torch.equal(got, want)


@pytest.mark.gpu
def test_a_batch_of_a_training_on_a_device() -> None:
    pred, target, mask = draw((8, 3, 256, 256), torch.float32, "cuda", "colours")
    with dispatch.using("triton"):
        got = run(dssim_l1, pred, target, mask)
    want = run(dssim_l1_reference, *exact(pred, target, mask))
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, 1e-5)
