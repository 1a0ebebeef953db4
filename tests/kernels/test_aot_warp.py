"""warp_pair's kernel compiled for devices that are not here: registers, spills, how it rounds.

The launches are those that the host code asks for. Run as a script it compiles and prints what it
found; the test does so in a process of its own, as in this one Triton interprets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ahead import Launch, Recorder, assert_sound, print_rows

MOST_REGISTERS = 96

CASES: dict[str, dict[str, Any]] = {
    # A training's: faces of the store by index, some of them degraded.
    "training": {"dtype": "bfloat16", "indexed": True, "degraded": "some"},
    "degraded": {"dtype": "float32", "degraded": "all"},
    "small": {"dtype": "float32", "size": 64},
    "strided": {"dtype": "float32", "size": 37, "strided": True},
    "strided index": {"dtype": "float16", "size": 37, "strided": True, "indexed": True},
}
CASES_ON = [
    ("training", 90), ("training", 80), ("training", 120), ("degraded", 90), ("small", 120),
    ("strided", 80), ("strided index", 90),
]  # fmt: skip
QUICK = [("training", 90)]
SIDE, CHANNELS, POINTS, SAMPLES = 288, 5, 9, 4


def _launches(name: str) -> Iterator[Launch]:
    """What the host code launches for one call."""
    import torch

    from swapper.kernels import triton_warp

    case, rows = CASES[name], torch.zeros(SAMPLES, dtype=torch.int64)
    room = torch.empty(SAMPLES, SIDE + 1, SIDE + 2, 2 * CHANNELS + 1, dtype=torch.uint8)
    faces = torch.empty(SAMPLES, SIDE, SIDE, CHANNELS, dtype=torch.uint8)
    if case.get("strided"):  # neither channels nor the first byte lie well
        faces = room[:, 1:, 1:-1, 1::2]
    degraded, kernel, recorder = case.get("degraded"), triton_warp._warp_pair, Recorder()
    triton_warp._warp_pair = recorder
    triton_warp.warp_pair._init_fn(
        faces, torch.empty(SAMPLES, 2, 3), torch.empty(SAMPLES, POINTS, POINTS, 2),
        torch.empty(SAMPLES, 3, 2), case.get("size", 256),
        torch.empty_like(faces[..., :3]) if degraded else None, getattr(torch, case["dtype"]),
        rows if case.get("indexed") else None, rows if degraded == "some" else None,
    )  # fmt: skip
    triton_warp._warp_pair = kernel
    (launch,) = recorder.launches
    yield "warp_pair", kernel, *launch


def test_each_case_is_sound_on_each_architecture(rows: list[dict[str, Any]]) -> None:
    assert_sound(rows, MOST_REGISTERS)
    assert all(row["REG"] > 16 for row in rows)


def test_rounding_is_the_references(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["fused"] == row["divisions"] == 0, row


if __name__ == "__main__":
    print_rows(_launches)
