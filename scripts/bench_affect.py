r"""Benchmark of expression transfer: train configs on actors, score swaps against ground truth.

    python scripts/bench_affect.py --scenario limited rich --seeds 0 1 2 --steps 4000 \
        --config "plain:" --config "trunk: model.shared_stages=2"

Every cell (scenario, casting, config, seed) trains one model and converts every held-out clip of
its casting. A finished cell is a line in ``OUT/cells.jsonl`` and is not repeated; an interrupted
cell is resumed. Footage is shared by all configs, so that they can be compared clip by clip. The
table is printed and written to ``OUT/table.md``.

Expressions are estimated by ``affect=judge``, which is not used in any training, calibrated on the
ground truth clips. β and ρ are of the swap against the true intensities over time. Two rows bound
the
others: ``(answer)`` scores the ground truth clip as the swap, the instruments' ceiling;
``(performer)`` scores the performer's clip, the right expression on the wrong face.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import score_tables
import torch
from bench_cells import ANSWER, PERFORMER, Config, Journal, commit, digest

from swapper import __version__
from swapper.demo.pipeline import (
    actor_clip,
    actor_truth,
    check_unbiased,
    convert_clip,
    extract_faces,
    train_run,
    unit_estimator,
)
from swapper.errors import SwapperError, UsageError
from swapper.estimators.base import Estimator, load_estimator
from swapper.evaluation.ground_truth import Reader, compare_with_truth
from swapper.faces.aligner import Aligner
from swapper.faces.mediapipe import MediapipeAligner
from swapper.files import write_atomically
from swapper.head_renderer.identity import sample_identity
from swapper.metrics.traces import Calibration
from swapper.metrics.truth_scores import score
from swapper.options.groups import AffectOptions
from swapper.synth.scenarios import SCENARIOS, build_casting
from swapper.synthesize import render_casting, renderer_hash

log = logging.getLogger("bench")

Scores = dict[str, dict[str, Any]]
"""By clip, a `ClipScore` as plain values."""


@dataclass(frozen=True)
class Footage:
    """Footage of each casting, shared by all configs.

    Attributes:
        size: Side of the frames in pixels.
        seconds: Seconds of training footage of each actor.
        clips: Number of training clips, each with its own camera and light.
        fps: Frames per second.
        held_out: Number of clips to convert.
        held_out_seconds: Seconds of each.
        renderer_hash: Hash of the rendering code.
        aligner: Whose landmarks cut the faces: "exact" or "mediapipe".
    """

    size: int
    seconds: float
    clips: int
    fps: float
    held_out: int
    held_out_seconds: float
    renderer_hash: str
    aligner: str = "exact"


@dataclass(frozen=True)
class Cell:
    """One model to train and score; for `PERFORMER` and `ANSWER`, only to score."""

    scenario: str
    casting: int
    config: Config
    seed: int
    steps: int
    experiment: str
    footage: Footage

    @property
    def name(self) -> str:
        """Name with a digest of everything that the scores depend on."""
        config = "".join(c if c.isalnum() else "-" for c in self.config.name).strip("-")
        return f"{self.scenario}-{self.casting}-{config}-{self.seed}-{digest(asdict(self))}"

    @property
    def run(self) -> str:
        """Name of the model with a digest of its training; shared by conversions."""
        recipe = asdict(replace(self, config=Config("", self.config.overrides)))
        return f"{self.scenario}-{self.casting}-{self.seed}-{digest(recipe)}"

    @property
    def trains(self) -> bool:
        """Whether the cell needs a trained model."""
        return self.config.name not in (PERFORMER, ANSWER)


class Casting:
    """Clips, facesets and ground truth of one scenario with one pair of actors.

    Args:
        cell: Any of its cells.
        out: The benchmark's folder.
        judge: Estimator to measure expressions with.
        landmarker: MediaPipe's ``face_landmarker.task``; with ``aligner="mediapipe"``.
    """

    def __init__(
        self, cell: Cell, out: Path, judge: Estimator, landmarker: str | None = None
    ) -> None:
        footage, self.judge = cell.footage, judge
        self.make_aligner = None
        if footage.aligner == "mediapipe":
            self.make_aligner = partial(MediapipeAligner, landmarker)
        self.read: Reader = unit_estimator(judge)
        self.takes = build_casting(
            cell.scenario, sample_identity(2 * cell.casting + 1),
            sample_identity(2 * cell.casting + 2), cell.casting, footage.seconds,
            fps=footage.fps, clips=footage.clips, held_out=footage.held_out,
            held_out_seconds=footage.held_out_seconds,
        )  # fmt: skip
        place = out / "castings" / f"{cell.scenario}-{cell.casting}"
        folder = place / digest(asdict(footage))
        # The aligner changes no picture.
        films = place / digest(asdict(replace(footage, aligner="")))
        self.casting_clips = render_casting(self.takes, films / "footage", footage.size)
        self.facesets = extract_faces(
            self.casting_clips, folder / "facesets", footage.size // 2, self.make_aligner
        )
        self.answers = [actor_truth(each) for each in self.casting_clips["truth"]]
        self.performed = [actor_clip(each) for each in self.casting_clips["held_out"]]
        self.comparisons = [
            compare_with_truth(clip, answer, self.read)
            for clip, answer in zip(self.performed, self.answers, strict=True)
        ]
        self.calibration = Calibration.fit(
            np.concatenate([each.answer_readings for each in self.comparisons]),
            np.concatenate([answer.units for answer in self.answers]),
        )

    def score(self, cell: Cell, out: Path, make_aligner: Callable[[], Aligner] | None) -> Scores:
        """Train if needed, convert, compare; return a `ClipScore` as plain values by clip."""
        run = out / "runs" / cell.run
        affect = AffectOptions(**dict(cell.config.affect))
        if cell.trains:
            train_run(run, self.facesets, overrides_of(cell), cell.steps)
            check_unbiased(run, self.judge)
        scores = {}
        for i, answer in enumerate(self.answers):
            name = self.takes.held_out[i].name
            clip, masks = self.performed[i], None
            if cell.trains:
                target = out / "swaps" / cell.name / f"{name}.mp4"
                target.parent.mkdir(parents=True, exist_ok=True)
                clip, masks = convert_clip(
                    run, self.casting_clips["held_out"][i], target, affect, self.make_aligner
                )
            elif cell.config.name == ANSWER:
                clip = answer
            comparison = compare_with_truth(
                clip, answer, self.read, blend_masks=masks, make_aligner=make_aligner
            )
            scores[name] = score(comparison, answer, self.calibration, self.takes.unseen).to_dict()
        return scores


def overrides_of(cell: Cell) -> list[str]:
    """Return the training overrides of a cell."""
    return [f"experiment={cell.experiment}", f"seed={cell.seed}", *cell.config.overrides]


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    landmarker: str | None = None,
    measure: bool = False,
    report_only: bool = False,
) -> dict[Cell, Scores]:
    """Run unfinished cells; a cell that fails is logged and skipped.

    Args:
        cells: In order of execution, casting by casting.
        out: The benchmark's folder.
        landmarker: MediaPipe's ``face_landmarker.task``, or None.
        measure: Whether to measure landmarks with it.
        report_only: Run nothing, return finished cells.
    """
    judge = load_estimator("judge", "measuring")
    make_aligner = partial(MediapipeAligner, landmarker) if measure else None
    journal = Journal(out / "cells.jsonl")
    place, casting = None, None
    done = {}
    for number, cell in enumerate(cells, 1):
        instruments = [judge.fingerprint, make_aligner is not None]
        key = f"{cell.name}-{digest(instruments)}"
        if key not in journal.rows:
            if report_only:
                continue
            log.info("\n[%d/%d] %s", number, len(cells), cell.name)
            start = time.monotonic()
            try:
                if casting is None or place != (cell.scenario, cell.casting):
                    casting = Casting(cell, out, judge, landmarker)
                    place = cell.scenario, cell.casting
                scores = casting.score(cell, out, make_aligner)
            except SwapperError as error:
                log.error("%s: left out: %s", cell.name, error)
                continue
            journal.add(key, {
                "cell": asdict(cell), "scores": scores, "judge": judge.fingerprint,
                "seconds": round(time.monotonic() - start, 1), "software": __version__,
                "commit": commit(), "torch": torch.__version__,
            })  # fmt: skip
        done[cell] = journal.rows[key]["scores"]
    return done


def tables(done: Mapping[Cell, Scores]) -> list[str]:
    """Return the results as Markdown, scenario by scenario."""
    lines = []
    for scenario in dict.fromkeys(cell.scenario for cell in done):
        configs: dict[str, dict[tuple[int, str], Mapping[str, Any]]] = {}
        for cell, scores in done.items():
            if cell.scenario == scenario:
                clip_scores = configs.setdefault(cell.config.name, {})
                clip_scores |= {
                    (cell.seed, f"{cell.casting}/{name}"): s for name, s in scores.items()
                }
        bounds = (PERFORMER, ANSWER)
        lines += ["", f"## {scenario}", "", *score_tables.scenario_tables(configs, bounds)]
    return lines


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    """Return all requested cells, casting by casting."""
    configs = [Config.parse(text) for text in arguments.config or ["plain:"]]
    if len({config.name for config in configs}) < len(configs):
        raise UsageError("--config: two configs have one name; give each its own")
    footage = Footage(
        arguments.size, arguments.seconds, arguments.clips, arguments.fps,
        arguments.held_out, arguments.held_out_seconds, renderer_hash(), arguments.aligner,
    )  # fmt: skip

    def cell(scenario: str, casting: int, config: Config, seed: int) -> Cell:
        steps, experiment = arguments.steps, arguments.experiment
        if config.name in (PERFORMER, ANSWER):
            steps, experiment = 0, ""
        return Cell(scenario, casting, config, seed, steps, experiment, footage)

    runs = [(Config(name), 0) for name in (PERFORMER, ANSWER)]
    runs += [(config, seed) for seed in arguments.seeds for config in configs]
    return [
        cell(scenario, casting, *run)
        for scenario in arguments.scenario
        for casting in arguments.castings
        for run in runs
    ]


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = command.add_argument
    add("--scenario", nargs="+", choices=SCENARIOS, default=["rich", "limited"])
    add("--config", action="append", help="'name: key=value ...'; the first one is the base")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of training")
    add("--castings", nargs="+", type=int, default=[0, 1], help="pairs of actors and their scores")
    add("--steps", type=int, default=4000, help="of training")
    add("--experiment", default="cpu64", help="of swapper train, under every config")
    add("--size", type=int, default=256, help="of the footage in pixels")
    add("--seconds", type=float, default=40.0, help="of training footage of each actor")
    add("--clips", type=int, default=2, help="that it is cut into, each under its own light")
    add("--fps", type=float, default=25.0, help="frames a second, of all footage")
    add("--held-out", type=int, default=2, help="clips to convert, for each casting")
    add("--held-out-seconds", type=float, default=20.0, help="of each clip")
    add("--aligner", choices=("exact", "mediapipe"), default="exact", help="that cuts the faces")
    add("--landmarker", help="MediaPipe's face_landmarker.task")
    add("--measure-landmarks", action="store_true", help="of the swaps, with --landmarker")
    add("--out", type=Path, default=Path("out/bench_affect"))
    add("--table", action="store_true", help="only report finished cells")
    return command


def main() -> int:
    """Run, and print the table."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        cells = cells_of(arguments)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the training subprocess
        done = run_cells(
            cells, arguments.out, arguments.landmarker, arguments.measure_landmarks,
            report_only=arguments.table,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("bench_affect: interrupted; run it again to resume", file=sys.stderr)
        return 130
    except SwapperError as error:
        print(f"bench_affect: {error}", file=sys.stderr)
        return error.exit_code
    text = "\n".join(tables(done)).strip() + "\n"
    write_atomically(arguments.out / "table.md", text.encode())
    print(text)
    return 0 if arguments.table or len(done) == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main())
