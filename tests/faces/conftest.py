"""A drawn face: 68 landmarks of average proportions, and frames to show them in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class StillFrame:
    index: int
    image: NDArray[np.uint8]


def drawn_landmarks() -> NDArray[np.float64]:
    """(68, 2) in millimetres, x right, y down, origin between the eyes; symmetrical."""
    points = np.zeros((68, 2))
    for i in range(17):
        angle = math.pi * i / 16
        points[i] = (-68 * math.cos(angle), 10 + 98 * math.sin(angle))
    for i in range(5):
        points[17 + i] = (-58 + 11 * i, -20 - 6 * math.sin(math.pi * i / 4))
        points[26 - i] = points[17 + i] * (-1, 1)
    points[27:31] = [(0, -2), (0, 11), (0, 23), (0, 34)]
    points[31:36] = [(-15, 43), (-8, 46), (0, 48), (8, 46), (15, 43)]
    eye = [(-45, 0), (-36, -5), (-25, -5), (-16.5, 1), (-25, 4), (-36, 4)]
    points[36:42] = eye
    points[42:48] = [(-eye[i][0], eye[i][1]) for i in (3, 2, 1, 0, 5, 4)]
    for i in range(12):
        angle = math.pi * (1 - i / 6)
        points[48 + i] = (25.5 * math.cos(angle), 68 - 9 * math.sin(angle))
    for i in range(8):
        angle = math.pi * (1 - i / 4)
        points[60 + i] = (20 * math.cos(angle), 68 - 2 * math.sin(angle))
    return points


def placed(
    points: NDArray[np.float64],
    *,
    scale: float = 1.0,
    degrees: float = 0.0,
    at: tuple[float, float] = (200.0, 150.0),
) -> NDArray[np.float32]:
    """Points scaled (pixels per mm), turned clockwise and moved."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = points @ np.array([[c, -s], [s, c]]).T * scale + at
    return turned.astype(np.float32)


@pytest.fixture
def face_mm() -> NDArray[np.float64]:
    return drawn_landmarks()


@pytest.fixture(scope="session")
def real_landmarks(shared: Path) -> dict[str, NDArray[np.float32]]:
    """(frames, 68, 2) of each real clip, from its CSV."""
    found = {}
    for clip in ("clip_a", "clip_b"):
        table = np.genfromtxt(
            shared / "real" / f"{clip}.openface.csv", delimiter=",", skip_header=1
        )
        found[clip] = np.stack([table[:, 5:73], table[:, 73:141]], axis=2).astype(np.float32)
    return found


def real_frames(path: Path, count: int) -> list[StillFrame]:
    """The first frames of a clip, for whoever needs pictures rather than colours."""
    video = cv2.VideoCapture(str(path))
    frames = []
    for index in range(count):
        found, picture = video.read()
        assert found
        frames.append(StillFrame(index, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))))
    video.release()
    return frames
