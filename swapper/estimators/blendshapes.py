"""``affect=mediapipe``: the landmark and blendshape networks of MediaPipe's face landmarker.

Google's ``face_landmarker.task`` (Apache-2.0), the file of ``aligner=mediapipe``, run in torch: 478
points and 52 blendshapes of an aligned crop. It reads no emotion classes; the blendshapes that
respond to faces are the embedding, and those that correspond to action units are the units.

The official pipeline cuts a rotated square around the points it tracks; here the crop's window is
fixed. A ``face`` crop shows less than the networks are used to and its border is repeated. Against
the official scores of four real clips the responding scores then correlate by .74 to .95, and are
.73 to 1 times as strong (docs/affect.md).
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from swapper.downloads import FACE_LANDMARKER_SHA256, FACE_LANDMARKER_URL, face_landmarker
from swapper.errors import EstimatorError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.tflite_graph import TfliteGraph
from swapper.files import sha256_of

SIZE: Final = 256
NUM_POINTS: Final = 478
BLENDSHAPES: Final = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""Names in the order of the network's outputs, as ``face_blendshapes_graph.cc`` lists them."""
DEAD: Final = frozenset({
    "_neutral", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "jawForward", "noseSneerLeft",
    "noseSneerRight",
})  # fmt: skip
"""Blendshapes that hardly ever leave 0."""
EMBEDDED: Final = tuple(name for name in BLENDSHAPES if name not in DEAD)
"""Blendshapes of the embedding, in its order."""
UNITS: Final[dict[int, tuple[str, ...]]] = {
    1: ("browInnerUp",),
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    5: ("eyeWideLeft", "eyeWideRight"),
    7: ("eyeSquintLeft", "eyeSquintRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    14: ("mouthDimpleLeft", "mouthDimpleRight"),
    15: ("mouthFrownLeft", "mouthFrownRight"),
    16: ("mouthLowerDownLeft", "mouthLowerDownRight"),
    17: ("mouthShrugLower",),
    18: ("mouthPucker",),
    20: ("mouthStretchLeft", "mouthStretchRight"),
    22: ("mouthFunnel",),
    24: ("mouthPressLeft", "mouthPressRight"),
    26: ("jawOpen",),
    43: ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""Action units and the blendshapes, left before right, that correspond to them."""
# Mesh points that the blendshape network takes: kLandmarksSubsetIdxs of face_blendshapes_graph.cc.
_POINTS: Final = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip
# Of the windows tried on four real clips the one whose scores follow the official ones best.
_WINDOW_MM: Final = (-125.0, -95.0, 125.0, 155.0)


class BlendshapeNet(nn.Module):
    """Landmark network, then blendshape network, of ``face_landmarker.task``, its hash checked."""

    def __init__(self, task: bytes) -> None:
        super().__init__()
        with zipfile.ZipFile(BytesIO(task)) as archive:
            self.landmarks = TfliteGraph(archive.read("face_landmarks_detector.tflite"))
            self.blendshapes = TfliteGraph(archive.read("face_blendshapes.tflite"))
        index = {name: column for column, name in enumerate(BLENDSHAPES)}
        self._points = list(_POINTS)
        self._embedded = [index[name] for name in EMBEDDED]
        self._left = [index[names[0]] for names in UNITS.values()]
        self._right = [index[names[-1]] for names in UNITS.values()]

    def points(self, x: Tensor) -> Tensor:
        """Mesh points (N, 478, 3) in pixels of the input (N, 3, 256, 256), RGB in [0, 1]."""
        points: Tensor = self.landmarks(x.permute(0, 2, 3, 1))
        return points.reshape(len(x), NUM_POINTS, 3)

    def scores(self, points: Tensor) -> Tensor:
        """Blendshapes (N, 52) in [0, 1] of mesh points (N, 478, 2 or 3); scale does not matter."""
        scores: Tensor = self.blendshapes(points[:, self._points, :2])
        return scores

    def forward(self, x: Tensor) -> AffectBatch:
        """Predict from (N, 3, 256, 256) RGB in [0, 1]."""
        scores = self.scores(self.points(x))
        left, right = scores[:, self._left], scores[:, self._right]
        return AffectBatch(
            embedding=scores[:, self._embedded], units=(left + right) / 2, asymmetry=left - right
        )


def view() -> Preprocess:
    """The face with forehead and chin; MediaPipe counts pixels from the corner, half of one off."""
    left, top, right, bottom = _WINDOW_MM
    half = 0.5 * (right - left) / SIZE
    window = Window(left - half, top - half, right - half, bottom - half)
    return Preprocess(window, (SIZE, SIZE), (0.0,) * 3, (1.0,) * 3)


def load(weights: str | Path | None = None) -> Estimator:
    """Load the estimator.

    Args:
        weights: ``face_landmarker.task``; None takes the one in ``$SWAPPER_HOME/weights``, or
            downloads it once.

    Raises:
        EstimatorError: The file is missing or another version, or tflite is not installed.
    """
    path = face_landmarker(weights, "affect.weights", EstimatorError)
    # Before anything is parsed: the order of points and scores holds for this version alone.
    if sha256_of(path) != FACE_LANDMARKER_SHA256:
        raise EstimatorError(
            f"{path}: is not the face_landmarker.task with sha256 {FACE_LANDMARKER_SHA256[:8]}...: "
            f"download {FACE_LANDMARKER_URL} and pass affect.weights=PATH"
        )
    net = BlendshapeNet(path.read_bytes())
    return Estimator("mediapipe", view(), net, units=tuple(UNITS))
