r"""Plot an estimator's class probabilities over time on a performer and on swaps of the clip.

    pip install 'swapper[plots]'
    python scripts/plot_traces.py traces.svg --affect xception --weights mini_XCEPTION.hdf5 \
        --performer clip.mp4 --landmarks clip.csv --swap plain=plain.mp4 --swap full=full.mp4

One row per class that varies on the performer. The performer's OpenFace CSV locates faces in the
swaps as well. An estimator that was used in training is biased in favour of the swap.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from swapper.errors import SwapperError, UsageError
from swapper.estimators.base import Estimator, load_estimator
from swapper.faces.crop import crop_face
from swapper.faces.openface import OpenfaceAligner
from swapper.media.video_reader import VideoReader

SIDE = 160
_MOVES = 0.05
"""Least standard deviation of a probability to plot its class."""
_BATCH = 64

Shares = dict[int, NDArray[np.float32]]


def read_clip(video: Path, landmarks: Path, estimator: Estimator) -> Shares:
    """Return probabilities (C,) of each frame of a clip with a face.

    Raises:
        SwapperError: A file cannot be read.
    """
    aligner = OpenfaceAligner(str(landmarks))
    aligner.prepare()
    crops: list[NDArray[np.uint8]] = []
    frames: list[int] = []
    for frame in VideoReader(video):
        for face in aligner(frame)[:1]:
            crops.append(crop_face(frame.image, face.landmarks, SIDE)[0])
            frames.append(frame.index)
    if not crops:
        raise UsageError(f"{video}: no frame has a face in {landmarks}")
    shares = estimator.readings(np.stack(crops), "face", _BATCH).probabilities
    if shares is None:
        raise UsageError(f"affect={estimator.name}: has no classes to plot")
    return dict(zip(frames, shares, strict=True))


def draw(clips: Mapping[str, Shares], labels: Sequence[str], title: str) -> Figure:
    """Plot the performer, who comes first, in black, and the swaps with their correlations.

    Raises:
        UsageError: The clips have too few frames in common.
    """
    frames = sorted(set.intersection(*(set(each) for each in clips.values())))
    if len(frames) < 2:
        raise UsageError("the clips have no frames in common; give swaps of the performer's clip")
    series = {name: np.stack([each[i] for i in frames]) for name, each in clips.items()}
    truth = next(iter(series.values()))
    moving = [index for index in range(len(labels)) if truth[:, index].std() > _MOVES]
    figure = Figure(figsize=(9, 1.5 * len(moving) + 1), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for row, index in enumerate(moving):
        axes = figure.add_subplot(len(moving), 1, row + 1)
        for place, (name, values) in enumerate(series.items()):
            one = values[:, index]
            label = name if not place else f"{name} r = {_correlation(truth[:, index], one):.2f}"
            axes.plot(frames, one, color="black" if not place else f"C{place}", lw=1, label=label)
        axes.set(ylim=(0, 1), ylabel=labels[index])
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 0.94),
            fontsize=7,
            frameon=False,
            ncols=len(series),
        )
    if figure.axes:
        figure.axes[-1].set_xlabel("frame")
    return figure


def _correlation(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    if min(ours.std(), theirs.std()) < 1e-6:
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])


def main() -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("figure", type=Path, help=".svg, .png or .pdf to write")
    add("--affect", default="xception", help="estimator")
    add("--weights", help="of the estimator, where it takes them")
    add("--performer", type=Path, required=True, help="clip")
    add("--landmarks", type=Path, required=True, help="OpenFace's CSV of that clip")
    add("--swap", action="append", required=True, help="NAME=CLIP, may be repeated")
    arguments = parser.parse_args()
    try:
        settings = {"weights": arguments.weights} if arguments.weights else {}
        estimator = load_estimator(arguments.affect, "measuring", **settings)
        clips = {"performer": arguments.performer}
        for swap in arguments.swap:
            name, equals, path = swap.partition("=")
            if not equals:
                raise UsageError(f"--swap {swap}: write NAME=CLIP")
            clips[name] = Path(path)
        read = {n: read_clip(path, arguments.landmarks, estimator) for n, path in clips.items()}
        title = f"{arguments.performer.stem}, read by {estimator.name}"
        figure = draw(read, estimator.labels, title)
        with mpl.rc_context({"svg.hashsalt": "swapper", "svg.fonttype": "none"}):
            metadata = {"Date": None} if arguments.figure.suffix == ".svg" else None
            figure.savefig(arguments.figure, metadata=metadata)
    except (SwapperError, OSError, TypeError) as error:
        print(f"plot_traces: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
