"""Ground truth of each frame as CSV tables: OpenFace's columns, and all parameters."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.head_renderer.camera import Camera, head_rotation, move_head
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.units import INDEX, UNITS
from swapper.synth.emotions import EMOTIONS
from swapper.synth.performance import Performance
from swapper.types import NUM_LANDMARKS

_LARGEST_FILE: Final = 1 << 30
# Units that OpenFace 2 estimates; its 45 (blink) corresponds to 43 here.
_RATED: Final = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_SIDES: Final = ("left", "right")

OPENFACE_COLUMNS: Final = (
    *("frame", "face_id", "timestamp", "confidence", "success", "gaze_angle_x", "gaze_angle_y"),
    *(f"pose_T{axis}" for axis in "xyz"),
    *(f"pose_R{axis}" for axis in "xyz"),
    *(f"x_{i}" for i in range(NUM_LANDMARKS)),
    *(f"y_{i}" for i in range(NUM_LANDMARKS)),
    *(f"AU{unit:02d}_r" for unit in _RATED),
)
TRUTH_COLUMNS: Final = (
    *("frame", "timestamp", "valence", "arousal"),
    *(f"emotion_{name}" for name in EMOTIONS),
    *(f"{kind}_AU{unit:02d}_{side}" for kind in ("intended", "shown") for side in _SIDES
      for unit in UNITS),
    *("yaw", "pitch", "roll", "shift_x", "shift_y", "shift_z", "gaze_x", "gaze_y", "events"),
)  # fmt: skip


def openface_row(
    index: int, fps: float, state: HeadState, frame: RenderedFrame, stage: Stage, size: int
) -> list[str]:
    """Return one frame in OpenFace 2's layout, in the order of `OPENFACE_COLUMNS`.

    Landmarks have 4 decimals. Angles are in radians in the camera's axes (x right, y down, z away),
    the head's as Rx Ry Rz; units run from 0 to 5 and are the observed ones, the mean of both sides.

    Source: OpenFace's wiki, Output Format.
    """
    camera = Camera.of(stage, size)
    flip = np.diag([1.0, -1.0, -1.0])
    turn = flip @ camera.turn @ head_rotation(state) @ flip
    place = move_head(np.zeros((1, 3)), np.ones(1), state)[0]
    x, y, towards = camera.turn @ (place - camera.place)
    ray = flip @ camera.turn @ head_rotation(state) @ _direction(state.gaze)
    angles = (
        *(math.atan2(ray[0], -ray[2]), math.atan2(ray[1], -ray[2])),
        *(x, -y, -towards),
        math.atan2(-turn[1, 2], turn[2, 2]),
        math.asin(min(max(turn[0, 2], -1.0), 1.0)),
        math.atan2(-turn[0, 1], turn[0, 0]),
    )
    rated = [5 * float(frame.observed_units[:, INDEX[43 if u == 45 else u]].mean()) for u in _RATED]
    return [
        *(str(index + 1), "0", f"{index / fps:.4f}", "1.00", "1"),
        *(f"{value:.4f}" for value in angles),
        *(f"{value:.4f}" for value in frame.landmarks.T.ravel()),
        *(f"{value:.3f}" for value in rated),
    ]


def _direction(gaze: tuple[float, float]) -> NDArray[np.float64]:
    """(3,) unit vector of a gaze in head space: x to the picture's right, y up, z to the camera."""
    across, up = math.radians(gaze[0]), math.radians(gaze[1])
    return np.array(
        [math.sin(across) * math.cos(up), math.sin(up), math.cos(across) * math.cos(up)]
    )


