r"""Ceiling of swaps on real clips: what a network would score that draws its targets perfectly.

    python scripts/bench_ceiling.py --pairs c:d a:b b:a a:d --sizes 64 128 --out out/bench_real

Composites pictures into the performer's clip in place of a network's output, and scores them like
`bench_real.py`, whose facesets and readings are shared through ``--out``:

- ``pseudo``: the frame's pseudo-target. It bounds what training with pseudo-targets can reach; the
  difference to a trained model is the network's.
- ``self``: the performer's own face at that size. It bounds what resolution and compositing allow.
- ``aligner``: nothing is composited; the aligner's landmarks of the performer's clip stand for the
  judge's. Targets made from the aligner's landmarks are bounded by how far the two agree.

A face without a pseudo-target keeps the one before. The table is printed and written to
``OUT/ceiling.md``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bench_real
import cv2
import numpy as np
from bench_cells import Config
from numpy.typing import NDArray
from pseudo_pair import PseudoPair
from real_judges import Judges
from real_runs import Cell, Workshop, clip_named, pair_of
from real_scores import score_swap
from real_table import report

from swapper.errors import SwapperError
from swapper.faces.geometry import resized, warp
from swapper.facesets.faceset import Faceset
from swapper.files import write_atomically
from swapper.inference.paste import paste
from swapper.media.clip_writer import ClipWriter
from swapper.media.video_reader import VideoReader
from swapper.options.groups import BlendOptions
from swapper.types import NUM_LANDMARKS, Face

log = logging.getLogger("bench")

Drawn = tuple[NDArray[np.float32], NDArray[np.float32]] | None
"""Picture (S, S, 3) and mask (S, S) in [0, 1]; None for no pseudo-target."""


def pseudo(pair: PseudoPair, row: int, size: int) -> Drawn:
    """Draw the pseudo-target of a performer's face."""
    if pair.table["base"][row] < 0:
        return None
    drawn = pair.draw(np.array([row]), size)[0]
    return np.ascontiguousarray(drawn[:3].transpose(1, 2, 0)), drawn[3]


def own(pair: PseudoPair, row: int, size: int) -> Drawn:
    """Draw the performer's own face."""
    stored = pair.caches[0].array[row]
    small = cv2.resize(stored, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)
    return np.ascontiguousarray(small[..., :3]), small[..., 3]


def landmarks_of(faces: Faceset, count: int) -> NDArray[np.float64]:
    """Return the aligner's landmarks (T, 68, 2) of a clip, NaN where it found no face."""
    landmarks = np.full((count, NUM_LANDMARKS, 2), np.nan)
    for record in faces.records:
        landmarks[record.frame_index] = record.landmarks
    return landmarks


def composite_clip(
    video: Path, faces: Faceset, draw: Callable[[int, int], Drawn], size: int, output: Path
) -> None:
    """Write the clip with the drawn pictures in place of swaps."""
    row_of = {record.frame_index: row for row, record in enumerate(faces.records)}
    last: Drawn = None
    with VideoReader(video) as reader:
        frame_size = reader.info.width, reader.info.height
        with ClipWriter(output, frame_size, float(reader.info.rate), crf=10) as writer:
            for frame in reader:
                picture, row = frame.image, row_of.get(frame.index)
                last = (None if row is None else draw(row, size)) or last
                if row is not None and last is not None:
                    record = faces.records[row]
                    matrix = resized(record.aligned_from_frame, faces.card.size, size)
                    aligned = warp(picture, matrix, size)
                    face = Face(landmarks=record.landmarks)
                    picture, *_ = paste(picture, face, matrix, aligned, *last, BlendOptions())
                writer.write(picture)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    command = bench_real.parser()
    command.description = __doc__
    command.add_argument("--sizes", nargs="+", type=int, default=[64], help="sides in pixels")
    command.set_defaults(aligner="mediapipe")
    return command


def main() -> int:
    """Run, and print the table."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores: dict[str, dict[str, dict[tuple[str, int], Any]]] = {}
    try:
        model = arguments.model or arguments.weights / "face_landmarker.task"
        workshop = Workshop(arguments.out, model, arguments.rights)
        judges = Judges(arguments.weights, arguments.every)
        neutral = judges.emotions.labels.index("neutral")
        for text in arguments.pairs:
            clips = [clip_named(n, arguments.clips, arguments.aligner) for n in pair_of(text)]
            cell = Cell(*clips, Config(""), 0, 0, "", arguments.aligner, arguments.size)
            facesets = [Faceset.open(workshop.faceset(clip, cell)) for clip in clips]
            pair = PseudoPair(*facesets, mesh=arguments.aligner == "mediapipe")
            performer, identity = (workshop.reading(clip, judges) for clip in clips)
            tracked = replace(performer, landmarks=landmarks_of(facesets[0], len(performer.rough)))
            scores[cell.pair] = {
                "aligner": {(cell.pair, 0): score_swap(tracked, performer, identity, neutral)}
            }
            for size in arguments.sizes:
                for name, draw in (("pseudo", pseudo), ("self", own)):
                    output = arguments.out / "ceiling" / f"{cell.pair}-{name}-{size}.mp4"
                    output.parent.mkdir(parents=True, exist_ok=True)
                    composite_clip(clips[0].video, facesets[0], partial(draw, pair), size, output)
                    swap = judges.read(output, performer.rough, performer.landmarks)
                    row = score_swap(swap, performer, identity, neutral)
                    scores[cell.pair][f"{name}, {size} px"] = {(cell.pair, 0): row}
    except SwapperError as error:
        print(f"bench_ceiling: {error}", file=sys.stderr)
        return error.exit_code
    text = "\n".join(report(scores)) + "\n"
    write_atomically(arguments.out / "ceiling.md", text.encode())
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
