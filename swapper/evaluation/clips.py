"""Every clip that an evaluation needs, watched by the same instruments."""

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
from swapper.faces.aligner import Aligner, prepare_for_clip
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.recognition import Recogniser
from swapper.media.video import VideoReader
from swapper.media.video_writer import VideoWriter
from swapper.options.verbs import EvaluateOptions
from swapper.provenance.manifest import verify

CEILING_CRF: Final = 23
"""An ordinary encoding: what a video site would do to the performer's own clip."""
_AGAIN: Final = "encoded anew"

Memory = MutableMapping[tuple[str, Path], ClipReadings]
"""What was seen of performers, by title and file; for callers whose instruments stay the same."""


@dataclass(frozen=True, eq=False)
class Instruments:
    """Who watches.

    Attributes:
        make_aligner: Called once for each clip.
        estimator: Of emotions and, where it reads them, action units; on its device, or None.
        recogniser: Of whose face appears; prepared, or None.
        memory: Of performers that were watched before, to be added to; None remembers nothing.
    """

    make_aligner: Callable[[], Aligner]
    estimator: Estimator | None = None
    recogniser: Recogniser | None = None
    memory: Memory | None = None

    def watched(self, path: Path, title: str, of: Path | None = None) -> ClipReadings:
        """What a clip's face does.

        Args:
            path: The clip.
            title: Of the progress bar.
            of: The clip of which it is a copy, to an aligner that knows clips by name.

        Raises:
            SwapperError: It cannot be read, or shows no face.
        """
        aligner = self.make_aligner()
        if isinstance(aligner, MediapipeAligner):
            aligner.blendshapes, aligner.max_faces = True, 1
        try:
            prepare_for_clip(aligner, of or path, VideoReader(path).info.num_frames)
            return read_clip(path, aligner, self.estimator, self.recogniser, title)
        finally:
            aligner.close()

    def remembered(self, path: Path, title: str, see: Callable[[], ClipReadings]) -> ClipReadings:
        """What is known of a clip, or else what `see` finds."""
        key = title, path.resolve()
        if self.memory is None:
            return see()
        if key not in self.memory:
            self.memory[key] = see()
        return self.memory[key]


def read_clips(options: EvaluateOptions, instruments: Instruments) -> PairReadings:
    """Watch performer and swap, then the exact answer or the performer encoded anew, then the
    self-swap.

    Raises:
        SwapperError: In one line.
    """
    _check_self_swap(options)
    path = Path(options.performer)
    performer = instruments.remembered(
        path, "performer", lambda: instruments.watched(path, "performer")
    )

    def beside(clip: str, title: str) -> ClipReadings:
        found = instruments.watched(Path(clip), title)
        _check_as_long(found, performer)
        return found

    swap = beside(options.swap, "swap")
    if swap.blendshapes is None and swap.units is None and share_landmarks(swap, performer):
        raise UsageError(
            f"{options.swap}: has the performer's landmarks, so nothing reads its expression: pass "
            "aligner.csv=FOLDER with a CSV for each clip, or another aligner="
        )
    # Whose face the others show is told nowhere, and dlib would take a tenth of a second a face.
    instruments = replace(instruments, recogniser=None)
    best = None
    if options.truth:
        best = beside(options.truth, "truth")
    elif options.ceiling:
        best = instruments.remembered(path, _AGAIN, lambda: _seen_again(performer, instruments))
    self_swap = beside(options.self_swap, "self-swap") if options.self_swap else None
    return PairReadings(swap, performer, best, self_swap, exact=bool(options.truth))


def _check_self_swap(options: EvaluateOptions) -> None:
    """Refuse a self-swap that another model made: it would tell of that one."""
    if not options.self_swap:
        return
    made_by = [
        (verify(Path(clip)).claim or {}).get("model_sha256")
        for clip in (options.swap, options.self_swap)
    ]
    if all(made_by) and made_by[0] != made_by[1]:
        raise UsageError(
            f"self_swap={options.self_swap}: was made by another model than {options.swap}; "
            "convert the performer onto the performer's own face with the same one"
        )


def _seen_again(performer: ClipReadings, instruments: Instruments) -> ClipReadings:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "performer.mp4"
        encode_again(performer.video, copy)
        again = instruments.watched(copy, _AGAIN, of=performer.video)
    _check_as_long(again, performer)
    return again


def _check_as_long(clip: ClipReadings, performer: ClipReadings) -> None:
    if len(clip) != len(performer):
        raise MediaError(
            f"{clip.video}: has {len(clip)} frames but {performer.video} has {len(performer)}; "
            "pass the very clip that was converted"
        )


def encode_again(video: Path, copy: Path) -> None:
    """Write a clip once more, as a video site would: H.264 at `CEILING_CRF`.

    Raises:
        MediaError: It cannot be read or written.
    """
    reader = VideoReader(video)
    with VideoWriter(copy, reader, codec="h264", crf=CEILING_CRF) as writer:
        for frame in reader:
            writer.write(frame)