def truth_row(index: int, performance: Performance, frame: RenderedFrame) -> list[str]:
    """Return all ground truth of one frame, in the order of `TRUTH_COLUMNS`."""
    time = index / performance.fps
    events = [
        f"{event.kind}:{event.emotion}" if event.emotion else event.kind
        for event in performance.events
        if event.start <= time < event.end
    ]
    numbers = np.concatenate([
        [performance.valence[index], performance.arousal[index]],
        performance.emotion[index],
        performance.units[index].ravel(),
        frame.observed_units.ravel(),
        performance.pose[index],
        performance.shift[index],
        performance.gaze[index],
    ])  # fmt: skip
    return [str(index + 1), f"{time:.4f}", *(f"{value:.6f}" for value in numbers), " ".join(events)]


def csv_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Return the content of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of a clip's T frames.

    Attributes:
        times: (T,) seconds.
        valence: (T,) in [-1, 1].
        arousal: (T,) in [-1, 1].
        emotion: (T, 11) weights of `EMOTIONS`, summing to 1.
        intended: (T, 2, 19) intensities in [0, 1] of the performance, the same for every actor.
        observed: (T, 2, 19) intensities after this actor's gain and asymmetry.
        pose: (T, 3) yaw, pitch, roll in degrees, as in `HeadState`.
        shift: (T, 3) mm.
        gaze: (T, 2) degrees relative to the head.
        events: T tuples of active events, such as "blink" or "micro:fear".
    """

    times: NDArray[np.float64]
    valence: NDArray[np.float64]
    arousal: NDArray[np.float64]
    emotion: NDArray[np.float64]
    intended: NDArray[np.float64]
    observed: NDArray[np.float64]
    pose: NDArray[np.float64]
    shift: NDArray[np.float64]
    gaze: NDArray[np.float64]
    events: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.times)


def read_truth(path: str | Path) -> Truth:
    """Read a ``NAME.truth.csv``.

    Raises:
        MediaError: Missing, damaged or of another format; names the line.
    """
    rows = list(_rows(Path(path), TRUTH_COLUMNS))
    numbers = np.array([_numbers(Path(path), i, row[:-1]) for i, row in enumerate(rows)])
    emotions, units = len(EMOTIONS), 2 * len(UNITS)
    widths = np.cumsum([1, 1, 1, 1, emotions, units, units, 3, 3])
    _, times, valence, arousal, emotion, intended, observed, pose, shift, gaze = np.split(
        numbers, widths, axis=1
    )
    return Truth(
        times=times[:, 0],
        valence=valence[:, 0],
        arousal=arousal[:, 0],
        emotion=emotion,
        intended=intended.reshape(-1, 2, len(UNITS)),
        observed=observed.reshape(-1, 2, len(UNITS)),
        pose=pose,
        shift=shift,
        gaze=gaze,
        events=tuple(tuple(row[-1].split()) for row in rows),
    )


def read_landmarks(path: str | Path) -> NDArray[np.float64]:
    """Read (T, 68, 2) landmarks in pixels from the ``NAME.openface.csv`` of an actor's clip.

    Raises:
        MediaError: Missing, damaged or of another format; names the line.
    """
    rows = _rows(Path(path), OPENFACE_COLUMNS)
    numbers = np.array([_numbers(Path(path), i, row) for i, row in enumerate(rows)])
    first = OPENFACE_COLUMNS.index("x_0")
    flat = numbers[:, first : first + 2 * NUM_LANDMARKS]
    return np.ascontiguousarray(flat.reshape(-1, 2, NUM_LANDMARKS).transpose(0, 2, 1))


def _rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV with exactly these columns."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MediaError(f"{path}: is too large for a clip's truth: check the file")
        text = path.read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(text), strict=True)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise MediaError(f"{path}: is not a table of an actor's clip: render it again") from error
    if tuple(header) != tuple(columns):
        raise MediaError(f"{path}: has other columns than an actor's clip: render it again")
    if not rows:
        raise MediaError(f"{path}: has no rows: render it again")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns) or row[0] != str(number):
            raise MediaError(f"{path}: row {number} is damaged: render it again")
        yield row


def _numbers(path: Path, index: int, cells: Sequence[str]) -> list[float]:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise MediaError(f"{path}: row {index + 1} holds what is no number: render it again")
    return values
