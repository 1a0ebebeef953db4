"""warp_pair's Triton kernel against its reference: interpreted on a CPU, or on a device."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor

from swapper.errors import UsageError
from swapper.kernels import dispatch
from swapper.kernels.warp import warp_pair, warp_pair_reference

pytest.importorskip("triton", reason="triton is not installed")
kernel: Any = importlib.import_module("swapper.kernels.triton_warp")

CASES = [
    # stored side, target side, channels, grid points, degraded, indexed
    (1, 1, 3, 2, False, False),
    (16, 16, 3, 2, False, True),
    (37, 20, 5, 5, True, False),
    (12, 29, 5, 9, True, True),
    (32, 16, 9, 3, False, False),
    (7, 33, 4, 4, True, True),
    (9, 18, 5, 3, "some", True),
    (14, 11, 3, 2, "some", False),
]
Case = tuple[int, int, int, int, bool | str, bool]
HALVES = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
"""Spacing of numbers below 1; the interpreter cuts bfloat16 off where a device rounds it."""


def drawn(
    stored: int,
    size: int,
    channels: int,
    points: int,
    degraded: bool | str,
    indexed: bool,
    n: int = 3,
) -> dict[str, Any]:
    """Arguments; parts of the pictures lie outside, gains clip."""
    generator = torch.Generator().manual_seed(stored * 100 + size)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def bytes_(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    affine = 0.6 * uniform(n, 2, 3) - 0.3
    affine[:, 0, 0] += stored / size
    affine[:, 1, 1] += stored / size
    affine[..., 2] *= stored
    return {
        "faces": bytes_(2 * n if indexed else n, stored, stored, channels),
        "faces_from_target": affine,
        "grid": 4 * uniform(n, points, points, 2) - 2,
        "gain": torch.stack([0.5 + uniform(n, 3), uniform(n, 3) - 0.5], dim=-1),
        "size": size,
        "degraded": bytes_(n, stored, stored, 3) if degraded else None,
        "index": torch.tensor([4, 0, 5])[:n] if indexed else None,
        "degraded_index": torch.tensor([2, -1, 0])[:n] if degraded == "some" else None,
    }


def on(device: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


@pytest.mark.parametrize("case", CASES)
def test_float32_is_the_reference_to_the_bit(case: Case, device: str) -> None:
    arguments = drawn(*case)
    expected = warp_pair_reference(**arguments)
    again = [warp_pair(**on(device, arguments)) for _ in range(2)]
    for got in again:
        for mine, right in zip(got, expected, strict=True):
            assert mine.stride() == right.stride()
            assert torch.equal(mine.cpu(), right)


@pytest.mark.parametrize("dtype", list(HALVES))
@pytest.mark.parametrize("case", [CASES[2], CASES[3]])
def test_halves_are_within_a_spacing(case: Case, dtype: torch.dtype, device: str) -> None:
    arguments = drawn(*case)
    expected = warp_pair_reference(**arguments)
    got = warp_pair(**on(device, arguments), dtype=dtype)
    for mine, right in zip(got, expected, strict=True):
        assert mine.dtype == dtype
        assert (mine.cpu().float() - right).abs().max() <= HALVES[dtype]


def test_identity_is_exact_for_every_grey(device: str) -> None:
    faces = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    arguments = {
        "faces": faces,
        "faces_from_target": torch.eye(2, 3)[None],
        "grid": torch.zeros(1, 2, 2, 2),
        "gain": torch.tensor([1.0, 0.0]).expand(1, 3, 2),
        "size": 16,
    }
    for picture in warp_pair(**on(device, arguments)):
        assert torch.equal(picture.cpu(), faces.permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("side", [64, pytest.param(320, marks=pytest.mark.slow)])
def test_division_rounds_as_a_true_one(side: int, device: str) -> None:
    """Over 12,000 values between greys; slow, over 300,000."""
    faces = torch.tensor([[[0], [255]], [[13], [202]]], dtype=torch.uint8)
    arguments = {
        "faces": faces[None].repeat(1, 1, 1, 3),
        "faces_from_target": torch.tensor([[[1 / (side - 1), 0, 0], [0, 1 / (side - 1), 0]]]),
        "grid": torch.zeros(1, 2, 2, 2),
        "gain": torch.tensor([1.0, 0.0]).expand(1, 3, 2),
        "size": side,
    }
    expected = warp_pair_reference(**arguments)
    for mine, right in zip(warp_pair(**on(device, arguments)), expected, strict=True):
        assert torch.equal(mine.cpu(), right)


def test_a_sample_does_not_know_its_batch(device: str) -> None:
    arguments = drawn(*CASES[2])
    whole = warp_pair(**on(device, arguments))
    for i in range(3):
        one = {k: v[i : i + 1] if isinstance(v, Tensor) else v for k, v in arguments.items()}
        for mine, right in zip(warp_pair(**on(device, one)), whole, strict=True):
            assert torch.equal(mine, right[i : i + 1])


def test_strided_pictures_and_float64_draws(device: str) -> None:
    arguments = drawn(*CASES[3])
    expected = warp_pair_reference(**arguments)
    wide = torch.zeros(6, 12, 14, 8, dtype=torch.uint8)
    wide[:, :, 1:13, 2:7] = arguments["faces"]
    arguments["faces"] = wide[:, :, 1:13, 2:7]
    arguments["degraded"] = arguments["degraded"].transpose(1, 2).contiguous().transpose(1, 2)
    for name in ("faces_from_target", "grid", "gain"):
        arguments[name] = arguments[name].double()
    moved = on(device, arguments)
    moved["faces"] = wide.to(device)[:, :, 1:13, 2:7]
    for mine, right in zip(warp_pair(**moved), expected, strict=True):
        assert torch.equal(mine.cpu(), right)


def test_nothing_beside_the_outputs_is_written(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers = []

    def guarded(faces: Tensor, samples: int, size: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        pictures = []
        for channels in (3, faces.shape[3]):
            shape = (samples + 2, size, size, channels)
            buffers.append(torch.full(shape, float("nan"), dtype=dtype, device=faces.device))
            pictures.append(buffers[-1][1:-1].permute(0, 3, 1, 2))
        return tuple(pictures)

    monkeypatch.setattr(kernel, "_empty", guarded)
    for case in (CASES[2], CASES[5]):
        moved = on(device, drawn(*case))
        kernel.warp_pair._init_fn(
            *(moved[k] for k in ("faces", "faces_from_target", "grid", "gain", "size")),
            *(moved["degraded"], torch.float32, moved["index"], moved["degraded_index"]),
        )
    assert len(buffers) == 4
    for buffer in buffers:
        assert buffer[0].isnan().all()
        assert buffer[-1].isnan().all()
        assert buffer[1:-1].isfinite().all()


def test_it_is_a_well_formed_operator(device: str) -> None:
    moved = on(device, drawn(*CASES[6]))
    first = tuple(moved[k] for k in ("faces", "faces_from_target", "grid", "gain", "size"))
    last = moved["degraded"], torch.float32, moved["index"], moved["degraded_index"]
    torch.library.opcheck(kernel.warp_pair, (*first, *last))


def test_it_compiles_into_one_graph(device: str) -> None:
    moved = on(device, drawn(*CASES[2]))
    compiled = torch.compile(lambda: warp_pair(**moved), fullgraph=True, backend="aot_eager")
    for mine, right in zip(compiled(), warp_pair(**moved), strict=True):
        assert torch.equal(mine, right)


def test_what_it_cannot_serve_is_told(device: str) -> None:
    moved = on(device, drawn(*CASES[2]))
    with pytest.raises(UsageError, match="float64 is for the reference"):
        warp_pair(**moved, dtype=torch.float64)
    huge = torch.empty(1, dtype=torch.uint8, device="meta").as_strided(
        (3, 37, 37, 5), (2**40, 2**27, 5, 1)
    )
    with pytest.raises(UsageError, match="a picture spans 2\\^31 bytes"):
        warp_pair(**moved | {"faces": huge, "degraded": None})


@pytest.mark.gpu
def test_a_graph_replays_with_new_draws() -> None:
    with dispatch.using("triton"):
        moved = on("cuda", drawn(*CASES[3]))
        warp_pair(**moved)  # compiles
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            got = warp_pair(**moved)
        moved["grid"].add_(1)
        moved["index"].copy_(torch.tensor([1, 1, 2]))
        graph.replay()
        for mine, right in zip(got, warp_pair(**moved), strict=True):
            assert torch.equal(mine, right)


@pytest.mark.gpu
def test_a_faceset_beyond_2_31_bytes_is_read_at_its_end() -> None:
    with dispatch.using("triton"):
        moved = on("cuda", drawn(*CASES[3]))
        count = 2**31 // moved["faces"][0].numel() + 8
        large = torch.zeros(count, *moved["faces"].shape[1:], dtype=torch.uint8, device="cuda")
        large[-6:] = moved["faces"]
        expected = warp_pair(**moved)
        got = warp_pair(**moved | {"faces": large, "index": moved["index"] + count - 6})
        for mine, right in zip(got, expected, strict=True):
            assert torch.equal(mine, right)
