"""Drawn performers: cartoon heads with exact landmarks, for tests that need footage."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Look:
    """Colours and proportions of a drawn head."""

    skin: tuple[int, int, int] = (224, 172, 140)
    lips: tuple[int, int, int] = (170, 60, 70)
    eyes: tuple[int, int, int] = (40, 90, 160)
    background: tuple[int, int, int] = (40, 60, 50)
    width: float = 1.0


ALICE = Look()
BOB = Look((150, 105, 80), (120, 50, 50), (60, 40, 20), (90, 80, 110), 1.12)


def canonical(mouth: float, blink: float, width: float) -> NDArray[np.float64]:
    """(68, 2) landmarks of a head about 2 units high; `mouth` and `blink` in [0, 1]."""
    jaw = [
        (-width * np.cos(t) * 0.78, -0.15 + np.sin(t) * (1.0 + 0.12 * mouth))
        for t in np.linspace(0, np.pi, 17)
    ]
    brows = [
        (side * x, -0.42 - 0.08 * np.sin((x - 0.15) / 0.45 * np.pi))
        for side, xs in ((-1, np.linspace(0.6, 0.15, 5)), (1, np.linspace(0.15, 0.6, 5)))
        for x in xs
    ]
    bridge = [(0.0, y) for y in np.linspace(-0.22, 0.12, 4)]
    base = [(x, 0.22 - 0.05 * abs(x) / 0.14) for x in np.linspace(-0.14, 0.14, 5)]
    lid = 0.07 * (1 - 0.9 * blink)
    eyes = []
    for middle in (-0.36, 0.36):
        eyes += [
            (middle - 0.14, -0.2),
            (middle - 0.05, -0.2 - lid),
            (middle + 0.05, -0.2 - lid),
            (middle + 0.14, -0.2),
            (middle + 0.05, -0.2 + lid),
            (middle - 0.05, -0.2 + lid),
        ]
    gap = 0.02 + 0.16 * mouth
    outer = [
        (0.3 * np.cos(t), 0.5 - (0.07 + gap) * np.sin(t) * (1 if np.sin(t) > 0 else 1.2))
        for t in np.linspace(np.pi, -np.pi * 5 / 6, 12)
    ]
    inner = [
        (0.22 * np.cos(t), 0.5 - gap * np.sin(t)) for t in np.linspace(np.pi, -np.pi * 3 / 4, 8)
    ]
    return np.array([*jaw, *brows, *bridge, *base, *eyes, *outer, *inner])


def draw(
    size: int, time: float, look: Look = ALICE, scale: float = 0.27
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One (size, size, 3) RGB frame of a head that sways, talks and blinks, and its landmarks."""
    mouth = 0.5 + 0.5 * np.sin(2 * np.pi * time / 0.8)
    blink = max(0.0, np.sin(2 * np.pi * time / 1.3)) ** 8
    angle = 0.15 * np.sin(2 * np.pi * time / 1.7)
    centre = np.array([0.5 + 0.05 * np.sin(2 * np.pi * time / 2.1), 0.5]) * size
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = canonical(mouth, blink, look.width) @ rotation.T * size * scale + centre
    rows = np.linspace(0.7, 1.3, size)[:, None, None]
    picture = np.clip(np.array(look.background) * np.ones((size, size, 1)) * rows, 0, 255)
    picture = picture.astype(np.uint8)

    def fill(points: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
        fixed = np.round(points * 16).astype(np.int32)
        cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, 4)

    skull = canonical(0, 0, look.width)[:17] * [1.0, -0.75] + [0, -0.2]
    head = np.vstack([landmarks[:17], (skull[::-1] @ rotation.T) * size * scale + centre])
    fill(head, look.skin)
    for brow in (landmarks[17:22], landmarks[22:27]):
        cv2.polylines(
            picture,
            [np.round(brow * 16).astype(np.int32)],
            False,
            (60, 40, 30),
            max(1, size // 50),
            cv2.LINE_AA,
            4,
        )
    fill(landmarks[[27, 31, 33, 35]], tuple(int(c * 0.85) for c in look.skin))
    for eye in (landmarks[36:42], landmarks[42:48]):
        fill(eye, (245, 245, 245))
        if blink < 0.6:
            middle = eye.mean(axis=0)
            cv2.circle(
                picture,
                tuple(np.round(middle * 16).astype(int)),
                int(size * scale * 0.05 * 16),
                look.eyes,
                -1,
                cv2.LINE_AA,
                4,
            )
    fill(landmarks[48:60], look.lips)
    fill(landmarks[60:68], (50, 10, 15))
    return picture, landmarks.astype(np.float32)


def write_openface(path: Path, landmarks: list[NDArray[np.float32]]) -> Path:
    """A CSV in OpenFace's layout."""
    names = ["frame", "face_id", "timestamp", "confidence", "success"]
    names += [f"x_{index}" for index in range(68)] + [f"y_{index}" for index in range(68)]
    lines = [", ".join(names)]
    for number, points in enumerate(landmarks, 1):
        values = [str(number), "0", f"{number / 25:.3f}", "0.98", "1"]
        values += [f"{value:.3f}" for value in points.T.ravel()]
        lines.append(", ".join(values))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_clip(
    path: Path,
    look: Look = ALICE,
    *,
    frames: int = 50,
    size: int = 160,
    rate: int = 25,
    sound: bool = True,
    phase: float = 0.0,
) -> tuple[Path, Path]:
    """Encode a drawn clip and its landmarks; returns the video's and the CSV's path."""
    all_landmarks = []
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "fast"})
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(frames):
            picture, landmarks = draw(size, index / rate + phase, look)
            all_landmarks.append(landmarks)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            time = np.arange(16000 * frames // rate) / 16000
            wave = (0.2 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)[None]
            for start in range(0, wave.shape[1], 1024):
                block = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(wave[:, start : start + 1024]),
                    format="fltp",
                    layout="mono",
                )
                block.sample_rate, block.pts = 16000, start
                block.time_base = Fraction(1, 16000)
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path, write_openface(path.with_suffix(".csv"), all_landmarks)


def cut_clip(source: Path, path: Path, share: float = 0.7) -> Path:
    """The beginning of a clip's file, with an index in front that promises all of it."""
    whole = path.with_name("whole.mp4")
    with (
        av.open(str(source)) as clip,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
