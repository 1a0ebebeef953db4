r"""Benchmark of kernels: all variants of each hot operation at the models' shapes.

    python scripts/bench_kernels.py --output benchmarks/DATE-kernels.jsonl
    python scripts/bench_kernels.py --device cpu --op film_lrelu --quick

First the device's ceilings: a copy and a matrix product. Then, for each operation at each site, all
variants (see kernel_variants.py) are timed in turns, round by round, with cold caches: forward as
in training (saving for backward), backward, and both. The main result is the median of the paired
ratios to the baseline, the first variant. The baseline is timed twice: its ratio to itself is the
spread, and a ratio within it is no difference. A second ratio is to the fastest variant of
`torch.compile`. A variant whose values or gradients differ from float64 by more than a tolerance is
refused, not timed.

On a GPU times are by CUDA events, with enough queued work to hide launches; convolutions use
float32 (TF32 off), so that all variants compute the same. On a CPU they are CPU-seconds
of one thread. Bytes are the minimum: inputs once, outputs once. Predictions were made for an H200
before measuring; there are none for other devices.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_cases import MODELS, Case, cases_of, predicted_ms
from kernel_trials import (
    TOLERANCE,
    CheckedVariant,
    ColdClock,
    Trial,
    check_variant,
    exact_values,
    spread_of,
    verdict,
)
from kernel_variants import NAMES, OPERATIONS, Variant, variants_of
from paired import environment, interleaved, paired_ratio

from swapper.errors import SwapperError, UsageError
from swapper.kernels import dispatch

Row = dict[str, Any]

AGAIN = " again"
QUICK_ROUNDS = 3
CEILING_ROUNDS = 5


def ceilings(device: torch.device, clock: ColdClock) -> list[Row]:
    """Measure the device's fastest copy and matrix product."""
    on_gpu = device.type == "cuda"
    values = (1 << 30 if on_gpu else 256 << 20) // 4
    side, dtype = (8192, torch.bfloat16) if on_gpu else (1024, torch.float32)
    source = torch.rand(values, device=device)
    sink = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    runs: dict[str, Callable[[], Any]] = {
        "copy": lambda: sink.copy_(source),
        "product": lambda: torch.mm(left, right),
    }
    times = interleaved(runs, CEILING_ROUNDS, clock, warmups=2)
    copy, product = (float(np.median(times[name])) for name in runs)
    moved = 2 * source.nbytes
    return [
        {"op": "ceiling", "variant": "copy", "shape": [values], "dtype": "float32",
         "ms": 1e3 * copy, "bytes": moved, "gb_s": moved / copy / 1e9},
        {"op": "ceiling", "variant": "product", "shape": [side, side, side],
         "dtype": str(dtype).removeprefix("torch."), "ms": 1e3 * product,
         "tflop_s": 2 * side**3 / product / 1e12},
    ]  # fmt: skip


def measure(
    case: Case,
    variants: Sequence[Variant],
    rounds: int,
    clock: ColdClock,
    *,
    device: str,
    copy_gb_s: float,
) -> Iterator[Row]:
    """Check all variants of a case, then time the correct ones, direction by direction.

    Args:
        case: The operation and its inputs.
        variants: The first correct one is the baseline.
        rounds: Timings of each.
        clock: Clock of the inputs' device.
        device: Name of the device, for predictions.
        copy_gb_s: Copy bandwidth of the device, read and write together.

    Yields:
        A row for each direction and variant, refused ones too.
    """
    # Inductor compiles for one shape, and stops after eight recompilations in one process.
    torch._dynamo.reset()
    with dispatch.using("reference"):
        expected = exact_values(case)
        forms = [check_variant(each, case, expected) for each in variants]
        for direction in case.directions:
            trials = {
                each.variant.name: Trial(each.variant, each.form, case, direction)
                for each in forms
                if not each.refused
            }
            peaks = {name: clock.peak_mb(each) for name, each in trials.items()}
            times = in_turns(trials, rounds, clock)
            for form in forms:
                name = form.variant.name
                row = _described(case, direction, form, device)
                if name in trials:
                    compiled = [each for each in trials if trials[each].variant.compiled]
                    row |= compared(name, next(iter(trials)), compiled, times)
                    gb_s = case.bytes[direction] / row["ms"] / 1e6
                    row |= {"gb_s": gb_s, "copy_share": gb_s / copy_gb_s, "rounds": rounds}
                    row["peak_mb"] = peaks[name]
                yield row


