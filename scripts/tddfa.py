"""3DDFA_V2 `mb05`, a landmark network independent of MediaPipe, FAN and OpenFace.

MobileNet v1 × 0.5 with the published layer names, read from a safetensors file. Its licence is MIT,
but its training set 300W-LP is for research only: measure with it, do not distribute it.

Source: Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment", 2020,
arXiv:2009.09960; https://github.com/cleardusk/3DDFA_V2.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from swapper.errors import EstimatorError
from swapper.faces.geometry import invert, transform_points, warp
from swapper.types import NUM_LANDMARKS

SIDE: Final = 120
"""Side of a crop in pixels."""
MARGIN: Final = math.sqrt(2)
"""Side of a crop over the longer side of its landmarks' box, as published."""
WEIGHTS: Final = "3ddfa_v2_mb05.safetensors"
_BLOCKS: Final = (
    ("dw2_1", 32, 64, 1), ("dw2_2", 64, 128, 2), ("dw3_1", 128, 128, 1), ("dw3_2", 128, 256, 2),
    ("dw4_1", 256, 256, 1), ("dw4_2", 256, 512, 2),
    *((f"dw5_{i}", 512, 512, 1) for i in range(1, 6)),
    ("dw5_6", 512, 1024, 2), ("dw6", 1024, 1024, 1),
)  # fmt: skip
"""Name, channels in and out at full width, stride."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Block(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with BatchNorm and ReLU.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        stride: Of the 3x3.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride), rounded up."""
        x = F.relu(self.bn_dw(self.conv_dw(x)))
        return F.relu(self.bn_sep(self.conv_sep(x)))


class MobileNet(nn.Module):
    """MobileNet v1 with one head for 62 parameters and one for 68 landmarks.

    Args:
        width: Share of the published channels.
    """

    def __init__(self, width: float = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, int(32 * width), 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(int(32 * width))
        for name, inputs, outputs, stride in _BLOCKS:
            self.add_module(name, Block(int(inputs * width), int(outputs * width), stride))
        features = int(1024 * width)
        self.fc_param = nn.Linear(features, 62)
        self.fc_lm = nn.Linear(features, 2 * NUM_LANDMARKS)
        self.register_buffer("param_mean", torch.zeros(62))
        self.register_buffer("param_std", torch.ones(62))

    def forward(self, x: Tensor) -> Tensor:
        """Landmarks (N, 68, 2), x y in pixels of the crop, of BGR (N, 3, 120, 120) in [-1, 1]."""
        x = F.relu(self.bn1(self.conv1(x)))
        for name, *_ in _BLOCKS:
            x = self.get_submodule(name)(x)
        coordinates = self.fc_lm(x.mean(dim=(2, 3))).unflatten(1, (2, NUM_LANDMARKS))
        return SIDE / 2 * (1 + coordinates.mT)


class Tddfa:
    """Estimates landmarks given rough landmarks.

    Args:
        weights: The safetensors file.

    Raises:
        EstimatorError: It is missing, or does not hold this network.
    """

    def __init__(self, weights: Path) -> None:
        if not weights.is_file():
            raise EstimatorError(
                f"{weights}: no such file; pass --weights DIR that holds {WEIGHTS}"
            )
        net = MobileNet()
        try:
            state = load_file(weights)
            # Published files lack BatchNorm's batch counters, which are unused.
            counters = {k: v for k, v in net.state_dict().items() if k.endswith("batches_tracked")}
            net.load_state_dict({**counters, **state})
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise EstimatorError(
                f"{weights}: does not hold 3DDFA_V2 mb05 ({reason}); pass --weights DIR with "
                f"{WEIGHTS}"
            ) from error
        self.net = net.eval().requires_grad_(False)

    def read(self, frames: list[Picture], rough: NDArray[np.floating], passes: int = 2) -> Floats:
        """Estimate landmarks.

        Args:
            frames: T pictures (H, W, 3), RGB.
            rough: (T, 68, 2), x y in frame pixels; only the first crop depends on them. Rows that
                are not finite have no face.
            passes: Number of crops; from the second on by the estimated landmarks.

        Returns:
            (T, 68, 2), x y in frame pixels, iBUG order; NaN where there is no face.
        """
        landmarks = rough.astype(np.float64).copy()
        valid = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
        landmarks[np.setdiff1d(np.arange(len(landmarks)), valid)] = np.nan
        if not len(valid):
            return landmarks
        for _ in range(passes):
            crop_from_frame = [crop_matrix(landmarks[t]) for t in valid]
            crops = np.stack(
                [warp(frames[t], m, SIDE) for t, m in zip(valid, crop_from_frame, strict=True)]
            )
            points = self._points(crops)
            for t, matrix, crop in zip(valid, crop_from_frame, points, strict=True):
                landmarks[t] = transform_points(invert(matrix), crop)
        return landmarks

    @torch.inference_mode()
    def _points(self, crops: Picture) -> Floats:
        """Return landmarks (N, 68, 2) in pixels of RGB crops (N, 120, 120, 3)."""
        bgr = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).permute(0, 3, 1, 2)
        points: Floats = self.net((bgr.float() - 127.5) / 128).double().numpy()
        return points


def crop_matrix(landmarks: NDArray[np.floating], margin: float = MARGIN) -> Floats:
    """Return crop_from_frame (2, 3): the square around the box of landmarks (68, 2), to 120 px."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    scale = SIDE / max(float((high - low).max()) * margin, 1e-6)
    # The square's left edge is the crop's -0.5 in a picture whose pixel centres are at integers.
    offset = (SIDE - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
