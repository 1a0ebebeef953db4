"""Kernels compiled ahead of time, for devices that are not here, and what became of them.

For scripts that the tests run in a process of their own, as in theirs Triton interprets.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Case = tuple[str, int]
"""Name of a case and compute capability of the device."""
Launch = tuple[str, Any, tuple[Any, ...], dict[str, Any]]
"""Name of a kernel, the kernel, and what it is launched with."""


class Recorder:
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
        if value.data_ptr() % 16 == 0:
            attributes[path] = [["tt.divisibility", 16]]
        return "*" + {
            torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16",
            torch.uint8: "u8", torch.int64: "i64",
        }[value.dtype]  # fmt: skip
    if value % 16 == 0:
        attributes[path] = [["tt.divisibility", 16]]
    return "i32" if value < 2**31 else "i64"


def compiled(kernel: Any, args: tuple[Any, ...], options: dict[str, Any], capability: int) -> Any:
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


def usage_of(cubin: bytes) -> tuple[dict[str, int], str]:
    """Registers, stack, shared and local memory in bytes; and the machine code."""
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


def row_of(kernel: Any, args: tuple[Any, ...], options: dict[str, Any], sm: int) -> dict[str, Any]:
    """Registers and memory of one launch, and how often what it must or must not do occurs."""
    made = compiled(kernel, args, options, sm)
    usage, code = usage_of(made.asm["cubin"])
    ptx = made.asm["ptx"]
    counted = {
        "fused": r"\bfma\.rn\.f32", "divisions": r"\bdiv\.\w+\.f32", "f64": r"\.f64\b",
        "atomics": r"\b(?:atom|red)\.",
    }  # fmt: skip
    row = usage | {name: len(re.findall(pattern, ptx)) for name, pattern in counted.items()}
    for access in ("LDG", "STG"):
        row[f"{access}128"] = len(re.findall(rf"\b{access}\.E(?:\.\w+)*\.128\b", code))
    return row


def print_rows(launches_of: Callable[[str], Iterable[Launch]]) -> None:
    """Of a script: a JSON list of what the cases of the command line take, launch by launch."""
    rows = []
    for name, sm in json.loads(sys.argv[1]):
        for number, (which, kernel, args, options) in enumerate(launches_of(name)):
            row = row_of(kernel, args, options, sm)
            rows.append({"case": name, "kernel": which, "launch": number, "sm": sm, **row})
    print(json.dumps(rows))


def rows_of_script(script: str, cases: list[Case], cache: Path) -> list[dict[str, Any]]:
    """What `script` prints of these cases."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(cache)
    command = [sys.executable, script, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    assert {(row["case"], row["sm"]) for row in rows} == set(cases)
    return rows


def assert_sound(rows: list[dict[str, Any]], most_registers: int) -> None:
    """Nothing spills, nothing is double and sums have an order."""
    for row in rows:
        assert row["STACK"] == row["LOCAL"] == 0, row
        assert 0 < row["REG"] <= most_registers, row
        assert row["f64"] == row["atomics"] == 0, row
