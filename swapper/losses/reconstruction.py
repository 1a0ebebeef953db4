"""Reconstruction loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swapper.kernels.dssim import dssim_l1
from swapper.losses.reduce import check_weights, mean_parts
from swapper.types import SwapOutput

MIN_AREA = 0.01
"""Least area of eyes and mouth as a share of the picture: in profile only a few of their pixels
are visible, which must not weigh like a whole face."""


class ReconstructionLoss(nn.Module):
    """Structure and colour inside the face, eyes and mouth once more, and the mask.

    - ``dssim``, ``l1``: `swapper.kernels.dssim.dssim_l1`, weighted by the face mask, with
      `background` outside it. Means over the weight: they do not depend on the face's size.
    - ``eyes_mouth``: L1 again, the mean over eyes and mouth alone. They are a seventh of a face, so
      the default weight makes each of their pixels count about four times.
    - ``mask``: mean ``|mask - face mask|`` over the whole picture.

    All is computed in float32 at least, under autocast too.

    Args:
        dssim: Weight of the multi-scale DSSIM.
        l1: Weight of the L1.
        eyes_mouth: Weight of the L1 in eyes and mouth.
        mask: Weight of the mask's L1.
        background: Weight of a pixel outside the face mask, inside having 1. Above 0, since
            feathering shows pixels just outside the mask.
        scales: Of the DSSIM, each half as large.
        window: Taps of its gaussian, odd.
        sigma: Of its gaussian, in pixels.

    Raises:
        ValueError: A weight is negative or not finite, or none is positive.
    """

    def __init__(
        self,
        *,
        dssim: float = 1.0,
        l1: float = 1.0,
        eyes_mouth: float = 0.5,
        mask: float = 0.2,
        background: float = 0.1,
        scales: int = 3,
        window: int = 11,
        sigma: float = 1.5,
    ) -> None:
        super().__init__()
        self.weights = {"dssim": dssim, "l1": l1, "eyes_mouth": eyes_mouth, "mask": mask}
        check_weights(**self.weights, background=background)
        if not any(self.weights.values()):
            raise ValueError("one weight of the loss must be above 0, all are 0")
        self.background = background
        self.scales = scales
        self.window = window
        self.sigma = sigma

    def forward(self, output: SwapOutput, target: Tensor) -> dict[str, Tensor]:
        """The unweighted parts, means over the samples; see `per_sample`.

        Returns:
            Name to scalar; `weights` has a weight for each.
        """
        return mean_parts(self.per_sample(output, target))

    def per_sample(self, output: SwapOutput, target: Tensor) -> dict[str, Tensor]:
        """The unweighted parts of each sample.

        Args:
            output: Of the decoder, (N, 3, R, R) and (N, 1, R, R).
            target: (N, 5, R, R) in [0, 1]: red, green, blue, face mask, eyes and mouth.

        Returns:
            Name to (N,), float32 or float64.

        Raises:
            ValueError: A shape does not fit.
        """
        n, _, h, w = output.image.shape
        if tuple(target.shape) != (n, 5, h, w):
            raise ValueError(f"target must be ({n}, 5, {h}, {w}), got {tuple(target.shape)}")
        if tuple(output.mask.shape) != (n, 1, h, w):
            raise ValueError(f"mask must be ({n}, 1, {h}, {w}), got {tuple(output.mask.shape)}")
        with torch.autocast(target.device.type, enabled=False):
            dtype = torch.promote_types(output.image.dtype, torch.float32)
            target = target.to(dtype)
            image, drawn_mask = output.image.to(dtype), output.mask.to(dtype)
            colour, face, eyes_mouth = target[:, :3], target[:, 3:4], target[:, 4:]
            weight = face + self.background * (1 - face)
            dssim, l1 = dssim_l1(
                image, colour, weight, window=self.window, sigma=self.sigma, scales=self.scales
            )
            difference = (image - colour).abs().mean(dim=1, keepdim=True)
            area = eyes_mouth.sum(dim=(1, 2, 3)).clamp_min(MIN_AREA * h * w)
            return {
                "dssim": dssim,
                "l1": l1,
                "eyes_mouth": (difference * eyes_mouth).sum(dim=(1, 2, 3)) / area,
                "mask": (drawn_mask - face).abs().mean(dim=(1, 2, 3)),
            }
