"""Per-frame readings of the largest face in a clip: landmarks, pose, expression, affect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from swapper.faces.crop import crop_face
from swapper.faces.geometry import head_pose
from swapper.faces.person import PersonFollower
from swapper.faces.recognition import Recogniser
from swapper.faces.shape import SIGNALS, Shapes, aligned_landmarks, signals
from swapper.media.video_reader import VideoReader
from swapper.progress import progress
from swapper.types import Face

CROP: Final = 160
"""Side of aligned crops in pixels, for estimators and for the report."""
_EPSILON: Final = 1e-300
_BATCH_SIZE: Final = 64
_MIN_FRONTAL_COSINE: Final = 0.5
"""Least cosine of the angle to the camera at which geometry is read: beyond 60 degrees,
frontalisation doubles every landmark error, and a tracker may fail arbitrarily."""

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Traces:
    """Named columns (T, U) of one instrument; rows are NaN where no face was detected."""

    names: tuple[str, ...]
    values: Floats

    def select(self, keep: Callable[[str], bool]) -> Traces:
        """Return the columns whose name satisfies `keep`."""
        columns = [column for column, name in enumerate(self.names) if keep(name)]
        return Traces(tuple(self.names[column] for column in columns), self.values[:, columns])


@dataclass(frozen=True, eq=False)
class ClipReadings:
    """Readings of a clip's largest face; T frames, NaN where no face was detected.

    Attributes:
        video: The file.
        fps: Frames per second.
        size: Width and height in pixels.
        seconds: (T,) presentation time of each frame.
        landmarks: (T, 68, 2), x y in frame pixels.
        pose: (T, 3) yaw, pitch and roll in degrees.
        blendshapes: MediaPipe's, in [0, 1]; None if it was not the aligner.
        probabilities: Class probabilities of the estimator; None if it has none.
        circumplex: (T, 2) valence and arousal; None likewise.
        units: Action units of the estimator; None likewise.
        embedding: (T, D) of the recogniser; None without one.
        aligner: Name of the source of the landmarks.
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

        The part of a signal that yaw and pitch explain is not regressed out: people move face and
        head together, so that would remove expression. On four real clips it moved the signals of
        68 landmarks further from those of MediaPipe's mesh (docs/LOG.md, 2026-11-29).
        """
        values = np.full((len(self), len(SIGNALS)), np.nan)
        if self.has_face.any():
            frontal = self._shapes.rotation[:, 2, 2] >= _MIN_FRONTAL_COSINE
            values[np.flatnonzero(self.has_face)[frontal]] = signals(self._shapes.front[frontal])
        return Traces(SIGNALS, values)

    @cached_property
    def rest_weights(self) -> Floats:
        """(T,) weight of each frame as neutral, see `Neutral.weights`; 0 without a face."""
        weights = np.zeros(len(self))
        if self.has_face.any():
            weights[self.has_face] = find_neutrals({"": self._shapes})[""].weights
        return weights

    def deviations(self, traces: Traces) -> Floats:
        """(T, U) deviations of this clip's traces from their values at rest."""
        is_finite = np.isfinite(traces.values)
        weights = np.where(is_finite, self.rest_weights[:, None], 0.0)
        total = weights.sum(axis=0)
        at_rest = (weights * np.where(is_finite, traces.values, 0.0)).sum(axis=0)
        middle = np.where(total > 0, at_rest / np.maximum(total, _EPSILON), np.nan)
        return np.asarray(traces.values - middle)

    @cached_property
    def _shapes(self) -> Shapes:
        """Shapes of the frames with a face."""
        return Shapes.of(aligned_landmarks(self.landmarks[self.has_face]))

    @property
    def has_face(self) -> NDArray[np.bool_]:
        """(T,) whether a face was detected."""
        return np.isfinite(self.landmarks[:, 0, 0])

    def __len__(self) -> int:
        return len(self.seconds)


def read_clip(
    video: Path,
    aligner: Aligner,
    estimator: Estimator | None = None,
    recogniser: Recogniser | None = None,
    title: str = "read",
) -> ClipReadings:
    """Read a clip front to back.

    Args:
        video: The file.
        aligner: Prepared; finished at the end of the clip.
        estimator: Emotion estimator on its device, or None.
        recogniser: Prepared, or None.
        title: Title of the progress bar.

    Raises:
        MediaError: The clip cannot be read, or no frame has a face.
    """
    reader = VideoReader(video)
    collector = _Collector(aligner, estimator, recogniser)
    bar = progress(reader.info.num_frames, f"{title} {video.name}", "frame")
    seconds: list[float] = []
    follower = PersonFollower()
    with reader, bar:
        for frame in reader:
            seconds.append(frame.time)
            faces = follower(frame, aligner(frame))
            collector.add(frame.image, faces[0] if faces else None)
            bar.update()
    if not seconds:
        raise MediaError(f"{video}: no frame could be decoded")
    aligner.finish(len(seconds))
    if not collector.places:
        raise MediaError(f"{video}: {aligner.name} detects no face; pass another aligner=")
    size = reader.info.width, reader.info.height
    return collector.finish(video, float(reader.info.rate), size, np.array(seconds))


class _Collector:
    """Collects readings of frames with a face; runs estimator and recogniser in batches."""

    def __init__(
        self, aligner: Aligner, estimator: Estimator | None, recogniser: Recogniser | None
    ) -> None:
        self.aligner, self.estimator, self.recogniser = aligner, estimator, recogniser
        self.frames = 0
        self.places: list[int] = []
        self._landmarks: list[NDArray[np.float32]] = []
        self._pose: list[tuple[float, float, float]] = []
        self._shapes: list[Mapping[str, float]] = []
        self._crops: list[Picture] = []
        self._read: list[AffectBatch] = []
        self._faces: list[Picture] = []
        self._embeddings: list[NDArray[np.float32]] = []

    def add(self, image: Picture, face: Face | None) -> None:
        index, self.frames = self.frames, self.frames + 1
        if face is None:
            return
        landmarks = face.landmarks
        self.places.append(index)
        self._landmarks.append(landmarks)
        self._pose.append(head_pose(landmarks, (image.shape[1], image.shape[0])))
        if face.blendshapes:
            self._shapes.append(face.blendshapes)
        if self.estimator is not None:
            self._crops.append(crop_face(image, landmarks, CROP)[0])
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
        columns = [getattr(each, name) for each in self._read]
        if not columns or columns[0] is None:
            return None
        return np.concatenate([each.numpy() for each in columns]).astype(np.float64)

    def _traces(self, name: str, titles: Sequence[str]) -> Traces | None:
        values = self._column(name)
        if values is None or not titles:
            return None
        return Traces(tuple(titles), self._scatter(values))

    def _scatter(self, rows: NDArray[np.floating]) -> Floats:
        """Expand rows of frames with a face to all frames, NaN elsewhere."""
        scattered = np.full((self.frames, *rows.shape[1:]), np.nan)
        scattered[self.places] = rows
        return scattered
