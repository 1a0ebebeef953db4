"""Small facesets for the tests of this room."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.facesets.faceset_metadata import FacesetMetadata, Source
from swapper.facesets.writer import FacesetWriter, face_id
from swapper.types import FaceRecord
from tests.drawing import canonical

SOURCE = "5e" * 32
SIZE = 32


def make_card(identity: str = "anna", **changes: Any) -> FacesetMetadata:
    card = FacesetMetadata(
        identity=identity,
        rights="drawn by this test",
        size=SIZE,
        coverage="face",
        aligner="drawn",
        created="2026-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(card, **changes)


def make_record(frame: int = 0, source: str = SOURCE, face: int = 0) -> FaceRecord:
    """A face that fills its crop, a little to one side in each frame."""
    aligned = canonical(0.2, 0.1, 1.0) * SIZE * 0.4 + SIZE / 2 + frame % 3
    aligned_from_frame = np.array([[0.5, 0.1, -10.0 - frame], [-0.1, 0.5, 3.0]])
    inverse = np.linalg.inv(aligned_from_frame[:, :2])
    landmarks = (aligned - aligned_from_frame[:, 2]) @ inverse.T
    return FaceRecord(
        id=face_id(source, frame, face),
        image="",
        source=source,
        frame_index=frame,
        pts=frame * 512,
        landmarks=landmarks.astype(np.float32),
        aligned_from_frame=aligned_from_frame,
        yaw=float(frame),
        pitch=-1.5,
        roll=0.25,
        sharpness=12.5,
        confidence=0.9,
        sha256="",
    )


def make_image(frame: int = 0, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth colours that are different in every frame."""
    noise = np.random.default_rng((seed, frame)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5).astype(np.uint8)


def make_faceset(
    folder: Path, identity: str = "anna", count: int = 5, seed: int = 0, **changes: Any
) -> Path:
    """`folder` / `identity` with `count` faces of one clip."""
    path = folder / identity
    card = make_card(identity, **changes)
    with FacesetWriter(path, card) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame in range(count):
            writer.add(make_record(frame), make_image(frame, seed, card.size))
    return path
