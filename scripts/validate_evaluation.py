r"""Validate the evaluation with planted faults on clips with ground truth.

    python scripts/validate_evaluation.py --seeds 0 1 --output benchmarks/DATE-evaluation.jsonl

An actor performs; a second actor plays the same performance, the ground truth, and then with
planted
faults: at 0.6 of its strength, with jitter, three frames late, shifted in time, without brief
movements, and both damped and with jitter. Each is rendered and evaluated like a swap; with --truth
against the ground truth, of which the perfect copy is a re-encoding.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapper.errors import SwapperError
from swapper.estimators.base import load_estimator
from swapper.evaluate import evaluate
from swapper.evaluation.clips import reencode
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.openface import OpenfaceAligner
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.stage import sample_stage
from swapper.options.verbs import EvaluateOptions
from swapper.synth.performance import Performance, play
from swapper.synth.scenarios import Take
from swapper.synth.timeline import parse_timeline
from swapper.synthesize import ClipFiles, render_take

SCORE = (
    "neutral:1.5,happy:2,neutral:1,anger:2,neutral:1,surprise:1.5,neutral:1,sad:2,neutral:1,"
    "fear:1.5,neutral:1,disgust:1.5,neutral:1"
)
MICRO = 20.0
"""Micro-expressions a minute, so that a short clip has enough of them."""
Plant = Callable[[Performance, int], Performance]


def _units(performance: Performance, units: NDArray[np.floating]) -> Performance:
    return replace(performance, units=np.clip(units, 0, 1).astype(np.float32))


def _weak(performance: Performance, _: int) -> Performance:
    median = np.median(performance.units, axis=0, keepdims=True)
    return _units(performance, median + 0.6 * (performance.units - median))


def _shaking(performance: Performance, seed: int) -> Performance:
    random = np.random.default_rng([seed, 7])
    moves = performance.units.std(axis=0, keepdims=True)
    return _units(
        performance,
        performance.units + 0.8 * moves * random.standard_normal(performance.units.shape),
    )


def _late(performance: Performance, _: int) -> Performance:
    return _units(
        performance, np.concatenate([performance.units[:1].repeat(3, 0), performance.units[:-3]])
    )


def _elsewhere(performance: Performance, _: int) -> Performance:
    return _units(performance, np.roll(performance.units, len(performance) * 2 // 5, axis=0))


def _without_brief(performance: Performance, seed: int) -> Performance:
    return play(performance.score, performance.fps, seed, variety=performance.variety, micro=0.0)


PLANTS: dict[str, Plant] = {
    "perfect copy": lambda performance, _: performance,
    "damped to 0.6": _weak,
    "shaking": _shaking,
    "3 frames late": _late,
    "other moments": _elsewhere,
    "no micro-expressions": _without_brief,
    "damped and shaking": lambda performance, seed: _shaking(_weak(performance, seed), seed),
}


def film(
    folder: Path, name: str, actor_seed: int, performance: Performance, seed: int, size: int
) -> ClipFiles:
    """Render a performance by an actor, on the seed's stage."""
    take = Take(name, sample_identity(actor_seed), performance, sample_stage(seed))
    return render_take(take, folder, size)


@dataclass(frozen=True)
class Trial:
    """Settings of a trial.

    Attributes:
        plants: Names among `PLANTS`.
        size: Frame size in pixels.
        landmarker: MediaPipe's model, to evaluate with it as well; "" for the judge alone.
        truth: Whether to pass the ground truth.
    """

    plants: tuple[str, ...]
    size: int
    landmarker: str
    truth: bool


def run_trial(seed: int, folder: Path, trial: Trial) -> Iterator[dict[str, Any]]:
    """Yield the results of all plants of one performance."""
    size, landmarker = trial.size, trial.landmarker
    played = play(parse_timeline(SCORE), fps=25, seed=seed, micro=MICRO)
    performer = film(folder, f"performer_{seed}", 2 * seed + 1, played, seed, size)
    answer = (
        film(folder, f"answer_{seed}", 2 * seed + 2, played, seed, size) if trial.truth else None
    )
    for plant in trial.plants:
        name = "".join(c if c.isalnum() else "-" for c in plant)
        played_so = PLANTS[plant](played, seed)
        swap = film(folder, f"{name}_{seed}", 2 * seed + 2, played_so, seed, size)
        if answer is not None:  # else the perfect copy would equal the ground truth
            copy = folder / f"{name}_{seed}_encoded.mp4"
            reencode(swap.video, copy)
            swap = replace(swap, video=copy)
        for reader in ("judge", *(["mediapipe"] if landmarker else [])):
            output = folder / "reports" / f"{name}_{seed}_{reader}"
            scores = _evaluate((performer, swap, answer), output, reader, landmarker)
            yield {"plant": plant, "seed": seed, "reader": reader, "truth": trial.truth} | scores


def _evaluate(
    films: tuple[ClipFiles, ClipFiles, ClipFiles | None], output: Path, reader: str, landmarker: str
) -> dict[str, Any]:
    performer, swap, answer = films
    # In the order in which clips are read.
    tables = iter([performer, swap, answer or performer])

    def aligner() -> MediapipeAligner | OpenfaceAligner:
        if reader == "mediapipe":
            return MediapipeAligner(model=landmarker)
        return OpenfaceAligner(str(next(tables).landmarks))

    options = EvaluateOptions(
        str(performer.video), str(swap.video), "" if answer is None else str(answer.video),
        output=str(output), overwrite=True, device="cpu",
    )  # fmt: skip
    report = evaluate(options, aligner, lambda: load_estimator("judge", "measuring"))
    measures = {each.name: each.value for group in report.groups for each in group.measures}
    names = ("gain", "correlation", "lag", "jitter", "brief_lost", "emotion_kappa")
    return {
        "findings": [each.split(":")[0] for each in report.findings],
        "expressive": report.expressive,
        **{name: measures.get(name) for name in names},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Render, evaluate, print a table, save the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, default=192, help="of the film, in pixels")
    parser.add_argument("--plants", nargs="+", choices=list(PLANTS), default=list(PLANTS))
    parser.add_argument("--truth", action="store_true", help="pass the exact answer along")
    parser.add_argument(
        "--landmarker", default="", help="face_landmarker.task: reads by MediaPipe, too"
    )
    parser.add_argument("--work", type=Path, help="keeps film and reports there")
    parser.add_argument("--output", type=Path, help="JSON lines")
    options = parser.parse_args(argv)
    trial = Trial(tuple(options.plants), options.size, options.landmarker, options.truth)
    logging.basicConfig(level=logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        try:
            for seed in options.seeds:
                for row in run_trial(seed, folder, trial):
                    rows.append(row)
                    print(_line(row), flush=True)
        except SwapperError as error:
            print(f"validate_evaluation: {error}", file=sys.stderr)
            return 2
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return 0


def _line(row: dict[str, Any]) -> str:
    figures = ", ".join(
        f"{name} {row[name]:.2f}"
        for name in ("gain", "correlation", "lag", "jitter", "brief_lost")
        if row[name] is not None and np.isfinite(row[name])
    )
    findings = "; ".join(row["findings"]) or "nothing wrong"
    cells = (row["plant"], row["seed"], row["reader"], findings, row["expressive"], figures)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
