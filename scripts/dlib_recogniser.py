"""dlib's face recogniser: 128-d embeddings, compared by Euclidean distance.

    pip install dlib-bin face-recognition-models

The recognition network is CC0. The landmark networks in the same package are not used: their data
was for non-commercial use, and landmarks are given.

Source: D. King, "High Quality Face Recognition with Deep Metric Learning", 2017,
http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.files import sha256_of
from swapper.types import NUM_LANDMARKS

WIDTH: Final = 128
_PACKAGE: Final = "face_recognition_models"
_FILE: Final = "dlib_face_recognition_resnet_model_v1.dat"
_CURE: Final = "pip install dlib-bin face-recognition-models"

Floats = NDArray[np.float64]


class DlibRecogniser:
    """Computes face embeddings; distances below about 0.6 mean the same person.

    Raises:
        EstimatorError: dlib or its network is missing or damaged.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise EstimatorError(f"dlib: cannot be loaded ({error}); {_CURE}") from error
        path = _weights()
        self._dlib: Any = dlib
        try:
            self._net: Any = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise EstimatorError(f"{path}: is not a dlib network; reinstall: {_CURE}") from error
        self.fingerprint: str = sha256_of(path)
        """Hex sha256 of the weights."""

    def embed(self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> Floats:
        """Compute the embedding (128,) of one face; about 0.13 s on one core.

        Args:
            image: (H, W, 3), RGB.
            landmarks: (68, 2), x y in its pixels, finite.
        """
        assert landmarks.shape == (NUM_LANDMARKS, 2)
        points = [self._dlib.point(int(x), int(y)) for x, y in np.rint(landmarks)]
        box = self._dlib.rectangle(
            *(int(each) for each in (*landmarks.min(axis=0), *landmarks.max(axis=0)))
        )
        shape = self._dlib.full_object_detection(box, self._dlib.points(points))
        return np.array(self._net.compute_face_descriptor(image, shape))


def _weights() -> Path:
    # The package imports pkg_resources, which setuptools removed: only its files are used.
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / _FILE
        if path.is_file():
            return path
    raise EstimatorError(f"{_FILE}: not found; {_CURE}")


def distances(embeddings: Floats, of: Floats) -> Floats:
    """Return (N,) Euclidean distance of each of (N, 128) to the mean of (M, 128).

    NaN where a row is NaN; such rows are excluded from the mean.
    """
    valid = of[np.isfinite(of).all(axis=1)]
    if not len(valid):
        return np.full(len(embeddings), np.nan)
    far: Floats = np.linalg.norm(embeddings - valid.mean(axis=0), axis=1)
    return far
