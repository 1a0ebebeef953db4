"""dssim_l1's kernels compiled for devices that are not here: registers, spills, how they multiply.

The launches are those that the host code asks for, so its choice of tiles is tested too. Run as a
script it compiles and prints what it found; the test does so in a process of its own, as in this
one Triton interprets.
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
KERNELS = ("_forward", "_backward", "_halve")
MOST_REGISTERS = 168
"""Three programs of 128 threads then fit a multiprocessor's 65536 registers."""

CASES: dict[str, dict[str, Any]] = {
    # A training's: colours are three of the target's five channels.
    "training": {"shape": (8, 3, 256, 256), "target": 5},
    "bfloat16": {"shape": (8, 3, 256, 256), "dtype": "bfloat16", "masked": False, "scales": 1},
    "planes": {"shape": (8, 3, 100, 60), "last": False, "dtype": "float16", "scales": 1},
    "small": {"shape": (2, 24, 20, 17), "scales": 1},
    "wide": {"shape": (2, 3, 128, 128), "window": 15, "scales": 1},
}
ARCHITECTURES_OF = {name: (90,) for name in CASES if name != "training"}


def _launches(case: dict[str, Any]) -> dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """What the host code launches for one call, forward and backward."""
    import torch

    from swapper.kernels import triton_dssim

    n, c, h, w = case["shape"]
    dtype, last = getattr(torch, case.get("dtype", "float32")), case.get("last", True)
    layout = torch.channels_last if last else torch.contiguous_format
    pred, target = (
        torch.empty((n, channels, h, w), dtype=dtype).to(memory_format=layout)[:, :c]
        for channels in (c, case.get("target", c))
    )
    mask = torch.empty(n, 1, h, w) if case.get("masked", True) else None
    recorders = {name: Recorder() for name in KERNELS}
    for name, recorder in recorders.items():
        setattr(triton_dssim, name, recorder)
    options = case.get("window", 11), 1.5, case.get("scales", 2)
    dssim, l1, *kept = triton_dssim.dssim_l1(pred, target, mask, *options, True)
    triton_dssim._dssim_l1_backward(dssim, l1, pred, target, mask, *kept, *options)
    return {name: recorder.launches for name, recorder in recorders.items()}


def main() -> None:
    """Print a JSON list of what each kernel takes on each architecture."""
    from swapper.kernels import triton_dssim

    kernels = {name: getattr(triton_dssim, name) for name in KERNELS}
    rows = []
    for name, case in CASES.items():
        for which, launches in _launches(case).items():
            for number, (args, options) in enumerate(launches):
                for capability in ARCHITECTURES_OF.get(name, ARCHITECTURES):
                    made = compiled(kernels[which], args, options, capability)
                    usage, code = usage_of(made.asm["cubin"])
                    row = {"case": name, "kernel": which, "launch": number, "sm": capability}
                    row |= usage
                    ptx = made.asm["ptx"]
                    row["instructions"] = len(re.findall(r"/\*[0-9a-f]{4,5}\*/", code))
                    row["fused"] = len(re.findall(r"\bfma\.rn\.f32", ptx))
                    row["f64"] = len(re.findall(r"\.f64\b", ptx))
                    row["atomics"] = len(re.findall(r"\b(?:atom|red)\.", ptx))
                    rows.append(row)
    print(json.dumps(rows))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("triton", reason="triton is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(done.stdout))


def _said(row: dict[str, Any]) -> str:
    return f"{row['case']}, {row['kernel']} {row['launch']}, sm_{row['sm']}: {row}"


def test_each_kernel_compiles_for_each_architecture(rows: list[dict[str, Any]]) -> None:
    for name, case in CASES.items():
        passes = 3 * case.get("scales", 2) - 1  # no scale is halved for a scale after the last
        expected = passes * len(ARCHITECTURES_OF.get(name, ARCHITECTURES))
        assert sum(row["case"] == name for row in rows) == expected


def test_nothing_spills_nothing_is_double_and_sums_have_an_order(
    rows: list[dict[str, Any]],
) -> None:
    for row in rows:
        assert row["STACK"] == 0, _said(row)
        assert row["LOCAL"] == 0, _said(row)
        assert 0 < row["REG"] <= MOST_REGISTERS, _said(row)
        assert row["f64"] == 0, _said(row)
        assert row["atomics"] == 0, _said(row)


def test_taps_are_fused_steps(rows: list[dict[str, Any]]) -> None:
    """One across and one down for each tap and each of four moments or three planes."""
    for row in rows:
        window = CASES[row["case"]].get("window", 11)
        streams = {"_forward": 4, "_backward": 3, "_halve": 0}[row["kernel"]]
        least = streams * (2 * window - 1)
        assert row["fused"] >= least, _said(row)
        if not streams:
            assert row["fused"] == 0, _said(row)


if __name__ == "__main__":
    main()
