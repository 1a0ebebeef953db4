"""Random differentiable augmentation of faces before an estimator, against adversarial patterns.

A picture that satisfies a network only at one exact position, size and sharpness is adversarial.
Shift, zoom and blur are one matrix product along each axis: against `grid_sample` the gradient is
summed in a fixed order on CUDA too, so that resumed runs stay bitwise equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from swapper.options.fields import check_range

_SHARPEST = 0.35
"""Least deviation in pixels of the Gaussian taps: nearly no blur, the centre tap has 94 %."""


@dataclass(kw_only=True)
class RandomView:
    """Randomly shifts, zooms, blurs, relights faces and adds noise, each independently.

    Differentiable. Random numbers come from torch's global generator on the faces' device; seed it
    for reproducible results.

    Attributes:
        shift: Largest move along each axis, as a share of the side.
        scale: Largest zoom, by a factor from ``1 / (1 + scale)`` to ``1 + scale``.
        blur: Largest deviation of a Gaussian, as a share of the side.
        light: Largest relative change of each colour's strength, and of brightness on [0, 1].
        noise: Largest deviation of noise on [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    shift: float = 0.04
    scale: float = 0.06
    blur: float = 0.012
    light: float = 0.1
    noise: float = 0.03

    def __post_init__(self) -> None:
        check_range(0, 0.5, **vars(self))

    def __call__(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Apply the same random view to each of `pictures`, with independent noise.

        Args:
            pictures: Each (N, 3, S, S) in [0, 1], all of one shape.

        Returns:
            As many, of the same shape; not clamped.
        """
        first = pictures[0]
        n, _, height, width = first.shape

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, dtype=first.dtype, device=first.device) * 2 - 1

        def grain(picture: Tensor) -> Tensor:
            # Not randn_like, whose values depend on the memory layout.
            return torch.randn(picture.shape, dtype=picture.dtype, device=picture.device)

        zoom = (1 + self.scale) ** draw(n)
        sigma = self.blur * draw(n).abs()
        rows = _taps(height, zoom, self.shift * draw(n), sigma)
        columns = _taps(width, zoom, self.shift * draw(n), sigma)
        gain = 1 + self.light * draw(n, 3, 1, 1)
        offset = (1 - gain) / 2 + self.light * draw(n, 1, 1, 1)
        deviation = self.noise * draw(n, 1, 1, 1).abs()
        return tuple(
            (rows @ (each @ columns.mT)) * gain + offset + deviation * grain(each)
            for each in pictures
        )


def _taps(count: int, zoom: Tensor, shift: Tensor, sigma: Tensor) -> Tensor:
    """(N, 1, count, count): each row has the Gaussian weights of one output pixel.

    Beyond the picture its border is repeated.

    Args:
        count: Pixels along the axis.
        zoom: (N,) factor by which things grow.
        shift: (N,) move, as a share of the axis.
        sigma: (N,) deviation of the blur, as a share of the axis.
    """
    place = torch.arange(count, dtype=zoom.dtype, device=zoom.device)
    middle = (count - 1) / 2
    centre = middle + (place - middle) / zoom[:, None] + shift[:, None] * count
    centre = centre.clamp(0, count - 1)
    width = (sigma * count).square() + _SHARPEST**2
    weight = torch.exp(-(place - centre[:, :, None]).square() / (2 * width[:, None, None]))
    return (weight / weight.sum(dim=2, keepdim=True))[:, None]
