"""Whose face is it? A face recognition network of the user's, told from timm's architectures.

Its crops are the field's: five points on the template of ArcFace, 112 px (Deng et al. 2019,
arXiv:1801.07698).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.downloads import existing
from swapper.errors import EstimatorError
from swapper.faces.geometry import similarity_between, warp

if TYPE_CHECKING:
    import torch

SIDE: Final = 112
TEMPLATE: Final = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""Eyes, nose and corners of the mouth in a crop, x y, the picture's left first."""
_LARGEST: Final = 2 << 30
_OPTION: Final = "recogniser.weights"

Picture = NDArray[np.uint8]


class Recogniser:
    """Faces to embeddings whose cosine tells how alike two people are. Constructing loads nothing.

    Args:
        arch: Of timm, such as vit_tiny_patch16_224.
        weights: Its safetensors file, which the user fetched and may use.
        arguments: Of ``timm.create_model``, such as img_size and num_classes.
        licence: By what right, in a line; told in the report.
        mean: Of pixels in [0, 1], taken off before the network.
        std: That they are divided by.
    """

    def __init__(
        self,
        arch: str,
        weights: str,
        arguments: Mapping[str, Any] | None = None,
        licence: str = "not stated",
        mean: float = 0.5,
        std: float = 0.5,
    ) -> None:
        if not std > 0:
            raise ValueError(f"std must be above 0, got {std}")
        self.arch = arch
        self.weights = weights
        self.arguments = dict(arguments or {})
        self.licence = licence
        self.mean = mean
        self.std = std
        self._net: torch.nn.Module | None = None
        self._digest = ""

    @property
    def lineage(self) -> str:
        """Architecture and sha256 of the weights; known once `prepare` was called."""
        return f"{self.arch}:{self._digest}"

    def prepare(self, device: str | torch.device = "cpu") -> None:
        """Make the network and load its weights.

        Raises:
            EstimatorError: timm is missing, or the file does not fit.
        """
        if self._net is not None:
            return
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            import timm
        except ModuleNotFoundError as error:
            raise EstimatorError(
                f"recogniser={self.arch}: needs timm: pip install 'swapper[recogniser]'"
            ) from error
        path = existing(self.weights, _OPTION, EstimatorError)
        if path.stat().st_size > _LARGEST:
            raise EstimatorError(f"{path}: larger than 2 GiB, no face recognition network")
        try:
            net = timm.create_model(self.arch, pretrained=False, **self.arguments)
        except (RuntimeError, TypeError, ValueError) as error:
            raise EstimatorError(
                f"recogniser.arch={self.arch}: timm cannot make it: {str(error)[:160]}"
            ) from error
        try:
            net.load_state_dict(load_file(path), strict=True)
        except (RuntimeError, SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise EstimatorError(
                f"{path}: holds no weights of {self.arch} ({reason}); pass {_OPTION}= and "
                "recogniser.arguments that belong together"
            ) from error
        self._digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        self._net = net.eval().requires_grad_(False).to(torch.device(device))

    def embed(self, crops: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embeddings of unit length.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB, from `crop_of`.
            batch_size: Crops a pass.

        Returns:
            (N, D).

        Raises:
            ValueError: `crops` is no such array.
            EstimatorError: As `prepare`, or the network answers no vectors.
        """
        if crops.ndim != 4 or crops.shape[1:] != (SIDE, SIDE, 3) or crops.dtype != np.uint8:
            raise ValueError(
                f"crops must be uint8 (N, {SIDE}, {SIDE}, 3), got {crops.dtype} {crops.shape}"
            )
        self.prepare()
        import torch

        assert self._net is not None
        device = next(self._net.parameters()).device
        found = []
        with torch.inference_mode():
            for first in range(0, len(crops), batch_size):
                some = torch.from_numpy(crops[first : first + batch_size]).to(device)
                faces = (some.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
                answer = self._net(faces)
                if answer.ndim != 2 or not torch.isfinite(answer).all():
                    raise EstimatorError(f"{self.weights}: {self.arch} answers no embeddings")
                found.append(torch.nn.functional.normalize(answer, dim=1).cpu().numpy())
        embeddings: NDArray[np.float32] = np.concatenate(found)
        return embeddings


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) of 68: middles of the eyes, tip of the nose, corners of the mouth."""
    points = landmarks.astype(np.float64)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def crop_of(image: Picture, landmarks: NDArray[np.floating]) -> Picture:
    """The face on ArcFace's template.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (68, 2), x y in its pixels.

    Returns:
        (112, 112, 3) uint8.
    """
    return warp(image, similarity_between(five_points(landmarks), TEMPLATE), SIDE)


def likeness(embeddings: NDArray[np.floating], of: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) cosine of each of (N, D) with the mean of (M, D); NaN where a row is NaN."""
    middle = of.astype(np.float64).mean(axis=0)
    cosines: NDArray[np.float64] = embeddings @ (middle / max(float(np.linalg.norm(middle)), 1e-12))
    return cosines