def in_turns(trials: Mapping[str, Trial], rounds: int, clock: ColdClock) -> dict[str, list[float]]:
    """Return seconds by name; the first trial is timed twice, the second time as name + AGAIN."""
    if not trials:
        return {}
    base = next(iter(trials))
    baseline = trials[base]
    again = Trial(baseline.variant, baseline.form, baseline.case, baseline.direction)
    turns = {**trials, base + AGAIN: again}
    for trial in turns.values():
        clock(trial)
    return interleaved(turns, rounds, clock, warmups=0)


def _described(case: Case, direction: str, form: CheckedVariant, device: str) -> Row:
    guess = predicted_ms(case, form.variant.name, direction, device)
    return {
        "op": case.operation, "model": case.model, "variant": form.variant.name,
        "direction": direction, "shape": list(case.shape), "layout": case.layout,
        "dtype": str(case.dtype).removeprefix("torch."), "calls_a_step": case.calls,
        "bytes": case.bytes[direction], "error": form.error, "tolerance": TOLERANCE[case.dtype],
        "refused": form.refused, "predicted_ms": guess and list(guess),
    }  # fmt: skip


def compared(
    name: str, base: str, compiled: Sequence[str], times: Mapping[str, Sequence[float]]
) -> Row:
    """Return a variant's time and its ratios to the baseline and to the fastest compiled variant.

    Args:
        name: Name of the variant.
        base: Name of the baseline; `times` holds it twice.
        compiled: Names of compiled variants; may be empty.
        times: Seconds by name, from `in_turns`.
    """
    low, median, high = np.quantile(times[name], (0.2, 0.5, 0.8))
    spread = spread_of(paired_ratio(times[base + AGAIN], times[base]))
    ratio = paired_ratio(times[name], times[base])
    row = {
        "ms": 1e3 * median, "ms_low": 1e3 * low, "ms_high": 1e3 * high, "base": base,
        "ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high,
        "spread_low": spread.low, "spread_high": spread.high,
        "verdict": "baseline" if name == base else verdict(ratio, spread),
    }  # fmt: skip
    if compiled:
        rival = min(compiled, key=lambda each: float(np.median(times[each])))
        ratio = paired_ratio(times[name], times[rival])
        row |= {"rival": rival, "rival_ratio": ratio.median}
        row |= {"rival_low": ratio.low, "rival_high": ratio.high}
    return row


# --- reporting -----------------------------------------------------------------------------------


def table(rows: Sequence[Row], device: str) -> list[str]:
    """Return the results as Markdown."""
    lines = [f"Measured on {device}."]
    for row in rows:
        if row["variant"] == "copy":
            lines.append(f"Copy: {row['gb_s']:.4g} GB/s, read and write together.")
        elif row["variant"] == "product":
            lines.append(f"Product, {row['dtype']}: {row['tflop_s']:.4g} TFLOP/s.")
    for operation in OPERATIONS:
        mine = [row for row in rows if row["op"] == operation]
        if mine:
            lines += [
                "", f"## {operation}", "",
                "| where | | form | ms [20, 80 %] | of the first [20, 80 %] | A/A spread | "
                "| of compiled | GB/s | of the copy | peak MB | predicted ms |",
                f"|{'---|' * 12}",
                *map(_line, mine),
            ]  # fmt: skip
    return lines


