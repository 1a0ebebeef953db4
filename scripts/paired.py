"""Paired timing for noisy machines: variants are timed in turns and compared per round."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Clock = Callable[[Callable[[], Any]], float]
"""Runs a function once and returns its seconds."""


def cpu_clock(run: Callable[[], Any]) -> float:
    """Return CPU-seconds of this process over all threads; set their number to 1 before."""
    start = time.process_time()
    run()
    return time.process_time() - start


def cuda_clock(run: Callable[[], Any]) -> float:
    """Return seconds on the current CUDA device, from idle to the end of the launched work."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / 1e3


def interleaved(
    variants: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock, warmups: int = 1
) -> dict[str, list[float]]:
    """Time all variants once per round, in an order that rotates between rounds.

    Args:
        variants: Functions by name.
        rounds: Timings of each.
        clock: Clock of their device.
        warmups: Untimed runs of each.

    Returns:
        Seconds by name, one per round.
    """
    for run in variants.values():
        for _ in range(warmups):
            run()
    names = list(variants)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(clock(variants[name]))
    return times


@dataclass(frozen=True)
class Ratio:
    """Ratio of paired times: the median and the 20 % and 80 % quantiles over rounds."""

    median: float
    low: float
    high: float


def paired_ratio(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """Divide times by the base's times of the same rounds.

    Raises:
        ValueError: The lengths differ or are 0.
    """
    if len(times) != len(base) or not times:
        raise ValueError(f"{len(times)} times and {len(base)} of the base are not pairs")
    ratios = np.array(times) / np.array(base)
    low, median, high = np.quantile(ratios, (0.2, 0.5, 0.8))
    return Ratio(float(median), float(low), float(high))


def environment(device: torch.device) -> dict[str, Any]:
    """Return the environment of a measurement: device, versions, commit, command."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _output_of("git", "describe", "--always", "--dirty"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "device": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "driver": _output_of(
                "nvidia-smi",
                "--query-gpu=driver_version,clocks.sm,clocks.mem",
                "--format=csv,noheader",
            ),
        }
        try:
            import triton

            facts["triton"] = triton.__version__
        except ImportError:
            pass
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((each.split(":")[1].strip() for each in lines if "model name" in each), "cpu")


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
    except OSError:
        return ""
    return done.stdout.strip()
