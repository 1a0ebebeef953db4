"""Three estimators for real clips that are not used in training: 3DDFA_V2, dlib and xception.

Each clip is processed once; its `Reading` is stored, so that metrics can be computed later.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from convert_weights import convert_xception
from dlib_recogniser import WIDTH, DlibRecogniser
from numpy.typing import NDArray
from tddfa import WEIGHTS, Tddfa

from swapper.errors import MediaError
from swapper.estimators.base import load_estimator
from swapper.evaluation.clip_readings import CROP
from swapper.faces.aligner import Aligner
from swapper.faces.crop import crop_face
from swapper.files import sha256_of, write_atomically
from swapper.media.video_reader import Frame, VideoReader
from swapper.types import NUM_LANDMARKS

EMOTIONS: Final = "fer2013_mini_XCEPTION.102-0.66.hdf5"
_AT_ONCE: Final = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reading:
    """Estimates on a clip; T frames, NaN where there is no face.

    Attributes:
        rough: (T, 68, 2) landmarks of the performer by an aligner, x y in frame pixels; used only
            for the first crop.
        landmarks: (T, 68, 2) by 3DDFA, x y in frame pixels.
        embeddings: (T, 128) by dlib; also NaN in the frames it skips.
        emotions: (T, 7) class probabilities by xception.
        seconds: (T,) time of each frame.
        size: (2,) width and height of the frame in pixels.
    """

    rough: Floats
    landmarks: Floats
    embeddings: Floats
    emotions: Floats
    seconds: Floats
    size: Floats

    def save(self, path: Path) -> None:
        """Write an .npz atomically."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, **{each.name: getattr(self, each.name) for each in fields(self)}
        )
        write_atomically(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> Reading:
        """Load a reading written by `save`.

        Raises:
            MediaError: It is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(**{each.name: stored[each.name] for each in fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise MediaError(f"{path}: is damaged; remove it and run again") from error


class Judges:
    """The three estimators.

    Args:
        weights: Folder with 3DDFA's and xception's files.
        every: Frame step of dlib, which is slow.

    Raises:
        EstimatorError: One of them is missing or damaged.
    """

    def __init__(self, weights: Path, every: int) -> None:
        self.every = every
        self.landmarks = Tddfa(weights / WEIGHTS)
        self.faces = DlibRecogniser()
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder) / "xception.safetensors"
            convert_xception(weights / EMOTIONS, converted)
            self.emotions = load_estimator("xception", "measuring", weights=str(converted))
        self.fingerprint = [
            sha256_of(weights / WEIGHTS), self.faces.fingerprint, self.emotions.fingerprint, every
        ]  # fmt: skip
        """Everything that readings depend on except the clip."""

    def read(self, video: Path, rough: Floats, window: Floats | None = None) -> Reading:
        """Estimate landmarks, embeddings and emotions of a clip.

        Args:
            video: The file, of T frames.
            rough: (T, 68, 2) as in `Reading`.
            window: (T, 68, 2) landmarks of the crops for xception, which is sensitive to a few
                pixels: for a swap the performer's. None takes the clip's own.

        Raises:
            MediaError: It cannot be read, or has another number of frames.
        """
        parts: list[tuple[Floats, Floats, Floats]] = []
        seconds: list[float] = []
        with VideoReader(video) as reader:
            size = reader.info.width, reader.info.height
            batch: list[Frame] = []
            for frame in reader:
                seconds.append(frame.time)
                batch.append(frame)
                if len(batch) == _AT_ONCE and len(seconds) <= len(rough):
                    parts.append(self._read_batch(batch, rough, window))
                    batch = []
        if len(seconds) != len(rough):
            raise MediaError(
                f"{video}: has {len(seconds)} frames, its performer {len(rough)}; remove it and "
                "run again"
            )
        if batch:
            parts.append(self._read_batch(batch, rough, window))
        landmarks, embeddings, emotions = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        return Reading(
            rough, landmarks, embeddings, emotions, np.array(seconds), np.array(size, float)
        )

    def _read_batch(
        self, frames: list[Frame], rough: Floats, window: Floats | None
    ) -> tuple[Floats, Floats, Floats]:
        """Landmarks (N, 68, 2), embeddings (N, 128), emotions (N, 7) of consecutive frames."""
        here = slice(frames[0].index, frames[-1].index + 1)
        landmarks = self.landmarks.read([frame.image for frame in frames], rough[here])
        cut_by = landmarks if window is None else window[here]
        embeddings = np.full((len(frames), WIDTH), np.nan)
        emotions = np.full((len(frames), len(self.emotions.labels)), np.nan)
        places, crops = [], []
        for i, frame in enumerate(frames):
            if frame.index % self.every == 0 and np.isfinite(landmarks[i]).all():
                embeddings[i] = self.faces.embed(frame.image, landmarks[i])
            if np.isfinite(cut_by[i]).all():
                places.append(i)
                crops.append(crop_face(frame.image, cut_by[i], CROP)[0])
        if crops:
            shares = self.emotions.read(np.stack(crops)).probabilities
            assert shares is not None
            emotions[places] = shares.numpy()
        return landmarks, embeddings, emotions


def locate_face(video: Path, aligner: Aligner) -> Floats:
    """Return landmarks (T, 68, 2) of the largest face, x y in frame pixels; NaN for no face.

    Raises:
        MediaError: The clip cannot be read, or no frame has a face.
        AlignerError: The aligner cannot be used, or its landmarks are of another clip.
    """
    rows = []
    try:
        aligner.prepare()
        with VideoReader(video) as reader:
            for frame in reader:
                faces = aligner(frame)
                nowhere = np.full((NUM_LANDMARKS, 2), np.nan)
                rows.append(faces[0].landmarks.astype(np.float64) if faces else nowhere)
        aligner.finish(len(rows))
    finally:
        aligner.close()
    landmarks = np.array(rows)
    if not np.isfinite(landmarks).any():
        raise MediaError(f"{video}: {aligner.name} finds no face in it; pass another --aligner")
    return landmarks
