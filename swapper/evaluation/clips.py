"""Read every clip of an evaluation with the same instruments."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swapper.errors import MediaError, UsageError
from swapper.estimators.base import Estimator
from swapper.evaluation.clip_readings import ClipReadings, read_clip
from swapper.evaluation.scorecard import PairReadings, share_landmarks
from swapper.faces.aligner import Aligner, opened
from swapper.faces.recognition import Recogniser
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from swapper.options.verbs import EvaluateOptions
from swapper.provenance.manifest import verify

CEILING_CRF: Final = 23
"""A typical encoding, as by a video site, of the performer's own clip."""
_REENCODED: Final = "re-encoded"

ReadingsCache = MutableMapping[tuple[str, Path], ClipReadings]
"""Readings of performers, by title and file; valid for one set of instruments."""


@dataclass(frozen=True, eq=False)
class Instruments:
    """Instruments that read a clip.

    Attributes:
        make_aligner: Called once per clip.
        estimator: Of emotions and, if supported, action units; on its device, or None.
        recogniser: Prepared, or None.
        cache: Readings of performers, updated in place; None to cache nothing.
    """

    make_aligner: Callable[[], Aligner]
    estimator: Estimator | None = None
    recogniser: Recogniser | None = None
    cache: ReadingsCache | None = None

    def read(self, path: Path, title: str, of: Path | None = None) -> ClipReadings:
        """Read a clip.

        Args:
            path: The clip.
            title: Title of the progress bar.
            of: The clip that it is a copy of, for an aligner that looks clips up by name.

        Raises:
            SwapperError: It cannot be read, or has no face.
        """
        num_frames = VideoReader(path).info.num_frames
        with opened(self.make_aligner(), of or path, num_frames) as aligner:
            return read_clip(path, aligner, self.estimator, self.recogniser, title)

    def cached(self, path: Path, title: str, compute: Callable[[], ClipReadings]) -> ClipReadings:
        """Return the cached readings of a clip, or compute and cache them."""
        key = title, path.resolve()
        if self.cache is None:
            return compute()
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]


def read_clips(options: EvaluateOptions, instruments: Instruments) -> PairReadings:
    """Read performer and swap, the ceiling (ground truth or re-encoded performer) and self-swap.

    Raises:
        SwapperError: In one line.
    """
    _check_self_swap(options)
    path = Path(options.performer)
    performer = instruments.cached(path, "performer", lambda: instruments.read(path, "performer"))

    def read_matching(clip: str, title: str) -> ClipReadings:
        readings = instruments.read(Path(clip), title)
        _check_length(readings, performer)
        return readings

    swap = read_matching(options.swap, "swap")
    if swap.blendshapes is None and swap.units is None and share_landmarks(swap, performer):
        raise UsageError(
            f"{options.swap}: has the performer's landmarks, so its expression cannot be measured; "
            "pass aligner.csv=FOLDER with a CSV for each clip, or another aligner="
        )
    # Identity is not measured on the other clips, and dlib would take 0.1 s a face.
    instruments = replace(instruments, recogniser=None)
    ceiling = None
    if options.truth:
        ceiling = read_matching(options.truth, "truth")
    elif options.ceiling:
        ceiling = instruments.cached(
            path, _REENCODED, lambda: _read_reencoded(performer, instruments)
        )
    self_swap = read_matching(options.self_swap, "self-swap") if options.self_swap else None
    return PairReadings(swap, performer, ceiling, self_swap, has_truth=bool(options.truth))


def _check_self_swap(options: EvaluateOptions) -> None:
    """Check that swap and self-swap were made by the same model."""
    if not options.self_swap:
        return
    models = [
        (verify(Path(clip)).claim or {}).get("model_sha256")
        for clip in (options.swap, options.self_swap)
    ]
    if all(models) and models[0] != models[1]:
        raise UsageError(
            f"self_swap={options.self_swap}: was made by another model than {options.swap}; "
            "convert the performer onto the performer's own face with the same one"
        )


def _read_reencoded(performer: ClipReadings, instruments: Instruments) -> ClipReadings:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "performer.mp4"
        reencode(performer.video, copy)
        reencoded = instruments.read(copy, _REENCODED, of=performer.video)
    _check_length(reencoded, performer)
    return reencoded


def _check_length(clip: ClipReadings, performer: ClipReadings) -> None:
    if len(clip) != len(performer):
        raise MediaError(
            f"{clip.video}: has {len(clip)} frames but {performer.video} has {len(performer)}; "
            "pass the clip that was converted"
        )


def reencode(video: Path, copy: Path) -> None:
    """Re-encode a clip as H.264 at `CEILING_CRF`.

    Raises:
        MediaError: It cannot be read or written.
    """
    reader = VideoReader(video)
    with VideoWriter(copy, reader, codec="h264", crf=CEILING_CRF) as writer:
        for frame in reader:
            writer.write(frame)
