"""Pipeline steps on synthetic actors, whose swaps have ground truth: extract, train, convert.

Used by the demo and the benchmarks. Each step skips finished work, so that an interrupted run can
be continued. Training runs as a subprocess, since only the command line composes configs; the other
steps are called directly.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.convert import convert
from swapper.errors import ModelError, TrainingError
from swapper.estimators.base import Estimator, load_estimator
from swapper.evaluation.ground_truth import Reader
from swapper.extract import extract
from swapper.faces.aligner import Aligner
from swapper.faces.openface import OpenfaceAligner
from swapper.head_renderer.units import UNITS
from swapper.media.clip_writer import read_masks
from swapper.metrics.clip_truth import Clip, GroundTruth
from swapper.models.model_file import load_model
from swapper.options.groups import AffectOptions
from swapper.options.verbs import ConvertOptions, ExtractOptions
from swapper.synth.emotions import EMOTIONS
from swapper.synth.truth import read_landmarks, read_truth
from swapper.synthesize import ClipFiles

log = logging.getLogger(__name__)

CastingClips = Mapping[str, Sequence[ClipFiles]]
"""Clips of a casting by role, as returned by `synthesize.render_casting`."""

RIGHTS: Final = "drawn by swapper; this is nobody's face"
PERFORMER, IDENTITY = "performer", "identity"
UNIT_NAMES: Final = tuple(f"AU{unit}" for unit in UNITS)


class ExactAligner(OpenfaceAligner):
    """Reads each clip's landmarks from the table that was rendered with it.

    Args:
        tables: CSV files by resolved path of the clip.
    """

    def __init__(self, tables: Mapping[Path, Path]) -> None:
        super().__init__(str(next(iter(tables.values()))))
        self._tables = tables

    def set_clip(self, clip: Path) -> None:
        """Select the clip's table.

        Raises:
            KeyError: No table was rendered with it.
        """
        super().set_clip(clip)
        self.csv = self._tables[clip.resolve()]


def extract_faces(
    casting_clips: CastingClips,
    folder: Path,
    size: int,
    make_aligner: Callable[[], Aligner] | None = None,
) -> list[Path]:
    """Extract the faces of both actors and estimate their affect.

    Args:
        casting_clips: Their footage.
        folder: Folder for the facesets.
        size: Side of an aligned crop in pixels.
        make_aligner: Creates the aligner; None takes the exact landmarks.

    Returns:
        The performer's faceset and the identity's.
    """
    estimator = load_estimator("actors", "training")
    for name in (PERFORMER, IDENTITY):
        for take in casting_clips[name]:
            options = ExtractOptions(
                input=str(take.video), identity=name, rights=RIGHTS, facesets=str(folder), size=size
            )
            exact = partial(OpenfaceAligner, str(take.landmarks))
            extract(options, make_aligner or exact, lambda: estimator)
    return [folder / PERFORMER, folder / IDENTITY]


def train_run(run: Path, facesets: Sequence[Path], overrides: Sequence[str], steps: int) -> None:
    """Train in a subprocess up to a step, resuming the run; one that has reached it is left as is.

    Raises:
        TrainingError: Training failed; its output is on stderr.
    """
    if trained_steps(run) >= steps:
        return
    command = [
        *(sys.executable, "-m", "swapper", "train", f"name={run.name}", f"runs={run.parent}"),
        f"facesets=[{','.join(str(each) for each in facesets)}]",
        *overrides,
        f"trainer.max_steps={steps}",
    ]
    log.info("$ %s", " ".join(["swapper", *command[3:]]))
    # Spin-waiting threads starve the data loader where cores are few.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    if status or trained_steps(run) < steps:
        raise TrainingError(
            f"{run}: training to step {steps} ended with exit status {status} at step "
            f"{trained_steps(run)}; run the same command again to go on from there"
        )


def trained_steps(run: Path) -> int:
    """Return the step of a run's model; 0 if there is none."""
    card = run / "model.json"
    if not card.exists():
        return 0
    try:
        return int(json.loads(card.read_text(encoding="utf-8"))["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{card}: is damaged; remove {run} and train again") from error


def convert_clip(
    model: Path,
    performer: ClipFiles,
    output: Path,
    affect: AffectOptions | None = None,
    make_aligner: Callable[[], Aligner] | None = None,
) -> tuple[Clip, list[NDArray[np.float32]]]:
    """Convert a performer's clip to the identity, replacing an older conversion.

    Args:
        model: Run folder.
        performer: The clip.
        output: Video to write.
        affect: Affect options; defaults if None.
        make_aligner: Creates the aligner; None takes the exact landmarks.

    Returns:
        The converted clip, and a blend mask (H, W) in [0, 1] for each frame.
    """
    masks: list[NDArray[np.float32]] = []
    options = ConvertOptions(
        model=str(model), video=str(performer.video), identity=IDENTITY, output=str(output),
        overwrite=True, performer_rights=RIGHTS, affect=affect or AffectOptions(),
    )  # fmt: skip
    exact = partial(OpenfaceAligner, str(performer.landmarks))
    convert(options, make_aligner or exact, lambda _, __, mask: masks.append(mask))
    return Clip(output, actor_clip(performer).landmarks), masks


def check_unbiased(model: Path, estimator: Estimator) -> None:
    """Check that a run's model was not trained or selected with an estimator.

    Raises:
        ModelError: The estimator is in the model's lineage, or the model cannot be read.
    """
    lineage = load_model(model).card.lineage
    if estimator.lineage in lineage:
        raise ModelError(
            f"{model}: was trained with {estimator.name}, whose measurements would be biased; "
            "evaluate it with another estimator"
        )


def actor_clip(files: ClipFiles) -> Clip:
    """Return an actor's clip with its exact landmarks."""
    return Clip(files.video, read_landmarks(files.landmarks).astype(np.float32))


def actor_truth(files: ClipFiles) -> GroundTruth:
    """Return an actor's clip as the ground truth of a swap."""
    truth = read_truth(files.truth)
    return GroundTruth(
        video=files.video,
        landmarks=actor_clip(files).landmarks,
        masks=list(read_masks(files.masks)),
        units=truth.observed.mean(axis=1),
        emotions=truth.emotion,
        unit_names=UNIT_NAMES,
        emotion_names=EMOTIONS,
    )


def unit_estimator(estimator: Estimator) -> Reader:
    """Return a function from crops to the action units of actors.

    Raises:
        ValueError: The estimator lacks some of the units.
    """
    if set(UNITS) - set(estimator.units):
        raise ValueError(f"{estimator.name} does not estimate the units of actors")
    columns = [estimator.units.index(unit) for unit in UNITS]

    def read(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        units = estimator.read(crops).units
        assert units is not None
        return units.numpy()[:, columns]

    return read
