"""Look at a clip once and write down what its face does, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.neutral import find_neutrals
from swapper.errors import MediaError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.faces.aligner import Aligner
from swapper.faces.geometry import head_pose, similarity_from_landmarks, warp
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.recognition import Recogniser
from swapper.faces.shape import SIGNALS, Shapes, aligned_landmarks, signals
from swapper.media.video import VideoReader
from swapper.progress import progress

CROP: Final = 160
"""Side of aligned crops, for readers and for people, in pixels."""
_EPSILON: Final = 1e-300
_BATCH_SIZE: Final = 64
_MIN_FRONTAL_COSINE: Final = 0.5
"""Cosine of the angle to the camera from which geometry is read: beyond 60 degrees turning a face
to the front doubles every error of its landmarks, and a tracker's failure can lie anywhere."""

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Traces:
    """Columns of one instrument over time; rows are NaN where there was no face.

    Attributes:
        names: Of the columns.
        values: (T, U).
    """

    names: tuple[str, ...]
    values: Floats

    def select(self, keep: Callable[[str], bool]) -> Traces:
        """Some of the columns."""
        chosen = [column for column, name in enumerate(self.names) if keep(name)]
        return Traces(tuple(self.names[column] for column in chosen), self.values[:, chosen])


@dataclass(frozen=True, eq=False)
class ClipReadings:
    """What a clip's largest face does; T frames, NaN where there is none.

    Attributes:
        video: The file.
        fps: Frames a second.
        size: Width and height in pixels.
        seconds: (T,) when each frame is shown.
        landmarks: (T, 68, 2), x y in frame pixels.
        pose: (T, 3) yaw, pitch and roll in degrees.
        blendshapes: Of MediaPipe, in [0, 1]; None if it was not the aligner.
        probabilities: Of the estimator's classes; None if it has none.
        circumplex: (T, 2) valence and arousal; None likewise.
        units: Of the estimator's action units; None likewise.
        embedding: (T, D) of a recogniser; None if there was none.
        aligner: Name of what found the landmarks, or knew them.
    """

    video: Path
    fps: float
    size: tuple[int, int]
    seconds: Floats
    landmarks: Floats
    pose: Floats
    blendshapes: Traces | None
    probabilities: Traces | None
    circumplex: Floats | None
    units: Traces | None
    embedding: Floats | None = None
    aligner: str = ""

    @cached_property
    def geometry(self) -> Traces:
        """`SIGNALS` of the landmarks turned to the front, in eye distances; NaN beyond 60 degrees.

        What yaw and pitch explain of a signal besides is left in: people move face and head
        together, so taking it off takes expression with it. On four real clips it brought the
        signals of 68 landmarks further from those of MediaPipe's mesh (docs/LOG.md, 2026-11-29).
        """
        values = np.full((len(self), len(SIGNALS)), np.nan)
        if self.has_face.any():
            told = self._shapes.rotation[:, 2, 2] >= _MIN_FRONTAL_COSINE
            values[np.flatnonzero(self.has_face)[told]] = signals(self._shapes.front[told])
        return Traces(SIGNALS, values)

    @cached_property
    def rest_weights(self) -> Floats:
        """(T,) how much each frame's face is at rest, see `Neutral.weights`; 0 without a face."""
        weights = np.zeros(len(self))
        if self.has_face.any():
            weights[self.has_face] = find_neutrals({"": self._shapes})[""].weights
        return weights

    def deviations(self, traces: Traces) -> Floats:
        """(T, U) how far traces of this clip are from their values at rest."""
        known = np.isfinite(traces.values)
        weights = np.where(known, self.rest_weights[:, None], 0.0)
        total = weights.sum(axis=0)
        at_rest = (weights * np.where(known, traces.values, 0.0)).sum(axis=0)
        middle = np.where(total > 0, at_rest / np.maximum(total, _EPSILON), np.nan)
        return np.asarray(traces.values - middle)

    @cached_property
    def _shapes(self) -> Shapes:
        """Of the frames with a face."""
        return Shapes.of(aligned_landmarks(self.landmarks[self.has_face]))

    @property
    def has_face(self) -> NDArray[np.bool_]:
        """(T,) whether there was a face."""
        return np.isfinite(self.landmarks[:, 0, 0])

    def __len__(self) -> int:
        return len(self.seconds)


