r"""Benchmark on real clips: train configs and score swaps with independent estimators.

    python scripts/bench_real.py --clips shared/real --pairs a:b b:a c:d a:d --seeds 0 1 2 \
        --steps 2000 --config "plain: pseudo=none augment=light loss.eyes_mouth=0.5" \
        --config "default:" --aligner mediapipe --out out/bench_real

Pair ``p:i`` swaps identity i onto performer p; a clip NAME is ``CLIPS/clip_NAME.mp4`` or
``CLIPS/NAME.mp4``, with ``.openface.csv`` next to it for ``--aligner openface``. Faces are
extracted once. One training serves both directions of a pair; the performer's whole clip is
converted, all of which was in the training data. Finished steps are skipped: a finished cell (pair,
config, seed) is a line in ``OUT/cells.jsonl``. The table is printed and written to
``OUT/table.md``, images of the peak expressions to ``OUT/strips``. Changed training or conversion
code is not detected: use another ``--out``.

The judges are not used in any training: 3DDFA_V2's landmarks (the aligner's only place its first
crop), dlib's recogniser, and xception's emotions, omitted where a model was trained with it. Real
clips have no ground truth: r and gain are of the swap against the performer.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from bench_cells import Config, Journal, commit, digest
from real_judges import Judges, Reading
from real_runs import Cell, Clip, Workshop, clip_named, pair_of
from real_scores import VERSION
from real_strip import draw
from real_table import report

from swapper import __version__
from swapper.errors import MediaError, SwapperError, UsageError
from swapper.files import write_atomically

log = logging.getLogger("bench")


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    """Return all requested cells; those of one pair and seed together.

    Raises:
        UsageError: A pair or config is invalid or repeated, or a clip is missing.
    """
    configs = [Config.parse(text) for text in arguments.config or ["plain:"]]
    if len({config.name for config in configs}) < len(configs):
        raise UsageError("--config: two configs have one name; give each its own")
    pairs = [pair_of(text) for text in arguments.pairs]
    if len(set(pairs)) < len(pairs):
        raise UsageError("--pairs: a pair comes twice; name it once")
    names = dict.fromkeys(name for pair in pairs for name in pair)
    clips = {name: clip_named(name, arguments.clips, arguments.aligner) for name in names}
    return [
        Cell(
            clips[performer], clips[identity], config, seed, arguments.steps,
            arguments.experiment, arguments.aligner, arguments.size,
        )
        for seed in arguments.seeds
        for performer, identity in pairs
        for config in configs
    ]  # fmt: skip


def run_cells(
    cells: Sequence[Cell], workshop: Workshop, judges: Judges | None
) -> dict[Cell, Mapping[str, Any]]:
    """Run unfinished cells; a cell that fails is logged and skipped.

    Args:
        cells: In order of execution.
        workshop: Trains, converts and reads.
        judges: None to run nothing and return finished cells of any judges.

    Returns:
        Scores by cell.
    """
    journal = Journal(workshop.out / "cells.jsonl")
    if judges is None:
        latest = {row["name"]: row["scores"] for row in journal.rows.values()}
        return {cell: latest[cell.name] for cell in cells if cell.name in latest}
    done: dict[Cell, Mapping[str, Any]] = {}
    for number, cell in enumerate(cells, 1):
        key = f"{cell.name}-{digest([judges.fingerprint, VERSION])}"
        if key not in journal.rows:
            log.info("\n[%d/%d] %s", number, len(cells), cell.name)
            start = time.monotonic()
            try:
                scores = workshop.score(cell, judges)
            except SwapperError as error:
                log.error("%s: left out: %s", cell.name, error)
                continue
            journal.add(key, {
                "name": cell.name, "cell": asdict(cell, dict_factory=_paths_as_text),
                "scores": scores,
                "judges": judges.fingerprint, "version": VERSION,
                "seconds": round(time.monotonic() - start, 1), "software": __version__,
                "commit": commit(), "torch": torch.__version__,
            })  # fmt: skip
        done[cell] = journal.rows[key]["scores"]
    return done


def _paths_as_text(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in pairs}


def table(done: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Return the results as Markdown."""
    pairs: dict[str, dict[str, dict[tuple[str, int], Mapping[str, Any]]]] = {}
    for cell, scores in done.items():
        configs = pairs.setdefault(f"{cell.pair} (performer:identity)", {})
        configs.setdefault(cell.config.name, {})[(cell.pair, cell.seed)] = scores
    return "\n".join(report(pairs)) + "\n"


def draw_strips(done: Mapping[Cell, Mapping[str, Any]], workshop: Workshop, judges: Judges) -> None:
    """Draw an image for each pair, of its first seed; missing swaps are skipped."""
    rows: dict[tuple[Clip, Clip], dict[str, Path]] = {}
    for cell in done:
        swaps = rows.setdefault((cell.performer, cell.identity), {})
        video = workshop.swap_of(cell)
        if cell.config.name not in swaps and video.is_file():
            swaps[cell.config.name] = video
    for (performer, identity), swaps in rows.items():
        target = workshop.out / "strips" / f"{performer.name}-{identity.name}.png"
        try:
            reading: Reading = workshop.reading(performer, judges)
            draw(performer.video, reading, swaps, target)
        except MediaError as error:
            log.error("%s: left out: %s", target, error)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = command.add_argument
    shared = Path(os.environ.get("SWAPPER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    add("--clips", type=Path, default=shared / "real", help="folder of the clips")
    add("--pairs", nargs="+", default=["a:b", "b:a"], help="performer:identity, by clip")
    add("--config", action="append", help="'name: key=value ...'; the first one is the base")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of training")
    add("--steps", type=int, default=3000, help="of training")
    add("--experiment", default="cpu64", help="of swapper train, under every config")
    add("--aligner", choices=("openface", "mediapipe"), default="openface")
    add("--model", type=Path, help="face_landmarker.task, for mediapipe; else that in --weights")
    add("--size", type=int, default=256, help="side of the facesets' pictures in pixels")
    add("--rights", default="only to measure swapper by", help="by what right the clips are used")
    add("--weights", type=Path, default=shared / "weights", help="folder of the judges' weights")
    add("--every", type=int, default=6, help="frame step of dlib")
    add("--out", type=Path, default=Path("out/bench_real"))
    add("--table", action="store_true", help="only report finished cells")
    return command


def main() -> int:
    """Run, and print the table."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        cells = cells_of(arguments)
        model = arguments.model or arguments.weights / "face_landmarker.task"
        workshop = Workshop(arguments.out, model, arguments.rights)
        judges = None if arguments.table else Judges(arguments.weights, arguments.every)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the training subprocess
        done = run_cells(cells, workshop, judges)
        if judges is not None:
            draw_strips(done, workshop, judges)
    except KeyboardInterrupt:
        print("bench_real: interrupted; run it again to resume", file=sys.stderr)
        return 130
    except SwapperError as error:
        print(f"bench_real: {error}", file=sys.stderr)
        return error.exit_code
    text = table(done)
    write_atomically(arguments.out / "table.md", text.encode())
    print(text)
    return 0 if arguments.table or len(done) == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main())