def _line(row: Row) -> str:
    where = f"{row['model']} {'x'.join(map(str, row['shape']))} {row['dtype']} {row['layout']}"
    cells = [where, row["direction"], row["variant"], *["–"] * 9]
    if row["refused"]:
        cells[3] = row["refused"]
    else:
        cells[3] = f"{row['ms']:.4g} [{row['ms_low']:.4g}, {row['ms_high']:.4g}]"
        cells[4] = f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
        cells[5] = f"{row['spread_low']:.3f}–{row['spread_high']:.3f}"
        cells[6] = row["verdict"]
        if "rival" in row:
            cells[7] = f"{row['rival_ratio']:.3f}"
        cells[8], cells[9] = f"{row['gb_s']:.4g}", f"{row['copy_share']:.0%}"
        if row["peak_mb"] is not None:
            cells[10] = f"{row['peak_mb']:.0f}"
    if row["predicted_ms"]:
        low, high = row["predicted_ms"]
        cells[11] = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return "| " + " | ".join(cells) + " |"


# --- the command line -----------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: A name is unknown, a number out of range, or the device not available.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", nargs="+", default=list(OPERATIONS), help="all by default")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="all by default")
    parser.add_argument("--variants", nargs="+", default=list(NAMES), help="all by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pictures", type=int, help="a step; 64 on CUDA, 4 on a CPU")
    parser.add_argument("--quick", action="store_true", help="largest sites, three rounds")
    parser.add_argument("--output", type=Path, help="JSON lines; appended to")
    arguments = parser.parse_args(argv)
    for option, names, legal in (
        ("op", arguments.op, OPERATIONS),
        ("models", arguments.models, MODELS),
        ("variants", arguments.variants, NAMES),
    ):
        for name in names:
            if name not in legal:
                raise UsageError(f"--{option} {name}: must be one of {', '.join(legal)}")
    if arguments.rounds < 1:
        raise UsageError(f"--rounds {arguments.rounds}: must be at least 1")
    arguments.device = _device(arguments.device)
    if arguments.pictures is None:
        arguments.pictures = 64 if arguments.device.type == "cuda" else 4
    if arguments.pictures < 2 or arguments.pictures % 2:
        raise UsageError(f"--pictures {arguments.pictures}: must be even, half for each identity")
    if arguments.quick:
        arguments.rounds = min(arguments.rounds, QUICK_ROUNDS)
    return arguments


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if name.partition(":")[0] != "cuda":
        raise UsageError(f"--device {name}: must be cuda or cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: must be cuda or cpu") from error
    if (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: not available; pass --device cpu")
    return device


def run(options: argparse.Namespace, name: str, emit: Callable[[Row], None]) -> None:
    """Run all requested cases and emit their rows; `name` is the device's name."""
    clock = ColdClock(options.device)
    highest = ceilings(options.device, clock)
    for row in highest:
        emit(row)
    settings = {"device": name, "copy_gb_s": highest[0]["gb_s"]}
    for operation in options.op:
        variants = variants_of(operation, options.variants)
        for model in options.models:
            for case in cases_of(
                operation, model, options.pictures, options.device, largest=options.quick
            ):
                for row in measure(case, variants, options.rounds, clock, **settings):
                    emit(row)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, save the rows."""
    try:
        options = parse_arguments(argv)
        if options.device.type == "cpu":
            torch.set_num_threads(1)
        else:
            torch.cuda.set_device(options.device)
            torch.backends.cudnn.allow_tf32 = False
        stamp = environment(options.device)
        rows: list[Row] = []

        def record(row: Row) -> None:
            rows.append(row)
            if options.output is not None:
                options.output.parent.mkdir(parents=True, exist_ok=True)
                with options.output.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row | stamp) + "\n")

        run(options, stamp["device"], record)
        print("\n".join(table(rows, stamp["device"])))
    except SwapperError as error:
        print(f"bench_kernels: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
