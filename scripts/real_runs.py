"""Pipeline on real clips: extract, train, convert, estimate. Finished steps are skipped."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench_cells import Config, digest
from real_judges import Judges, Reading, locate_face
from real_scores import Scores, score_swap

from swapper.demo.pipeline import train_run
from swapper.errors import MediaError, UsageError
from swapper.faces.aligner import Aligner
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.openface import OpenfaceAligner
from swapper.files import sha256_of, write_atomically
from swapper.models.model_file import load_model

log = logging.getLogger("bench")


@dataclass(frozen=True)
class Clip:
    """A clip of one person.

    Attributes:
        name: Name of the person in pairs and models.
        video: The file.
        csv: Landmarks in OpenFace's columns; None where the aligner finds them itself.
        content: Digest of the files.
    """

    name: str
    video: Path
    csv: Path | None
    content: str

    def recipe(self) -> list[str]:
        """Return what products of the clip depend on; not its path."""
        return [self.name, self.content]


def clip_named(name: str, folder: Path, aligner: str) -> Clip:
    """Return the clip of a name, ``clip_NAME.mp4`` or ``NAME.mp4``.

    Raises:
        UsageError: There is none, or it lacks the landmarks that the aligner reads.
    """
    tried = [folder / f"clip_{name}.mp4", folder / f"{name}.mp4"]
    video = next((path for path in tried if path.is_file()), None)
    if video is None:
        raise UsageError(f"{tried[0]}: no such clip; pass --clips DIR and --pairs of clips in it")
    csv = video.with_suffix(".openface.csv") if aligner == "openface" else None
    if csv is not None and not csv.is_file():
        raise UsageError(f"{csv}: no such file; write it, or pass --aligner mediapipe")
    return Clip(name, video, csv, digest([sha256_of(path) for path in (video, csv) if path]))


def pair_of(text: str) -> tuple[str, str]:
    """Parse ``performer:identity``.

    Raises:
        UsageError: It is not a pair of two different clips.
    """
    performer, colon, identity = text.partition(":")
    valid = all(name.replace("_", "").replace("-", "").isalnum() for name in (performer, identity))
    if not colon or not valid or performer == identity:
        raise UsageError(f"--pairs {text!r}: write performer:identity, two clips by their names")
    return performer, identity


@dataclass(frozen=True)
class Cell:
    """A model to train and a direction to evaluate."""

    performer: Clip
    identity: Clip
    config: Config
    seed: int
    steps: int
    experiment: str
    aligner: str
    size: int

    @property
    def pair(self) -> str:
        """``performer:identity``."""
        return f"{self.performer.name}:{self.identity.name}"

    @property
    def clips(self) -> list[Clip]:
        """Both clips, in an order independent of the direction."""
        return sorted((self.performer, self.identity), key=lambda clip: clip.name)

    @property
    def name(self) -> str:
        """Name with a digest of everything that the swap depends on."""
        config = "".join(c if c.isalnum() else "-" for c in self.config.name).strip("-")
        recipe = [self.run, self.pair, self.config.name, self.config.affect]
        return f"{self.performer.name}-{self.identity.name}-{config}-{self.seed}-{digest(recipe)}"

    @property
    def run(self) -> str:
        """Name of the model with a digest of its training; shared by both directions."""
        recipe = [
            [clip.recipe() for clip in self.clips], self.config.overrides, self.seed, self.steps,
            self.experiment, self.aligner, self.size,
        ]  # fmt: skip
        return f"{'-'.join(clip.name for clip in self.clips)}-{self.seed}-{digest(recipe)}"


class Workshop:
    """Runs the steps of cells in one folder.

    Args:
        out: The benchmark's folder.
        model: ``face_landmarker.task``, for the aligner mediapipe.
        rights: Right by which the clips are used.
    """

    def __init__(self, out: Path, model: Path, rights: str) -> None:
        self.out = out
        self.model = model
        self.rights = rights
        self._readings: dict[Path, Reading] = {}

    def score(self, cell: Cell, judges: Judges) -> Scores:
        """Run missing steps (extract, train, convert, estimate), then score.

        Raises:
            SwapperError: A step failed.
        """
        facesets = [self.faceset(clip, cell) for clip in cell.clips]
        run = self.out / "runs" / cell.run
        overrides = [f"experiment={cell.experiment}", f"seed={cell.seed}", *cell.config.overrides]
        affect = [each for each in overrides if each.startswith(("affect=", "affect."))]
        if affect:  # faces that were read before are skipped
            paths = ",".join(map(str, facesets))
            _swapper("annotate", facesets[0], f"facesets=[{paths}]", *affect)
        train_run(run, facesets, overrides, cell.steps)
        performer, identity = (
            self.reading(clip, judges) for clip in (cell.performer, cell.identity)
        )
        swap = self._swap_reading(cell, run, performer, judges)
        neutral: int | None = judges.emotions.labels.index("neutral")
        if judges.emotions.lineage in load_model(run).card.lineage:
            log.warning("%s: was trained with xception, whose emotions are therefore omitted", run)
            neutral = None
        return score_swap(swap, performer, identity, neutral)

    def faceset(self, clip: Clip, cell: Cell) -> Path:
        """Return the clip's faceset by the cell's aligner."""
        folder = self.out / "facesets" / digest([clip.recipe(), cell.aligner, cell.size])
        mark = folder / "complete"
        if not mark.exists():
            _swapper(
                "extract", folder, f"input={clip.video}", f"identity={clip.name}",
                f"rights={self.rights}", f"facesets={folder}", f"size={cell.size}",
                "affect=none", *self._aligned(clip),
            )  # fmt: skip
            write_atomically(mark, b"")
        return folder / clip.name

    def swap_of(self, cell: Cell) -> Path:
        """Return the path of a cell's converted clip."""
        return self.out / "swaps" / f"{cell.name}.mp4"

    def reading(self, clip: Clip, judges: Judges) -> Reading:
        """Return the reading of an original clip."""
        aligner = "openface" if clip.csv else "mediapipe"
        recipe = [clip.recipe(), aligner, judges.fingerprint]
        path = self.out / "readings" / f"{clip.name}-{digest(recipe)}.npz"
        if path not in self._readings:
            if not path.exists():
                log.info("read %s", clip.video)
                rough = locate_face(clip.video, self._aligner(clip))
                judges.read(clip.video, rough).save(path)
            self._readings[path] = Reading.load(path)
        return self._readings[path]

    def _swap_reading(self, cell: Cell, run: Path, performer: Reading, judges: Judges) -> Reading:
        """Convert the performer's clip if needed, and return its reading."""
        video = self.swap_of(cell)
        path = self.out / "readings" / f"{cell.name}-{digest(judges.fingerprint)}.npz"
        if not video.exists():
            video.parent.mkdir(parents=True, exist_ok=True)
            _swapper(
                "convert", video, f"model={run}", f"video={cell.performer.video}",
                f"identity={cell.identity.name}", f"output={video}", "overwrite=true",
                "provenance=none", *self._aligned(cell.performer),
                *(f"affect.{key}={value}" for key, value in cell.config.affect),
            )  # fmt: skip
            path.unlink(missing_ok=True)  # reading of a deleted swap
        if not path.exists():
            log.info("read %s", video)
            judges.read(video, performer.rough, performer.landmarks).save(path)
        return Reading.load(path)

    def _aligner(self, clip: Clip) -> Aligner:
        return OpenfaceAligner(str(clip.csv)) if clip.csv else MediapipeAligner(str(self.model))

    def _aligned(self, clip: Clip) -> list[str]:
        """Return the overrides of the clip's aligner."""
        if clip.csv:
            return ["aligner=openface", f"aligner.csv={clip.csv}"]
        return ["aligner=mediapipe", f"aligner.model={self.model}"]


def _swapper(verb: str, product: Path, *overrides: str) -> None:
    """Run a verb in a subprocess.

    Args:
        verb: Verb of the command line.
        product: Its output, for the message.
        overrides: Its overrides.

    Raises:
        MediaError: It failed; its output is on stderr.
    """
    command = [sys.executable, "-m", "swapper", verb, *overrides]
    log.info("$ %s", " ".join(["swapper", *command[3:]]))
    # Spin-waiting threads starve other processes where cores are few.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    if status := subprocess.run(command, env=environment, check=False).returncode:
        raise MediaError(
            f"{product}: swapper {verb} ended with exit status {status}; fix the error above and "
            "run again"
        )
