"""film_lrelu's kernels compiled for devices that are not here: registers, spills, width of access.

The launches are those that the host code asks for, so its choice of tiles and units is tested too.
Run as a script it compiles and prints what it found; the test does so in a process of its own, as
in this one Triton interprets.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from ahead import Recorder, compiled, usage_of

ARCHITECTURES = (80, 90, 120)
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
WIDE = ("up64", "up512", "refine", "narrow", "single")


def _tensor(shape: tuple[int, ...], dtype: str, last: bool = True) -> Any:
    import torch

    format_ = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=getattr(torch, dtype), memory_format=format_)


def _launches(case: dict[str, Any]) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What the host code launches for one call, forward and backward."""
    from swapper.kernels import triton_film

    n, channels, h, w = case["shape"]
    r, dtype, last = case.get("r", 1), case.get("dtype", "bfloat16"), case.get("last", True)
    x = _tensor(case["shape"], dtype, last)
    film = (channels,) if case.get("shared") else (n, channels)
    gamma = _tensor(film, "float32") if case.get("gamma") else None
    beta = _tensor(film if gamma is not None else (channels,), "float32")
    out = _tensor((n, channels // r**2, h * r, w * r), dtype, last)
    residual = out if case.get("residual") else None
    forward, backward = Recorder(), Recorder()
    triton_film._forward, triton_film._backward = forward, backward
    triton_film.film_lrelu(x, gamma, beta, 0.1, r, residual)
    needed = [True, gamma is not None, True]
    triton_film._film_lrelu_backward(out, x, gamma, beta, 0.1, r, needed)
    return [("forward", *forward.launches[0]), ("backward", *backward.launches[0])]


def main() -> None:
    """Print a JSON list of what each kernel takes on each architecture."""
    from swapper.kernels import triton_film

    kernels = {"forward": triton_film._forward, "backward": triton_film._backward}
    rows = []
    for name, case in CASES.items():
        for which, args, options in _launches(case):
            for capability in ARCHITECTURES:
                made = compiled(kernels[which], args, options, capability)
                usage, code = usage_of(made.asm["cubin"])
                row = {"case": name, "kernel": which, "sm": capability, **usage}
                for access in ("LDG", "STG"):
                    row[access] = len(re.findall(rf"\b{access}\.E\b", code))
                    row[f"{access}128"] = len(re.findall(rf"\b{access}\.E(?:\.\w+)*\.128\b", code))
                row["f64"] = "f64" in made.asm["ptx"]
                rows.append(row)
    print(json.dumps(rows))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    pytest.importorskip("triton", reason="triton is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def _said(row: dict[str, Any]) -> str:
    return f"{row['case']}, {row['kernel']}, sm_{row['sm']}"


def test_each_kernel_compiles_for_each_architecture(rows: list[dict[str, Any]]) -> None:
    assert len({_said(row) for row in rows}) == len(CASES) * 2 * len(ARCHITECTURES)


def test_nothing_spills_and_nothing_is_double(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["STACK"] == 0, _said(row)
        assert row["LOCAL"] == 0, _said(row)
        assert 0 < row["REG"] <= MOST_REGISTERS, _said(row)
        assert not row["f64"], _said(row)


def test_channels_last_moves_by_128_bits(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["case"] not in WIDE:
            continue
        read = 2 if row["kernel"] == "backward" or CASES[row["case"]].get("residual") else 1
        assert row["LDG128"] >= read, _said(row)
        assert row["STG128"] >= 1, _said(row)


def test_where_c_allows_no_more_it_is_seen(rows: list[dict[str, Any]]) -> None:
    """The count above can fail: three channels have no 128 bits in a row."""
    assert all(row["LDG128"] == row["STG128"] == 0 for row in rows if row["case"] == "odd")


if __name__ == "__main__":
    main()
