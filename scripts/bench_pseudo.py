r"""Benchmark of pseudo-targets against ground truth, by region and by warp.

    python scripts/bench_pseudo.py --scenario rich limited rare --castings 0 1 --out out/affect

A performer's held-out clip is also rendered with the identity: the ground truth of each frame's
pseudo-target. Footage is that of `bench_affect.py` with the same arguments, and rendered if
missing. Errors are mean absolute differences of aligned crops in grey levels after fitting the tone
(light and camera of the identity's footage differ from the ground truth, so they do not reach 0).
References for each pseudo-target: its unwarped base; the identity's neutral; and the performer's
face. One line of JSON per frame is written to ``OUT/pseudo.jsonl``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import bench_affect
import numpy as np
from pseudo_pair import PseudoPair

from swapper.errors import SwapperError
from swapper.estimators.base import load_estimator
from swapper.evaluation.ground_truth import area_errors, area_weights
from swapper.extract import extract
from swapper.faces.geometry import transform_points
from swapper.faces.openface import OpenfaceAligner
from swapper.facesets.faceset import Faceset
from swapper.files import write_atomically
from swapper.metrics.truth_scores import AREAS
from swapper.options.verbs import ExtractOptions

log = logging.getLogger("bench")
SIDE = 128
MOVES = (0.0, 0.05, 0.1, 0.15, 0.25, 9.0)
"""Bin edges of the largest landmark displacement, in eye distances."""


def frames(casting: bench_affect.Casting, folder: Path, every: int) -> list[dict[str, Any]]:
    """Return errors of every ``every``-th held-out frame's pseudo-target and references."""
    identity = Faceset.open(casting.facesets[1])
    rows = []
    for number, (performed, answer) in enumerate(
        zip(casting.casting_clips["held_out"], casting.casting_clips["truth"], strict=True)
    ):
        sets = []
        for name, clip in (("performer", performed), ("answer", answer)):
            where = folder / f"{name}_{number}"
            if not where.exists():
                options = ExtractOptions(
                    input=str(clip.video), identity=where.name, rights="drawn", size=SIDE,
                    facesets=str(folder),
                )  # fmt: skip
                extract(options, lambda clip=clip: OpenfaceAligner(str(clip.landmarks)))
            sets.append(Faceset.open(where))
        rows += _compare(*sets, identity, every)
    return rows


def _compare(
    performer: Faceset, answer: Faceset, identity: Faceset, every: int
) -> list[dict[str, Any]]:
    pair = PseudoPair(performer, identity, mesh=False)
    chosen = np.flatnonzero(pair.table["base"] >= 0)[::every]
    pseudo_targets = pair.draw(chosen, SIDE)[:, :3].transpose(0, 2, 3, 1)
    neutral_picture = pair.caches[1].array[int(pair.neutrals[1].weights.argmax()), ..., :3]
    truths = {each.frame_index: each for each in answer.records}
    rows = []
    for face, picture in zip(chosen, pseudo_targets, strict=True):
        truth = truths.get(performer.records[face].frame_index)
        if truth is None:
            continue
        exact = answer.image(truth)
        points = transform_points(truth.aligned_from_frame, truth.landmarks)
        pictures = {
            "pseudo": (picture * 255).round().astype(np.uint8),
            "base": pair.caches[1].array[pair.table["base"][face], ..., :3],
            "rest": neutral_picture,
            "performer": pair.caches[0].array[face, ..., :3],
        }
        weights = area_weights(points, SIDE)
        row: dict[str, Any] = {
            name: list(area_errors(each, exact, weights).values())
            for name, each in pictures.items()
        }
        confidence, move = (float(pair.table[each][face]) for each in ("confidence", "move"))
        rows.append({"confidence": confidence, "move": move, **row})
    return rows


def table(done: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return means by scenario and displacement as Markdown."""
    lines = [
        f"| scenario | farthest move | frames | confidence | pseudo-target: {', '.join(AREAS)} "
        "| base | at rest | performer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in done.items():
        bins = [*pairwise(MOVES), (MOVES[0], MOVES[-1])]
        for low, high in bins:
            in_bin = [each for each in rows if low <= each["move"] < high]
            if not in_bin:
                continue
            means = [
                ", ".join(f"{v:.1f}" for v in np.mean([each[kind] for each in in_bin], axis=0))
                for kind in ("pseudo", "base", "rest", "performer")
            ]
            confidence = np.mean([each["confidence"] for each in in_bin])
            span = "all" if (low, high) == (MOVES[0], MOVES[-1]) else f"{low:g} to {high:g}"
            head = f"| {name} | {span} | {len(in_bin)} | {confidence:.2f} | "
            lines.append(head + " | ".join(means) + " |")
    return lines


def main() -> int:
    """Measure, and print the table."""
    parser = bench_affect.parser()
    parser.description = __doc__
    parser.add_argument("--every", type=int, default=2, help="frame step")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done: dict[str, list[dict[str, Any]]] = {}
    try:
        judge = load_estimator("judge", "measuring")
        done_castings = set()
        for cell in bench_affect.cells_of(arguments):
            place = cell.scenario, cell.casting
            if place in done_castings:
                continue
            done_castings.add(place)
            casting = bench_affect.Casting(cell, arguments.out, judge)
            folder = arguments.out / "pseudo" / casting.facesets[0].parents[1].name
            for row in frames(casting, folder, arguments.every):
                row_with_cell = {"scenario": cell.scenario, "casting": cell.casting, **row}
                done.setdefault(cell.scenario, []).append(row_with_cell)
    except SwapperError as error:
        print(f"bench_pseudo: {error}", file=sys.stderr)
        return error.exit_code
    text = "".join(json.dumps(row) + "\n" for rows in done.values() for row in rows)
    write_atomically(arguments.out / "pseudo.jsonl", text.encode())
    print("\n".join(table(done)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
