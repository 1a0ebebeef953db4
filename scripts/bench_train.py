r"""Benchmark of training speed: steps by optimisation level, and data loading.

    python scripts/bench_train.py --models original --rounds 10
    python scripts/bench_train.py --device cuda --output benchmarks/DATE-train.jsonl
    python scripts/bench_train.py --predict "NVIDIA H200"

Measures, for each model:

- Ladder: the same network on the same batch, from a plain float32 loop to all optimisations (see
  ladder.py). Rungs are timed in turns, round by round, so that fluctuations of the machine affect
  all alike; the main result is the median of the paired ratios to the plain loop.
- Feeding: batches from the cache, and the cost of computing input and target.
- Loop: images per second of `swapper train`'s loop, loader included, and the share of time in which
a
  GPU idles.

On a CPU times are CPU-seconds of one thread; on a GPU seconds by CUDA events. Predictions are
listed next to them. Faces are of synthetic actors unless ``--facesets`` is given.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladder import Stepper, check_agree, rungs
from paired import Clock, cpu_clock, cuda_clock, environment, interleaved, paired_ratio
from step_forecast import Work, forecast
from torch.utils.flop_counter import FlopCounterMode
from training_loop import MakeModel, Row, actor_facesets, data_of, feed, loader_alone, loop

from swapper.data.datamodule import FaceDataModule
from swapper.errors import SwapperError, UsageError
from swapper.models.autoencoder import DfAutoencoder, OriginalAutoencoder
from swapper.training.trainer import resolve_precision

log = logging.getLogger("bench")

SMALL_PX = 64
"""Largest side at which a step on a GPU is limited by kernel launches."""


@dataclass(frozen=True)
class Model:
    """A network and its batch sizes per identity."""

    make: MakeModel
    resolution: int
    on_cpu: int
    on_gpu: int

    def batch_size(self, device: torch.device) -> int:
        """Faces of each identity."""
        return self.on_gpu if device.type == "cuda" else self.on_cpu


MODELS: dict[str, Model] = {
    "original": Model(OriginalAutoencoder, 64, on_cpu=16, on_gpu=32),
    "df128": Model(partial(DfAutoencoder, resolution=128), 128, on_cpu=4, on_gpu=32),
    "df256": Model(partial(DfAutoencoder, resolution=256), 256, on_cpu=2, on_gpu=32),
}


def work_of(model: Model, batch_size: int) -> Work:
    """Compute the work of a step of two identities."""
    with torch.device("meta"):
        net = model.make(("a", "b"))
        faces = torch.empty(2, 3, model.resolution, model.resolution)
    with FlopCounterMode(display=False) as counter:
        latents = net.encode(faces).chunk(2)
        outputs = [net.decode(one, name) for one, name in zip(latents, "ab", strict=True)]
        sum(each.image.sum() + each.mask.sum() for each in outputs).backward()
    return Work(
        operations=counter.get_total_flops() * batch_size,
        pixels=2 * batch_size * model.resolution**2,
        weights=sum(each.numel() for each in net.parameters()),
    )


# --- the ladder -----------------------------------------------------------------------------------


def climb(
    name: str, data: FaceDataModule, device: torch.device, rounds: int, clock: Clock
) -> Iterator[Row]:
    """Time all rungs of a model's ladder in turns."""
    model = MODELS[name]
    batch = next(iter(data.train_dataloader())).to(device)
    torch.manual_seed(0)
    net = model.make(data.identities)
    bf16 = resolve_precision("auto", device.type) == "bf16-mixed"
    ladder = rungs(device, bf16=bf16, small=model.resolution <= SMALL_PX)
    steppers = [Stepper(rung, copy.deepcopy(net), batch, device) for rung in ladder]
    losses = check_agree(steppers)
    peaks = {each.rung.name: _peak(each, device) for each in steppers}
    times = interleaved({each.rung.name: each for each in steppers}, rounds, clock)
    work = work_of(model, data.batch_size)
    pictures = 2 * data.batch_size
    for rung in ladder:
        ratio = paired_ratio(times[rung.name], times[ladder[0].name])
        seconds = float(np.median(times[rung.name]))
        yield {
            "part": "ladder", "rung": rung.name, "pictures": pictures,
            "seconds": seconds, "pictures_a_second": pictures / seconds,
            "ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high,
            "predicted_seconds": forecast(rung, work, device_name(device)),
            "loss": losses[rung.name], "peak_mb": peaks[rung.name], "rounds": rounds,
        }  # fmt: skip


def predicted(name: str, device: str) -> Iterator[Row]:
    """Yield the predicted ladder of a model."""
    model = MODELS[name]
    kind = torch.device("cpu" if device == "cpu" else "cuda")
    size = model.batch_size(kind)
    work, first = work_of(model, size), None
    for rung in rungs(kind, bf16=device != "cpu", small=model.resolution <= SMALL_PX):
        seconds = forecast(rung, work, device)
        if seconds is None:
            raise UsageError(f"--predict {device}: pass 'NVIDIA H100', 'NVIDIA H200' or cpu")
        first = first or seconds
        yield {
            "part": "prediction", "model": name, "rung": rung.name, "pictures": 2 * size,
            "predicted_seconds": seconds, "predicted_pictures_a_second": 2 * size / seconds,
            "predicted_ratio": seconds / first,
        }  # fmt: skip


