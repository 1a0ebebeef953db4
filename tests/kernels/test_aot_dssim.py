"""dssim_l1's kernels compiled for devices that are not here: registers, spills, how they multiply.

The launches are those that the host code asks for, so its choice of tiles is tested too. Run as a
script it compiles and prints what it found; the test does so in a process of its own, as in this
one Triton interprets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ahead import Launch, Recorder, assert_sound, print_rows

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
CASES_ON = [("training", 80), ("training", 120), *((name, 90) for name in CASES)]
QUICK = [("bfloat16", 90)]


def _launches(name: str) -> Iterator[Launch]:
    """What the host code launches for one call, forward and backward."""
    import torch

    from swapper.kernels import triton_dssim

    case = CASES[name]
    n, c, h, w = case["shape"]
    dtype, last = getattr(torch, case.get("dtype", "float32")), case.get("last", True)
    layout = torch.channels_last if last else torch.contiguous_format
    pred, target = (
        torch.empty((n, channels, h, w), dtype=dtype).to(memory_format=layout)[:, :c]
        for channels in (c, case.get("target", c))
    )
    mask = torch.empty(n, 1, h, w) if case.get("masked", True) else None
    kernels = {which: getattr(triton_dssim, which) for which in KERNELS}
    recorders = {which: Recorder() for which in KERNELS}
    vars(triton_dssim).update(recorders)
    options = case.get("window", 11), 1.5, case.get("scales", 2)
    dssim, l1, *kept = triton_dssim.dssim_l1(pred, target, mask, *options, True)
    triton_dssim._dssim_l1_backward(dssim, l1, pred, target, mask, *kept, *options)
    vars(triton_dssim).update(kernels)
    for which, recorder in recorders.items():
        for launch in recorder.launches:
            yield which, kernels[which], *launch


def test_each_kernel_is_sound_on_each_architecture(rows: list[dict[str, Any]]) -> None:
    for name, sm in {(row["case"], row["sm"]) for row in rows}:
        passes = 3 * CASES[name].get("scales", 2) - 1  # nothing is halved after the last scale
        assert sum((row["case"], row["sm"]) == (name, sm) for row in rows) == passes
    assert_sound(rows, MOST_REGISTERS)


def test_taps_are_fused_steps(rows: list[dict[str, Any]]) -> None:
    """One across and one down for each tap and each of four moments or three planes."""
    for row in rows:
        window = CASES[row["case"]].get("window", 11)
        streams = {"_forward": 4, "_backward": 3, "_halve": 0}[row["kernel"]]
        assert row["fused"] >= streams * (2 * window - 1), row
        if not streams:
            assert row["fused"] == 0, row


if __name__ == "__main__":
    print_rows(_launches)
