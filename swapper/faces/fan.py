"""Aligner with the face-alignment package: a face detector and the FAN landmark network.

The package downloads weights into torch's hub folder; the hash in their names is checked where
there is one. They are torch pickles: all are loaded with ``weights_only=True``, which executes no
code. For this reason projected 3D landmarks are computed without the package's depth network, whose
loader unpickles anything; x and y are identical.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from swapper.downloads import require_file
from swapper.errors import AlignerError
from swapper.faces.aligner import FrameLike, valid_faces
from swapper.types import Face

Detector = Literal["sfd", "blazeface", "retinaface", "scrfd", "yunet"]
Landmarks = Literal["2d", "3d"]

# Name of the confidence threshold of each detector of the package.
_THRESHOLD: Final[dict[str, str]] = {
    "sfd": "filter_threshold",
    "blazeface": "min_score_thresh",
    "retinaface": "confidence_threshold",
    "scrfd": "confidence_threshold",
    "yunet": "score_threshold",
}
_NETWORK: Final = {"2d": "2DFAN-4", "3d": "3DFAN-4"}
# The package crops 200 pixels' worth around a box; smaller boxes round to an empty crop.
_SMALLEST_BOX_PX: Final = 4.0
_FIX: Final = (
    "pass aligner.detector_weights=PATH and aligner.landmark_weights=PATH, or connect once so that "
    "face-alignment can fetch them"
)


class FanAligner:
    """Detector and landmark network of the face-alignment package.

    Args:
        detector: One of the package's detectors.
        landmarks: "2d" follows the visible contour; "3d" the projected true one, better near
            profile.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the GPU if there is one.
        detector_weights: Path instead of the package's download.
        detector_anchors: Path of blazeface's anchors (.npy), which belong to its weights.
        landmark_weights: Path of FAN weights instead of the package's download.
        min_confidence: Of the detector, in [0, 1].
        detection_size: Longest side of the detector's input in pixels; larger frames are
            downscaled, which bounds time and memory. 0 for full resolution.
        detector_options: Passed to the package's detector, e.g. ``back_model: true``.
    """

    name = "fan"
    expected_frames: int | None = None

    def __init__(
        self,
        detector: Detector = "sfd",
        landmarks: Landmarks = "2d",
        device: str = "auto",
        detector_weights: str | None = None,
        detector_anchors: str | None = None,
        landmark_weights: str | None = None,
        min_confidence: float = 0.5,
        detection_size: int = 1280,
        detector_options: Mapping[str, Any] | None = None,
    ) -> None:
        _one_of("detector", detector, get_args(Detector))
        _one_of("landmarks", landmarks, get_args(Landmarks))
        if not 0.0 <= min_confidence <= 1.0:
            raise AlignerError(f"aligner.min_confidence={min_confidence}: must lie between 0 and 1")
        if detection_size < 0:
            raise AlignerError(f"aligner.detection_size={detection_size}: must be at least 0")
        if detector == "blazeface" and (detector_weights is None) != (detector_anchors is None):
            raise AlignerError(
                "aligner.detector=blazeface: its weights and anchors belong together: pass both "
                "aligner.detector_weights=PATH and aligner.detector_anchors=PATH, or neither"
            )
        self.detector = detector
        self.landmarks = landmarks
        self.device = device
        self.min_confidence = min_confidence
        self.detection_size = detection_size
        self._weights = _Weights(
            detector_weights, detector_anchors, landmark_weights, dict(detector_options or {})
        )
        self._networks: Any = None

    @property
    def fingerprint(self) -> str:
        """Name and settings that change the landmarks."""
        limits = f"min_confidence={self.min_confidence:g}", f"detection_size={self.detection_size}"
        parts = self.detector, self.landmarks, *limits, *self._weights.describe()
        return f"fan({', '.join(parts)})"

    def prepare(self) -> None:
        """Load both networks; download missing weights.

        Raises:
            AlignerError: Weights are unavailable or do not fit, or a package is missing.
        """
        if self._networks is None:
            device = _device(self.device)
            self._networks = _load(
                self.detector, self.landmarks, device, self.min_confidence, self._weights
            )

    def __call__(self, frame: FrameLike) -> list[Face]:
        """Faces of the frame, largest first."""
        self.prepare()
        image = frame.image
        height, width = image.shape[:2]
        boxes = self._boxes(image)
        if not boxes:
            return []
        landmarks = self._networks.get_landmarks_from_image(image, detected_faces=boxes)
        return valid_faces(
            ((points[:, :2], box[4]) for points, box in zip(landmarks, boxes, strict=True)),
            (width, height),
        )

    def finish(self, num_frames: int) -> None:
        """Do nothing: the aligner fits any clip."""

    def close(self) -> None:
        """Release the networks; they are loaded again when needed."""
        self._networks = None

    def _boxes(self, image: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Return left, top, right, bottom, confidence of each face, in frame pixels."""
        height, width = image.shape[:2]
        shrink = 1.0
        detector_image = image.copy()  # the package's detectors may write to their input
        if 0 < self.detection_size < max(height, width):
            shrink = self.detection_size / max(height, width)
            extent = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            shrunk = cv2.resize(image, extent, interpolation=cv2.INTER_AREA)
            detector_image = np.asarray(shrunk, dtype=np.uint8)
        with torch.inference_mode():
            detections = self._networks.face_detector.detect_from_image(detector_image)
        boxes = []
        for raw in detections:
            box = np.asarray(raw, dtype=np.float64).ravel()
            if box.size < 5 or not np.isfinite(box).all() or box[4] < self.min_confidence:
                continue
            box = np.append(box[:4] / shrink, box[4])
            inside = box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0
            if inside and min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_BOX_PX:
                boxes.append(box)
        return boxes