def _peak(stepper: Stepper, device: torch.device) -> float | None:
    """Return the peak device memory of a step beyond all rungs' weights, in MB."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    held = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    stepper()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - held) / 1e6


# --- reporting -----------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> list[str]:
    """Return the results as Markdown."""
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        climbed = [row for row in mine if row["part"] in ("ladder", "prediction")]
        if climbed:
            lines += [
                "", f"## {model}, {climbed[0]['pictures']} pictures a step", "",
                "| rung | s/step | pictures/s | of the plain loop [20 %, 80 %] | predicted s/step "
                "| of the plain loop | peak MB |",
                "|---|---|---|---|---|---|---|",
                *_ladder_lines(climbed),
            ]  # fmt: skip
        lines += ["", *(_sentence(row) for row in mine if row not in climbed)]
    return lines


def _ladder_lines(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0].get("predicted_seconds")
    for row in rows:
        predicted_ = row.get("predicted_seconds")
        cells = [row["rung"], "–", "–", "–", "–", "–", "–"]
        if "seconds" in row:
            cells[1:3] = f"{row['seconds']:.4g}", f"{row['pictures_a_second']:.4g}"
            cells[3] = f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
        if predicted_ is not None:
            cells[4] = f"{predicted_:.4g}"
            cells[5] = f"{predicted_ / first:.2f}" if first else "–"
        if row.get("peak_mb") is not None:
            cells[6] = f"{row['peak_mb']:.0f}"
        yield "| " + " | ".join(cells) + " |"


def _sentence(row: Row) -> str:
    if row["part"] == "feeding":
        return (
            f"Feeding {row['pictures']} faces: {1e3 * row['cpu_seconds']:.1f} ms of one thread "
            f"({1e3 * row['cpu_seconds_batch']:.1f} from the cache, drawn and degraded; "
            f"{1e3 * row['cpu_seconds_warp']:.1f} warped on the CPU)."
        )
    if row["part"] == "loader":
        return f"Loader alone, {row['workers']} workers: {row['pictures_a_second']:.0f} pictures/s."
    idle = f"; the GPU idles {row['idle_share']:.1%}" if "idle_share" in row else ""
    return (
        f"`swapper train`'s loop, {row['workers']} workers: "
        f"{row['pictures_a_second']:.4g} pictures/s{idle}."
    )


def device_name(device: torch.device) -> str:
    """Return the device name for predictions."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def measure(arguments: argparse.Namespace, emit: Callable[[Row], None]) -> None:
    """Run all requested parts and emit their rows."""
    device = torch.device(arguments.device)
    clock = cuda_clock if device.type == "cuda" else cpu_clock
    for name in arguments.models:
        model = MODELS[name]
        size = arguments.batch_size or model.batch_size(device)
        facesets = arguments.facesets or actor_facesets(
            arguments.work, min(2 * model.resolution, 256)
        )
        calm, busy = (
            data_of(facesets, model.resolution, size, workers) for workers in (0, arguments.workers)
        )
        parts: list[Callable[[], Iterator[Row]]] = []
        if "ladder" in arguments.parts:
            parts.append(partial(climb, name, calm, device, arguments.rounds, clock))
        if "feeding" in arguments.parts:
            parts.append(partial(feed, calm))
        if "loader" in arguments.parts:
            parts.append(partial(loader_alone, busy, arguments.steps))
        if "loop" in arguments.parts:
            parts.append(partial(loop, model.make, busy, device, arguments.steps))
        for part in parts:
            for row in part():
                emit({"model": name, **row})


PARTS = ("ladder", "feeding", "loader", "loop")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--predict", metavar="DEVICE", help="print predictions, measure nothing")
    parser.add_argument("--rounds", type=int, default=10, help="turns of the ladder")
    parser.add_argument("--steps", type=int, default=100, help="of the loop and of the loader")
    parser.add_argument("--batch-size", type=int, help="faces of each identity")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--facesets", nargs=2, help="folders; else actors are drawn")
    parser.add_argument("--work", type=Path, default=Path("bench_train"), help="for drawn faces")
    parser.add_argument("--output", type=Path, help="JSON lines; appended to")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.steps < 4:
        raise UsageError("--rounds must be at least 1, --steps at least 4")
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {options.device}: not available; pass --device cpu")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, save the rows."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        options = parse_arguments(argv)
        rows: list[Row] = []
        stamp: Mapping[str, Any] = {}
        if options.predict:
            rows = [row for name in options.models for row in predicted(name, options.predict)]
            stamp = {"device": options.predict, "measured": False}
        else:
            device = torch.device(options.device)
            if device.type == "cpu":
                torch.set_num_threads(1)
            stamp = environment(device) | {"measured": True}
            measure(options, rows.append)
        if options.output is not None:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with options.output.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row | dict(stamp)) + "\n" for row in rows)
        print("\n".join(table(rows)).strip())
    except SwapperError as error:
        print(f"bench_train: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
