"""Kernels compiled ahead of time, for devices that are not here, and what became of them.

For scripts that the tests run in a process of their own, as in theirs Triton interprets.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any


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
        names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
        attributes[path] = [["tt.divisibility", 16]]
        return "*" + names[value.dtype]
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
