"""Swap the faces of one frame and composite them into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swapper.faces.compositing import Frames
from swapper.faces.geometry import resized, transform_points, warp
from swapper.inference.affect_conditioner import AffectConditioner
from swapper.inference.paste import paste
from swapper.inference.region_warp import RegionWarp
from swapper.media.video_reader import Frame
from swapper.models.model_file import LoadedModel
from swapper.options.groups import BlendOptions
from swapper.types import Face

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class AlignedFace:
    """A face to be swapped, with its crops.

    Attributes:
        face: With landmarks in frame pixels.
        aligned_from_frame: (2, 3).
        aligned: (R, R, 3) uint8 crop.
        network_input: The same, with the expression changed by the region dials, if any.
        affect_crop: (A, A, 3) uint8 crop for the estimator; None without conditioning.
    """

    face: Face
    aligned_from_frame: Matrix
    aligned: Picture
    network_input: Picture
    affect_crop: Picture | None = None


class FaceSwapper:
    """Swaps aligned faces with one model and identity.

    Args:
        model: Loaded, on `device`.
        identity: Whose face appears.
        blend: Compositing options.
        device: Where the network runs.
        precision: "auto", "bf16", "16" or "32".
        conditioner: Reads the performer's affect for a model that is conditioned on it.
        region_warp: Changes the expression of the crops by region; None leaves them.
    """

    def __init__(
        self,
        model: LoadedModel,
        identity: str,
        blend: BlendOptions,
        device: torch.device,
        precision: str = "auto",
        conditioner: AffectConditioner | None = None,
        region_warp: RegionWarp | None = None,
    ) -> None:
        self.model = model
        self.identity = identity
        self.blend = blend
        self.conditioner = conditioner
        self.region_warp = region_warp
        self.device = device
        if precision == "auto":
            precision = "bf16" if device.type == "cuda" else "32"
        self.dtype = {"bf16": torch.bfloat16, "16": torch.float16, "32": torch.float32}[precision]
        self.size = model.net.resolution

    def crop(self, frame: Frame, face: Face, aligned_from_frame: Matrix) -> AlignedFace:
        """Cut the network's input, and the estimator's, out of the frame."""
        aligned = warp(frame.image, aligned_from_frame, self.size)
        network_input = self._warped(aligned, face, aligned_from_frame)
        affect_crop = None
        if self.conditioner is not None:
            side = self.conditioner.side
            affect_from_frame = resized(aligned_from_frame, self.size, side)
            cut = warp(frame.image, affect_from_frame, side)
            affect_crop = self._warped(cut, face, affect_from_frame)
        return AlignedFace(face, aligned_from_frame, aligned, network_input, affect_crop)

    def _warped(self, crop: Picture, face: Face, aligned_from_frame: Matrix) -> Picture:
        if self.region_warp is None:
            return crop
        landmarks = transform_points(aligned_from_frame, face.landmarks)
        mesh = None
        if face.mesh is not None:
            mesh = transform_points(aligned_from_frame, face.mesh[:, :2])
        return self.region_warp(crop, landmarks, self.model.card.coverage, mesh)

    @torch.inference_mode()
    def swap(
        self, placed: list[AlignedFace]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Swap faces.

        Args:
            placed: From `crop`; may be empty.

        Returns:
            For each, colours (R, R, 3) and mask (R, R), float32 in [0, 1].
        """
        if not placed:
            return []
        stacked = torch.from_numpy(np.stack([each.network_input for each in placed])).to(
            self.device
        )
        code = self._code(placed)
        inputs = stacked.permute(0, 3, 1, 2).float().div(255)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output = self.model.net.decode(self.model.net.encode(inputs), self.identity, code)
        image = output.image.float().permute(0, 2, 3, 1).clamp(0, 1)
        mask = output.mask.float()[:, 0].clamp(0, 1)
        return list(zip(image.cpu().numpy(), mask.cpu().numpy(), strict=True))

    def _code(self, placed: list[AlignedFace]) -> Tensor | None:
        if self.conditioner is None:
            return None
        crops = [each.affect_crop for each in placed if each.affect_crop is not None]
        code = self.conditioner.codes(crops).to(self.device)
        return self.model.net.guide(code, self.conditioner.options.guidance_scale)

    def paste(
        self,
        frame: Frames,
        placed: AlignedFace,
        swap: NDArray[np.float32],
        mask: NDArray[np.float32],
    ) -> tuple[Frames, NDArray[np.bool_], NDArray[np.float32]]:
        """Match the colours of one swapped face and blend it into the frame.

        Args:
            frame: (H, W, 3).
            placed: The face to replace.
            swap: (R, R, 3) in [0, 1], see `swap`.
            mask: (R, R) in [0, 1], likewise.

        Returns:
            The new frame; (H, W) which pixels changed; and the blend mask (R, R), aligned.
        """
        return paste(
            frame, placed.face, placed.aligned_from_frame, placed.aligned, swap, mask, self.blend
        )
