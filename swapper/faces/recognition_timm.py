"""Whose face is it? A face recognition network of the user's, told from timm's architectures.

Its crops are the field's: five points on the template of ArcFace, 112 px (Deng et al. 2019,
arXiv:1801.07698).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.downloads import require_file, sha256_of
from swapper.errors import EstimatorError
from swapper.faces.geometry import similarity_between, warp
from swapper.faces.recognition import COSINE, Picture, checked_crops, checked_landmarks

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
_LOADING_ARGUMENTS: Final = {
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
}
"""Arguments by which timm would read other files, some of them pickles, or ask the network."""


class TimmRecogniser:
    """Faces to embeddings whose cosine tells how alike two people are. Constructing loads nothing.

    Args:
        arch: Of timm, such as vit_tiny_patch16_224.
        weights: Its safetensors file, which the user fetched and may use.
        arguments: Of ``timm.create_model``, such as img_size and num_classes; none that loads.
        licence: By what right, in a line; told in the report.
        mean: Of pixels in [0, 1], taken off before the network.
        std: That they are divided by.

    Raises:
        ValueError: `std` is not above 0, or an argument would load something.
    """

    measure: Final = COSINE

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
        if loading := sorted(_LOADING_ARGUMENTS & set(arguments or {})):
            raise ValueError(f"arguments.{loading[0]}: loads other weights; pass {_OPTION}=PATH")
        self.arch = arch
        self.weights = weights
        self.arguments = dict(arguments or {})
        self.licence = licence
        self.mean = mean
        self.std = std
        self._net: torch.nn.Module | None = None
        self._digest = ""
        self._width = 0

    @property
    def name(self) -> str:
        """The architecture."""
        return self.arch

    @property
    def lineage(self) -> str:
        """Architecture and sha256 of the weights; known once `prepare` was called."""
        return f"{self.arch}:{self._digest}"

    def prepare(self, device: str | torch.device = "cpu") -> None:
        """Make the network and load its weights.

        Raises:
            EstimatorError: timm is missing, or the file does not fit.
        """
        import torch

        if self._net is None:
            path = require_file(self.weights, _OPTION, EstimatorError)
            net = self._load_network(path)
            self._width = self._width_of(net, path)
            self._digest = sha256_of(path)
            self._net = net
        self._net.to(torch.device(device))

    def _load_network(self, path: Path) -> torch.nn.Module:
        """The network with the weights of a file that may be hostile."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if path.suffix != ".safetensors":
            raise EstimatorError(
                f"{path}: only .safetensors is read; pass {_OPTION}= of such a file"
            )
        if path.stat().st_size > _LARGEST:
            raise EstimatorError(f"{path}: larger than 2 GiB, no face recognition network")
        net = self._create_network()
        try:
            net.load_state_dict(load_file(path), strict=True)
        except (RuntimeError, SafetensorError, OSError) as error:
            raise EstimatorError(
                f"{path}: holds no weights of {self.arch} ({_one_line(error)}); pass {_OPTION}= "
                "and recogniser.arguments that belong together"
            ) from error
        return net.eval().requires_grad_(False)

    def _create_network(self) -> torch.nn.Module:
        """The network as timm makes it."""
        import torch

        try:
            import timm
        except ModuleNotFoundError as error:
            raise EstimatorError(
                f"recogniser={self.arch}: needs timm: pip install 'swapper[recogniser]'"
            ) from error
        if ":" in self.arch:  # timm would ask the hub, or take a folder's word for the network
            raise EstimatorError(
                f"recogniser.arch={self.arch}: must be an architecture of timm's, such as "
                f"vit_tiny_patch16_224; fetch the file yourself and pass {_OPTION}=PATH"
            )
        try:
            # A run's own random numbers do not notice the ones a network starts with.
            with torch.random.fork_rng(devices=()):
                net: torch.nn.Module = timm.create_model(
                    self.arch, pretrained=False, **self.arguments
                )
        except Exception as error:  # which, depends on the architecture
            raise EstimatorError(
                f"recogniser.arch={self.arch}: timm cannot make it with recogniser.arguments="
                f"{self.arguments} ({_one_line(error)}); change one of them"
            ) from error
        return net

    def _width_of(self, net: torch.nn.Module, path: Path) -> int:
        """How many numbers it answers of a crop; asked now, not an hour into the clips."""
        import torch

        # A grey ramp, lest a blank face be all that a sound network answers with zeros.
        ramp = torch.linspace(-1, 1, SIDE).expand(1, 3, SIDE, SIDE)
        try:
            with torch.inference_mode():
                answer = net(ramp)
        except Exception as error:  # which, depends on the architecture
            raise EstimatorError(
                f"recogniser.arch={self.arch}: takes no crop of {SIDE} px ({_one_line(error)}); "
                "pass recogniser.arguments and weights that do"
            ) from error
        return int(self._vectors(answer, path).shape[1])

    def _vectors(self, answer: object, path: str | Path) -> torch.Tensor:
        """The network's answer (N, D), made of unit length."""
        import torch

        if not isinstance(answer, torch.Tensor) or answer.ndim != 2:
            raise EstimatorError(f"{path}: {self.arch} answers no vectors; pass another {_OPTION}=")
        lengths = torch.linalg.vector_norm(answer, dim=1, keepdim=True)
        if not (torch.isfinite(lengths) & (lengths > 0)).all():
            raise EstimatorError(
                f"{path}: {self.arch} answers with zeros or no numbers; pass another {_OPTION}="
            )
        unit: torch.Tensor = answer / lengths
        return unit

    def crop(self, image: Picture, landmarks: NDArray[np.floating]) -> Picture:
        """The face on ArcFace's template.

        Args:
            image: (H, W, 3) uint8 RGB.
            landmarks: (68, 2), x y in its pixels.

        Returns:
            (112, 112, 3) uint8 RGB; beyond the picture its edge pixels.

        Raises:
            ValueError: The landmarks are not (68, 2), not finite, or fall on one point.
        """
        return warp(image, similarity_between(five_points(landmarks), TEMPLATE), SIDE)

    def embed(self, crops: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embeddings of unit length.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB, from `crop`.
            batch_size: Crops a pass.

        Returns:
            (N, D); to rounding, a row does not depend on its batch.

        Raises:
            ValueError: `crops` is no such array.
            EstimatorError: As `prepare`, or the network answers no vectors.
        """
        crops = checked_crops(crops, SIDE)
        if self._net is None:
            self.prepare()
        import torch

        assert self._net is not None
        device = next(self._net.parameters()).device
        parts = [np.empty((0, self._width), np.float32)]
        with torch.inference_mode():
            for first in range(0, len(crops), batch_size):
                batch = torch.from_numpy(crops[first : first + batch_size]).to(device)
                faces = (batch.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
                parts.append(self._vectors(self._net(faces), self.weights).cpu().numpy())
        embeddings: NDArray[np.float32] = np.concatenate(parts)
        return embeddings


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) of 68: middles of the eyes, tip of the nose, corners of the mouth.

    Raises:
        ValueError: The landmarks are not (68, 2), not finite, or fall on one point.
    """
    points = checked_landmarks(landmarks)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
