"""film_lrelu's kernels compiled for devices that are not here: registers, spills, width of access.

The launches are those that the host code asks for, so its choice of tiles and units is tested too.
Run as a script it compiles and prints what it found; the test does so in a process of its own, as
in this one Triton interprets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ahead import Launch, Recorder, assert_sound, print_rows

MOST_REGISTERS = 128
"""Four programs of 128 threads then fit a multiprocessor's 65536 registers."""

CASES: dict[str, dict[str, Any]] = {
    "up64": {"shape": (8, 256, 128, 128), "r": 2, "gamma": True},
    "up512": {"shape": (8, 2048, 8, 8), "r": 2, "gamma": True, "shared": True},
    "refine": {"shape": (8, 512, 16, 16), "residual": True},
    "narrow": {"shape": (8, 8, 64, 64), "gamma": True, "residual": True},
    "single": {"shape": (8, 256, 32, 32), "r": 2, "gamma": True, "dtype": "float32"},
    "odd": {"shape": (2, 12, 37, 29), "r": 2, "gamma": True, "dtype": "float16"},
    "point": {"shape": (2, 64, 1, 1), "gamma": True},
    "line": {"shape": (2, 1, 1, 40), "residual": True},
    "planes": {"shape": (2, 256, 32, 32), "r": 2, "last": False},
}
CASES_ON = [(name, sm) for name in CASES for sm in (80, 90, 120)]
QUICK = [("narrow", 90), ("odd", 90)]
WIDE = ("up64", "up512", "refine", "narrow", "single")


def _tensor(shape: tuple[int, ...], dtype: str, last: bool = True) -> Any:
    import torch

    format_ = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=getattr(torch, dtype), memory_format=format_)


def _launches(name: str) -> Iterator[Launch]:
    """What the host code launches for one call, forward and backward."""
    from swapper.kernels import triton_film

    case = CASES[name]
    n, channels, h, w = case["shape"]
    r, dtype, last = case.get("r", 1), case.get("dtype", "bfloat16"), case.get("last", True)
    x = _tensor(case["shape"], dtype, last)
    film = (channels,) if case.get("shared") else (n, channels)
    gamma = _tensor(film, "float32") if case.get("gamma") else None
    beta = _tensor(film if gamma is not None else (channels,), "float32")
    out = _tensor((n, channels // r**2, h * r, w * r), dtype, last)
    residual = out if case.get("residual") else None
    kernels, recorders = (triton_film._forward, triton_film._backward), (Recorder(), Recorder())
    triton_film._forward, triton_film._backward = recorders
    triton_film.film_lrelu(x, gamma, beta, 0.1, r, residual)
    needed = [True, gamma is not None, True]
    triton_film._film_lrelu_backward(out, x, gamma, beta, 0.1, r, needed)
    triton_film._forward, triton_film._backward = kernels
    for which, kernel, recorder in zip(("forward", "backward"), kernels, recorders, strict=True):
        (launch,) = recorder.launches
        yield which, kernel, *launch


def test_each_kernel_is_sound_on_each_architecture(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 2 * len({(row["case"], row["sm"]) for row in rows})
    assert_sound(rows, MOST_REGISTERS)


def test_channels_last_moves_by_128_bits(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["case"] in WIDE:
            backward = row["kernel"] == "backward"
            read = 2 if backward or CASES[row["case"]].get("residual") else 1
            assert row["LDG128"] >= read, row
            assert row["STG128"] >= 1, row
        elif row["case"] == "odd":  # three channels have no 128 bits in a row
            assert row["LDG128"] == row["STG128"] == 0, row


if __name__ == "__main__":
    print_rows(_launches)