@dataclass(frozen=True)
class _Weights:
    detector: str | None
    anchors: str | None
    landmarks: str | None
    options: dict[str, Any]

    def describe(self) -> list[str]:
        paths = {"detector_weights": self.detector, "landmark_weights": self.landmarks}
        parts = [f"{name}={Path(path).name}" for name, path in paths.items() if path]
        return parts + [f"{name}={value}" for name, value in sorted(self.options.items())]


def _one_of(option: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise AlignerError(f"aligner.{option}={value}: must be one of {', '.join(legal)}")


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.split(":")[0]
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in usable:
        raise AlignerError(f"aligner.device={name}: must be one of auto, {', '.join(usable)}")
    if not usable[kind]:
        raise AlignerError(f"aligner.device={name}: this machine has none: pass aligner.device=cpu")
    return name


def _load(
    detector: str, landmarks: str, device: str, min_confidence: float, weights: _Weights
) -> Any:
    """Create the package's FaceAlignment object; pickles are loaded without executing code."""
    import face_alignment

    options = {**weights.options, _THRESHOLD[detector]: min_confidence}
    kind = face_alignment.LandmarksType
    try:
        options |= _detector_paths(detector, weights)
        return _alignment_class(weights.landmarks)(
            kind.TWO_D if landmarks == "2d" else kind.TWO_HALF_D,
            device=device,
            face_detector=detector,
            face_detector_kwargs=options,
            compile=False,  # a minute's compilation, and a cache that unpickles
        )
    except AlignerError:
        raise
    # torch, numpy, onnxruntime and OpenCV may raise anything on untrusted files.
    except Exception as error:
        networks = f"{detector} or {_NETWORK[landmarks]}"
        raise AlignerError(_failure_message(error, detector, networks, weights)) from error


def _failure_message(error: Exception, detector: str, networks: str, weights: _Weights) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
    if isinstance(error, ImportError):
        return (
            f"aligner.detector={detector} needs the package {error.name or 'onnxruntime'}: "
            "install it, or choose another detector"
        )
    if isinstance(error, (urllib.error.URLError, ConnectionError, TimeoutError)):
        return f"aligner=fan: weights of {networks} could not be fetched ({reason}): {_FIX}"
    if isinstance(error, TypeError) and weights.options:
        return f"aligner.detector_options={weights.options}: unfit for {detector} ({reason})"
    paths = [path for path in (weights.detector, weights.anchors, weights.landmarks) if path]
    names = ", ".join(paths) or "in torch's hub folder"
    return f"aligner=fan: weights {names} do not fit {networks} ({reason}): {_FIX}"


def _detector_paths(detector: str, weights: _Weights) -> dict[str, str]:
    """Return the detector's weight files, downloaded here if the package would unpickle freely."""
    from face_alignment.utils import load_file_from_url

    given = {
        "path_to_detector": (weights.detector, "aligner.detector_weights"),
        "path_to_anchor": (weights.anchors, "aligner.detector_anchors"),
    }
    paths = {
        name: str(require_file(path, option, AlignerError))
        for name, (path, option) in given.items()
        if path is not None
    }
    if paths:
        return paths
    if detector == "sfd":
        from face_alignment.detection.sfd.sfd_detector import models_urls

        return {"path_to_detector": load_file_from_url(models_urls["s3fd"], check_hash=True)}
    if detector == "blazeface":
        from face_alignment.detection.blazeface.blazeface_detector import models_urls

        part = "blazeface_back" if weights.options.get("back_model") else "blazeface"
        return {
            "path_to_detector": load_file_from_url(models_urls[f"{part}_weights"]),
            "path_to_anchor": load_file_from_url(models_urls[f"{part}_anchors"]),
        }
    return {}


def _alignment_class(landmark_weights: str | None) -> Any:
    """Return a FaceAlignment class that loads its landmark network safely."""
    from face_alignment import FaceAlignment
    from face_alignment.api import models_urls
    from face_alignment.models import FAN
    from face_alignment.utils import load_file_from_url

    class Alignment(FaceAlignment):  # type: ignore[misc]  # the package has no types
        def _load_native(
            self, network_name: str, network_size: int, device: str, dtype: torch.dtype
        ) -> torch.nn.Module:
            path = (
                require_file(landmark_weights, "aligner.landmark_weights", AlignerError)
                if landmark_weights is not None
                else load_file_from_url(models_urls[network_name], check_hash=True)
            )
            network: torch.nn.Module = FAN(network_size)
            network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
            return network.to(device, dtype=dtype).eval()

    return Alignment
