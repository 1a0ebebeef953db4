r"""The README's picture: performer, plain training, swapper, truth, of actors of bench_affect.py.

    python scripts/draw_actors_strip.py --out out/bench_affect --scenario limited \
        --config plain pseudo --output docs/limited.jpg

Uses the swaps and footage of the benchmark in ``OUT``. Frames are those at which the ground truth
deviates most from the identity at rest, at least 0.8 s apart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from bench_cells import Journal
from numpy.typing import NDArray

from swapper.errors import SwapperError, UsageError
from swapper.faces.crop import crop_face
from swapper.faces.shape import Shapes, aligned_landmarks, signals
from swapper.media.image_strip import draw_strip
from swapper.media.images import write_image
from swapper.media.video_reader import VideoReader
from swapper.synth.truth import read_landmarks

TILE = 160
LEAST_GAP_S = 0.8


def peak_frames(landmarks: NDArray[np.float64], fps: float, count: int) -> list[int]:
    """Return frames at which a face (T, 68, 2) deviates most from its median signals."""
    face_signals = signals(Shapes.of(aligned_landmarks(landmarks)).landmarks)
    deviations = np.linalg.norm(face_signals - np.median(face_signals, axis=0), axis=1)
    chosen: list[int] = []
    gap = round(LEAST_GAP_S * fps)
    while len(chosen) < count and (deviations > 0).any():
        place = int(deviations.argmax())
        chosen.append(place)
        deviations[max(0, place - gap) : place + gap + 1] = 0
    return sorted(chosen)


def faces(
    video: Path, landmarks: NDArray[np.float64], frames: list[int]
) -> list[NDArray[np.uint8]]:
    """Return aligned crops of `frames`, each by its own landmarks."""
    crops = []
    with VideoReader(video) as reader:
        for frame in reader:
            if frame.index in frames:
                points = landmarks[frame.index].astype(np.float32)
                crops.append(crop_face(frame.image, points, TILE)[0])
    return crops


def swap_of(out: Path, scenario: str, casting: int, config: str, clip: str) -> Path:
    """Return the converted clip of the newest finished cell.

    Raises:
        UsageError: There is none.
    """
    for row in reversed(list(Journal(out / "cells.jsonl").rows.values())):
        cell = row["cell"]
        cell_key = (cell["scenario"], cell["casting"], cell["config"]["name"], cell["seed"])
        if cell_key == (scenario, casting, config, 0):
            for folder in (out / "swaps").glob(f"{scenario}-{casting}-*-0-*"):
                if row["key"].startswith(folder.name) and (folder / f"{clip}.mp4").exists():
                    return folder / f"{clip}.mp4"
    raise UsageError(f"{out}: no finished cell {config} of {scenario} {casting}, seed 0")


def main() -> int:
    """Draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenario", default="limited")
    parser.add_argument("--casting", type=int, default=0)
    parser.add_argument("--clip", default="held_out_1")
    parser.add_argument("--config", nargs="+", default=["plain", "pseudo"])
    parser.add_argument("--moments", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("docs/limited.jpg"))
    options = parser.parse_args()
    try:
        pattern = f"{options.scenario}-{options.casting}-*/footage"
        footage = next(iter(sorted((options.out / "castings").glob(pattern))), None)
        if footage is None:
            raise UsageError(f"{options.out}: no footage of {options.scenario} {options.casting}")
        clips = {
            "performer": footage / "held_out" / f"{options.clip}.mp4",
            **{
                name: swap_of(options.out, options.scenario, options.casting, name, options.clip)
                for name in options.config
            },
            "truth": footage / "truth" / f"{options.clip}.mp4",
        }
        tables = {
            name: read_landmarks(
                footage
                / ("truth" if name == "truth" else "held_out")
                / f"{options.clip}.openface.csv"
            ).astype(np.float64)
            for name in clips
        }
        with VideoReader(clips["truth"]) as reader:
            fps = float(reader.info.rate)
        chosen = peak_frames(tables["truth"], fps, options.moments)
        rows = [(name, faces(video, tables[name], chosen)) for name, video in clips.items()]
        write_image(options.output, draw_strip(rows, [f"{n / fps:.1f} s" for n in chosen], TILE))
    except SwapperError as error:
        print(f"draw_actors_strip: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