def read_clip(
    video: Path,
    aligner: Aligner,
    estimator: Estimator | None = None,
    recogniser: Recogniser | None = None,
    title: str = "look at",
) -> ClipReadings:
    """Read a clip front to back.

    Args:
        video: The file.
        aligner: Prepared; finished at the end of the clip.
        estimator: Of emotions; on its device, or None.
        recogniser: Of whose face it is; prepared, or None.
        title: Of the progress bar.

    Raises:
        MediaError: The clip cannot be read, or shows no face in any frame.
    """
    reader = VideoReader(video)
    notes = _Collector(aligner, estimator, recogniser)
    bar = progress(reader.info.num_frames, f"{title} {video.name}", "frame")
    seconds: list[float] = []
    with reader, bar:
        for frame in reader:
            seconds.append(frame.time)
            faces = aligner(frame)
            notes.add(frame.image, faces[0].landmarks if faces else None)
            bar.update()
    if not seconds:
        raise MediaError(f"{video}: not one frame could be decoded")
    aligner.finish(len(seconds))
    if not notes.places:
        raise MediaError(f"{video}: {aligner.name} finds no face in it; pass another aligner=")
    size = reader.info.width, reader.info.height
    return notes.finish(video, float(reader.info.rate), size, np.array(seconds))


class _Collector:
    """Gathers what is read of frames with a face, and hands crops to the estimator in batches."""

    def __init__(
        self, aligner: Aligner, estimator: Estimator | None, recogniser: Recogniser | None
    ) -> None:
        self.aligner, self.estimator, self.recogniser = aligner, estimator, recogniser
        self.frames = 0
        self.places: list[int] = []
        self._landmarks: list[NDArray[np.float32]] = []
        self._pose: list[tuple[float, float, float]] = []
        self._shapes: list[dict[str, float]] = []
        self._crops: list[Picture] = []
        self._read: list[AffectBatch] = []
        self._faces: list[Picture] = []
        self._embeddings: list[NDArray[np.float32]] = []

    def add(self, image: Picture, landmarks: NDArray[np.float32] | None) -> None:
        place, self.frames = self.frames, self.frames + 1
        if landmarks is None:
            return
        self.places.append(place)
        self._landmarks.append(landmarks)
        self._pose.append(head_pose(landmarks, (image.shape[1], image.shape[0])))
        if isinstance(self.aligner, MediapipeAligner) and self.aligner.expressions:
            self._shapes.append(self.aligner.expressions[0])
        if self.estimator is not None:
            self._crops.append(aligned_crop(image, landmarks))
        if self.recogniser is not None:
            self._faces.append(self.recogniser.crop(image, landmarks))
        if max(len(self._crops), len(self._faces)) == _BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._crops and self.estimator is not None:
            self._read.append(self.estimator.read(np.stack(self._crops)))
            self._crops.clear()
        if self._faces and self.recogniser is not None:
            self._embeddings.append(self.recogniser.embed(np.stack(self._faces)))
            self._faces.clear()

    def finish(
        self, video: Path, fps: float, size: tuple[int, int], seconds: Floats
    ) -> ClipReadings:
        self._flush()
        shapes = self._shapes if len(self._shapes) == len(self.places) else []
        names = tuple(name for name in shapes[0] if name != "_neutral") if shapes else ()
        values = np.array([[each[name] for name in names] for each in shapes])
        valence, arousal = self._column("valence"), self._column("arousal")
        circumplex = None
        if valence is not None and arousal is not None:
            circumplex = self._scatter(np.stack([valence, arousal], axis=1))
        labels = () if self.estimator is None else self.estimator.labels
        numbers = () if self.estimator is None else self.estimator.units
        return ClipReadings(
            video=video,
            fps=fps,
            size=size,
            seconds=seconds,
            landmarks=self._scatter(np.array(self._landmarks)),
            pose=self._scatter(np.array(self._pose)),
            blendshapes=Traces(names, self._scatter(values)) if names else None,
            probabilities=self._traces("probabilities", labels),
            circumplex=circumplex,
            units=self._traces("units", [f"AU{number}" for number in numbers]),
            embedding=self._scatter(np.concatenate(self._embeddings)) if self._embeddings else None,
            aligner=self.aligner.name,
        )

    def _column(self, name: str) -> Floats | None:
        found = [getattr(each, name) for each in self._read]
        if not found or found[0] is None:
            return None
        return np.concatenate([each.numpy() for each in found]).astype(np.float64)

    def _traces(self, name: str, titles: Sequence[str]) -> Traces | None:
        values = self._column(name)
        if values is None or not titles:
            return None
        return Traces(tuple(titles), self._scatter(values))

    def _scatter(self, rows: NDArray[np.floating]) -> Floats:
        """Rows of frames with a face among those without."""
        laid = np.full((self.frames, *rows.shape[1:]), np.nan)
        laid[self.places] = rows
        return laid


def aligned_crop(image: Picture, landmarks: NDArray[np.floating]) -> Picture:
    """The face of a frame, aligned, (CROP, CROP, 3)."""
    points = landmarks.astype(np.float32)
    return warp(image, similarity_from_landmarks(points, CROP, "face"), CROP)
