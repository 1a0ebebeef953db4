"""Face recognition with a user-supplied network of one of timm's architectures.

Crops align five points to the template of ArcFace, 112 px (Deng et al. 2019,
arXiv:1801.07698).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.downloads import require_file
from swapper.errors import EstimatorError
from swapper.faces.geometry import similarity_between, warp
from swapper.faces.recognition import COSINE, Picture, checked_crops, checked_landmarks
from swapper.files import one_line, sha256_of

if TYPE_CHECKING:
    import torch

SIDE: Final = 112
TEMPLATE: Final = np.array([
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
    (70.7299, 92.2041),
])  # fmt: skip
"""Eyes, nose and mouth corners in a crop, x y, the image's left first."""
_LARGEST: Final = 2 << 30
_OPTION: Final = "recogniser.weights"
_LOADING_ARGUMENTS: Final = {
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir",
}  # fmt: skip
"""Arguments with which timm would read other files, some of them pickles, or use the network."""


class TimmRecogniser:
    """Computes embeddings to compare by cosine similarity. Constructing loads nothing.

    Args:
        arch: Architecture of timm, such as vit_tiny_patch16_224.
        weights: Its safetensors file.
        arguments: Of ``timm.create_model``, such as img_size and num_classes; none that loads
            files.
        licence: Licence in one line; printed in the report.
        mean: Subtracted from pixels in [0, 1].
        std: Divisor of pixels after that.

    Raises:
        ValueError: `std` is not above 0, or an argument would load files.
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
        """Create the network and load its weights.

        Raises:
            EstimatorError: timm is missing, or the weights do not fit.
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
        """Return the network with weights from an untrusted file."""
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
                f"{path}: holds no weights of {self.arch} ({one_line(error)}); pass {_OPTION}= "
                "and recogniser.arguments that belong together"
            ) from error
        return net.eval().requires_grad_(False)

    def _create_network(self) -> torch.nn.Module:
        """Return timm's network without weights."""
        import torch

        try:
            import timm
        except ModuleNotFoundError as error:
            raise EstimatorError(
                f"recogniser={self.arch}: needs timm: pip install 'swapper[recogniser]'"
            ) from error
        if ":" in self.arch:  # timm would use the hub or a local folder's config
            raise EstimatorError(
                f"recogniser.arch={self.arch}: must be an architecture of timm's, such as "
                f"vit_tiny_patch16_224; fetch the file yourself and pass {_OPTION}=PATH"
            )
        try:
            # Initialisation must not change the run's random state.
            with torch.random.fork_rng(devices=()):
                net = timm.create_model(self.arch, pretrained=False, **self.arguments)
        except Exception as error:  # which, depends on the architecture
            raise EstimatorError(
                f"recogniser.arch={self.arch}: timm cannot make it with recogniser.arguments="
                f"{self.arguments} ({one_line(error)}); change one of them"
            ) from error
        return net

    def _width_of(self, net: torch.nn.Module, path: Path) -> int:
        """Return the embedding width; checked now rather than after an hour of clips."""
        import torch

        # A grey ramp: a valid network may return zeros for a blank image.
        ramp = torch.linspace(-1, 1, SIDE).expand(1, 3, SIDE, SIDE)
        try:
            with torch.inference_mode():
                answer = net(ramp)
        except Exception as error:  # which, depends on the architecture
            raise EstimatorError(
                f"recogniser.arch={self.arch}: takes no crop of {SIDE} px ({one_line(error)}); "
                "pass recogniser.arguments and weights that do"
            ) from error
        return int(self._vectors(answer, path).shape[1])

    def _vectors(self, answer: object, path: str | Path) -> torch.Tensor:
        """Normalise the network's output (N, D) to unit length."""
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
        """Crop a face to ArcFace's template, see `Recogniser.crop`: (112, 112, 3)."""
        return warp(image, similarity_between(five_points(landmarks), TEMPLATE), SIDE)

    def embed(self, crops: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Compute embeddings (N, D) of unit length, see `Recogniser.embed`.

        Raises:
            EstimatorError: As `prepare`, or the network returns no vectors.
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
        return np.concatenate(parts)


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (5, 2): eye centres, nose tip, mouth corners.

    Raises:
        ValueError: The landmarks are not (68, 2), not finite, or fall on one point.
    """
    points = checked_landmarks(landmarks)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])
