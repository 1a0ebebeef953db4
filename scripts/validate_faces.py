r"""Measure estimators on perfect copies by another face: the basis of `scorecard.OTHER_FACE`.

    python scripts/validate_faces.py --landmarker face_landmarker.task --output rows.jsonl

Actors perform; each performance is copied by two other actors, perfectly, at 0.6 of its strength,
and both damped and with jitter. Every clip is evaluated as in `swapper evaluate`, against the
performer's re-encoded clip.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from validate_evaluation import PLANTS, film

from swapper.errors import SwapperError
from swapper.estimators.base import load_estimator
from swapper.evaluation.clips import Instruments, ReadingsCache, read_clips
from swapper.evaluation.scorecard import PairReadings, diagnose_pair
from swapper.faces.mediapipe import MediapipeAligner
from swapper.options.verbs import EvaluateOptions
from swapper.synth.performance import play
from swapper.synth.timeline import parse_timeline

SCORE = (
    "neutral:1,happy:1.5,neutral:.7,anger:1.5,neutral:.7,surprise:1.2,neutral:.7,sad:1.5,"
    "neutral:.7,fear:1.2,neutral:.5,disgust:1.3,neutral:.5"
)
COPIES = ("perfect copy", "damped to 0.6", "damped and shaking")
FACES = 2
"""Number of other actors that copy each performance."""


def run_trial(seed: int, folder: Path, size: int, landmarker: str) -> Iterator[dict[str, Any]]:
    """Yield the results of all copies of one performance by all estimators."""
    played = play(parse_timeline(SCORE), fps=25, seed=100 + seed)
    actor_seed = 40 + 3 * seed
    performer = film(folder, f"performer_{seed}", actor_seed, played, seed, size)
    judge = load_estimator("judge", "measuring")
    seen: ReadingsCache = {}
    instruments = Instruments(lambda: MediapipeAligner(model=landmarker), judge, cache=seen)
    for face in range(1, FACES + 1):
        for copy in COPIES:
            name = f"{copy.replace(' ', '-')}_{seed}_{face}"
            swap = film(folder, name, actor_seed + face, PLANTS[copy](played, seed), seed, size)
            options = EvaluateOptions(str(performer.video), str(swap.video), device="cpu")
            readings = read_clips(options, instruments)
            readers = {
                "mediapipe": readings,
                "judge": _without(readings, blendshapes=None),
                "geometry": _without(readings, blendshapes=None, units=None),
            }
            for reader, pair in readers.items():
                scores, diagnosis = diagnose_pair(pair)
                yield {
                    "copy": copy,
                    "seed": seed,
                    "face": face,
                    "reader": reader,
                    "gain": scores.units.gain,
                    "correlation": scores.units.correlation,
                    "jitter": scores.jitter,
                    "faults": sorted(each.value for each in diagnosis.faults),
                    "expressive": diagnosis.expressive,
                }


def _without(pair: PairReadings, **readings: None) -> PairReadings:
    """Return the pair without some readings."""
    ceiling = None if pair.ceiling is None else replace(pair.ceiling, **readings)
    swap, performer = (replace(each, **readings) for each in (pair.swap, pair.performer))
    return replace(pair, swap=swap, performer=performer, ceiling=ceiling)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return Markdown: mean and range of gains and the faults, by estimator and copy."""
    lines = ["| reader | copy | clips | gain: mean, range | damped | jittery | expressive |"]
    lines.append("|---|---|---|---|---|---|---|")
    for reader, copy in sorted({(row["reader"], row["copy"]) for row in rows}):
        group = [row for row in rows if (row["reader"], row["copy"]) == (reader, copy)]
        gains = [row["gain"] for row in group]
        named = [sum(fault in row["faults"] for row in group) for fault in ("damped", "jittery")]
        lines.append(
            f"| {reader} | {copy} | {len(group)} | {sum(gains) / len(gains):.2f}, "
            f"{min(gains):.2f} to {max(gains):.2f} | {named[0]} | {named[1]} | "
            f"{sum(bool(row['expressive']) for row in group)} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Render, evaluate, print a table, save the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--size", type=int, default=192, help="of the film, in pixels")
    parser.add_argument("--landmarker", required=True, help="face_landmarker.task")
    parser.add_argument("--output", type=Path, help="JSON lines")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for seed in options.seeds:
                for row in run_trial(seed, Path(folder), options.size, options.landmarker):
                    rows.append(row)
                    print(json.dumps(row), file=sys.stderr, flush=True)
        except SwapperError as error:
            print(f"validate_faces: {error}", file=sys.stderr)
            return 2
    print("\n".join(table(rows)))
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
