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
import tempfile
from pathlib import Path
from typing import Any

import pytest

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


class _Recorder:
    """Stands in for a kernel and keeps what it is launched with."""

    def __init__(self) -> None:
        self.launches: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        assert len(grid) == 1
        assert 0 < grid[0] < 2**31
        return lambda *args, **options: self.launches.append((args, options))


def _signature(value: Any, path: tuple[int, ...], constants: Any, attributes: Any) -> Any:
    """Type of an argument as Triton's launcher would specialise it."""
    import torch

    if isinstance(value, tuple):
        each = (_signature(v, (*path, i), constants, attributes) for i, v in enumerate(value))
        return tuple(each)
    if value is None or (isinstance(value, int) and value == 1):
        constants[path] = value
        return "constexpr"
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, torch.Tensor):
        names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
        attributes[path] = [["tt.divisibility", 16]]
        return "*" + names[value.dtype]
    if value % 16 == 0:
        attributes[path] = [["tt.divisibility", 16]]
    return "i32" if value < 2**31 else "i64"


def _compile(kernel: Any, args: tuple[Any, ...], options: dict[str, Any], capability: int) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    constants: dict[Any, Any] = {}
    attributes: dict[Any, Any] = {}
    signature = {
        names[i]: _signature(value, (i,), constants, attributes) for i, value in enumerate(args)
    }
    for name in names[len(args) :]:
        signature[name] = "constexpr"
        constants[(names.index(name),)] = options[name]
    rest = {name: value for name, value in options.items() if name not in names}
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=rest)


def _usage(cubin: bytes) -> tuple[dict[str, int], str]:
    """Registers, stack and local memory in bytes; and the machine code."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        usage, code = (
            subprocess.run([tool, flag, path], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    return {name: int(n) for name, n in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}, code


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
    forward, backward = _Recorder(), _Recorder()
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
                compiled = _compile(kernels[which], args, options, capability)
                usage, code = _usage(compiled.asm["cubin"])
                row = {"case": name, "kernel": which, "sm": capability, **usage}
                for access in ("LDG", "STG"):
                    row[access] = len(re.findall(rf"\b{access}\.E\b", code))
                    row[f"{access}128"] = len(re.findall(rf"\b{access}\.E(?:\.\w+)*\.128\b", code))
                row["f64"] = "f64" in compiled.asm["ptx"]
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
