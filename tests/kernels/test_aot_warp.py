"""`warp_pair`'s kernel, compiled ahead of time for devices that are not here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest

# In a process of its own: the kernels of this one may be interpreted.
COMPILER = r"""
import json, pathlib, re, subprocess, tempfile
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from swapper.kernels import triton_warp as at

TOOL = pathlib.Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
STRIDES = ["face", "face_row", "face_pixel", "face_step",
           "other", "other_row", "other_pixel", "other_step"]
POINTERS = ["faces", "degraded", "index", "degraded_index", "affine", "grid", "gain", "warped",
            "target"]


def compiled(capability, kind, size, indexed, degraded, strides):
    constants = {
        "size": size, "height": 288, "width": 288, "channels": 5, "points": 9,
        "cells": 8 / (size - 1), "has_index": indexed, "has_degraded": bool(degraded),
        "has_degraded_index": degraded == "some", "block": at.PIXELS,
    }
    types = {"faces": "*u8", "degraded": "*u8", "index": "*i64" if indexed else "*u8",
             "degraded_index": "*i64" if degraded == "some" else "*u8", "affine": "*fp32",
             "grid": "*fp32", "gain": "*fp32",
             "warped": "*" + kind, "target": "*" + kind}
    # As the launcher specialises them: a stride of 1 is a constant.
    constants |= {name: 1 for name in ("face_step", "other_step")} if strides else {}
    names = at._warp_pair.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "i32")
                 for name in names}
    aligned = [name for name in POINTERS + ["face", "face_row", "other", "other_row"] if strides]
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(at._warp_pair, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32),
                          options={"num_warps": at.WARPS, "enable_fp_fusion": False})


def told(kernel):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.cubin"
        path.write_bytes(kernel.asm["cubin"])
        usage = subprocess.run([TOOL, "-res-usage", path], capture_output=True, text=True).stdout
    found = dict(re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", usage))
    ptx = kernel.asm["ptx"]
    return {**{name: int(value) for name, value in found.items()},
            "fused": len(re.findall(r"\bfma\.rn\.f32", ptx)),
            "divisions": len(re.findall(r"\bdiv\.\w+\.f32", ptx)),
            "atomics": len(re.findall(r"\b(atom|red)\.", ptx))}


CASES = [
    (capability, kind, size, indexed, degraded, strides)
    for capability, kind, size, indexed, degraded, strides in [
        (80, "bf16", 256, True, "some", True), (80, "fp32", 37, False, False, False),
        (90, "bf16", 256, True, "some", True), (90, "fp32", 256, False, True, True),
        (90, "fp16", 37, True, False, False), (120, "bf16", 256, True, "some", True),
        (120, "fp32", 64, False, False, True),
    ]
]
print(json.dumps([[list(map(str, case)), told(compiled(*case))] for case in CASES]))
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[str], dict[str, int]]]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    script = tmp_path_factory.mktemp("compiler") / "compile_warp.py"
    script.write_text(COMPILER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 7
    return [(case, facts) for case, facts in found]


def test_nothing_spills(kernels: list[tuple[list[str], dict[str, int]]]) -> None:
    for case, facts in kernels:
        assert facts["STACK"] == 0, case
        assert facts["LOCAL"] == 0, case
        assert 16 < facts["REG"] <= 96, (case, facts)


def test_rounding_is_the_references(kernels: list[tuple[list[str], dict[str, int]]]) -> None:
    for case, facts in kernels:
        assert facts["fused"] == 0, (case, facts)
        assert facts["divisions"] == 0, (case, facts)
        assert facts["atomics"] == 0, (case, facts)
