"""Aligner with Google's MediaPipe face landmarker, an optional extra."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.downloads import FACE_LANDMARKER_SHA256, face_landmarker
from swapper.errors import AlignerError
from swapper.faces.aligner import FrameLike, valid_faces
from swapper.types import Face

# Mesh points (of 478) of the 68 landmarks, iBUG order: jaw, brows, nose, eyes, lips.
MESH_OF_LANDMARK: Final = np.array([
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
])  # fmt: skip
# The tracker filters by increasing timestamps in ms; the frame rate is not known here.
_FRAME_MS: Final = 33


class MediapipeAligner:
    """Finds 478 mesh points and 52 blendshapes per face and derives the 68 landmarks.

    In video mode the landmarker tracks faces between frames, which is faster and steadier; tracking
    restarts where frames are not consecutive or change size.

    Args:
        model: Path of ``face_landmarker.task``; None downloads the published file once.
        min_confidence: Of detection, presence and tracking, in [0, 1].
        max_faces: Maximum number of faces per frame. With 1 the landmarker filters landmarks over
            time, which halves their jitter; with more it does not.
        video: False for unrelated images.
    """

    name = "mediapipe"
    expected_frames: int | None = None

    def __init__(
        self,
        model: str | None = None,
        min_confidence: float = 0.5,
        max_faces: int = 1,
        video: bool = True,
    ) -> None:
        if not 0.0 <= min_confidence <= 1.0:
            raise AlignerError(f"aligner.min_confidence={min_confidence}: must lie between 0 and 1")
        if max_faces < 1:
            raise AlignerError(f"aligner.max_faces={max_faces}: must be at least 1")
        self.model = model
        self.min_confidence = min_confidence
        self.max_faces = max_faces
        self.video = video
        self._path: Path | None = None
        self._landmarker: Any = None
        self._last: tuple[int, tuple[int, ...]] | None = None
        self._time_ms = 0

    @property
    def fingerprint(self) -> str:
        """Name and settings."""
        model = Path(self.model).name if self.model else FACE_LANDMARKER_SHA256[:12]
        return (
            f"mediapipe(model={model}, min_confidence={self.min_confidence:g}, "
            f"max_faces={self.max_faces}, video={self.video})"
        )

    def prepare(self) -> None:
        """Load the package and the model.

        Raises:
            AlignerError: The package, a system library or the model is missing or unusable.
        """
        if self._landmarker is not None:
            return
        if self._path is None:
            self._path = face_landmarker(self.model, "aligner.model", AlignerError)
        _ignore_sigprof()
        with _quiet():
            self._landmarker = self._create_landmarker(self._path)

    def __call__(self, frame: FrameLike) -> list[Face]:
        """Faces of the frame, largest first."""
        image = np.ascontiguousarray(frame.image)
        here = (frame.index, image.shape)
        if self._last is not None and (
            not 0 < frame.index - self._last[0] <= 10 or image.shape != self._last[1]
        ):
            self._restart()
        self.prepare()
        first, self._last = self._last is None, here
        self._time_ms += _FRAME_MS
        # Its graph starts lazily and logs to stderr while doing so.
        with _quiet() if first else contextlib.nullcontext():
            result = self._detect(image)
        height, width = image.shape[:2]
        # x * width is the index of a pixel in this package, not its left edge: in an image with
        # doubled pixels the points move by a quarter, as expected with centres at integers.
        meshes = [_mesh(points, width, height) for points in result.face_landmarks]
        blendshapes = [
            {each.category_name: each.score for each in face} for face in result.face_blendshapes
        ]
        return valid_faces(
            ((mesh[MESH_OF_LANDMARK, :2], 1.0) for mesh in meshes),
            (width, height),
            meshes,
            blendshapes,
        )

    def finish(self, num_frames: int) -> None:
        """Reset tracking; the aligner fits any clip."""
        self._restart()

    def close(self) -> None:
        """Free the landmarker; it is created again when needed."""
        self._restart()

    def _restart(self) -> None:
        if self._landmarker is not None:
            with _quiet():
                self._landmarker.close()
        self._landmarker, self._last, self._time_ms = None, None, 0

    def _detect(self, image: NDArray[np.uint8]) -> Any:
        import mediapipe

        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        if self.video:
            return self._landmarker.detect_for_video(picture, self._time_ms)
        return self._landmarker.detect(picture)

    def _create_landmarker(self, path: Path) -> Any:
        base, vision = _package()
        mode = vision.RunningMode.VIDEO if self.video else vision.RunningMode.IMAGE
        try:
            return vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    base_options=base(model_asset_path=str(path)),
                    running_mode=mode,
                    num_faces=self.max_faces,
                    output_face_blendshapes=True,
                    min_face_detection_confidence=self.min_confidence,
                    min_face_presence_confidence=self.min_confidence,
                    min_tracking_confidence=self.min_confidence,
                )
            )
        except OSError as error:
            raise _missing_library(error) from error
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0][:160]
            raise AlignerError(
                f"{path}: is no face landmarker model ({reason}): pass "
                "aligner.model=PATH of face_landmarker.task"
            ) from error


def _package() -> tuple[Any, Any]:
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ModuleNotFoundError as error:
        raise AlignerError(
            f"aligner=mediapipe needs the package {error.name}: pip install 'swapper[mediapipe]'"
        ) from error
    except (ImportError, OSError) as error:
        raise _missing_library(error) from error
    return BaseOptions, vision


def _missing_library(error: Exception) -> AlignerError:
    return AlignerError(
        f"aligner=mediapipe: a system library is missing ({str(error).splitlines()[0][:160]}): "
        "apt-get install libegl1 libgles2"
    )


def _mesh(points: Any, width: int, height: int) -> NDArray[np.float32]:
    """Return (478, 3) in pixels; the package gives z on the scale of x."""
    table = [(point.x * width, point.y * height, point.z * width) for point in points]
    return np.array(table, np.float32)


def _ignore_sigprof() -> None:
    """Ignore stray SIGPROF signals, which would terminate the process.

    The package's native code sets profiling timers and a handler that Python does not know of. Code
    that restores Python's handlers, as Lightning does after training, would restore the default,
    which is to terminate.
    """
    kind = getattr(signal, "SIGPROF", None)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and kind is not None and signal.getsignal(kind) is signal.SIG_DFL:
        signal.signal(kind, signal.SIG_IGN)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress output of native code to standard error, which logging cannot filter."""
    sys.stderr.flush()
    try:
        saved_fd = os.dup(2)
    except OSError:  # a process without standard error has nothing to silence
        yield
        return
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved_fd, 2)
        os.close(saved_fd)
