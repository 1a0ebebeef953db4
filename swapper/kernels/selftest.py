"""Compare kernels with their references before training."""

from __future__ import annotations

import torch
from torch import Tensor

from swapper.kernels import dispatch
from swapper.kernels.dssim import dssim_l1
from swapper.kernels.film import film_lrelu
from swapper.kernels.warp import warp_pair

TOLERANCE = 1e-3
"""Of the relative L2 distance in float32: far above rounding, far below a fault."""


def failures(device: torch.device) -> list[str]:
    """Run every kernel once on small inputs, forward and backward, and compare with its reference.

    Args:
        device: On which kernels can run.

    Returns:
        A line for each operation that fails or differs; none if all is well.
    """
    errors = []
    for name, run in (("film_lrelu", _film), ("dssim_l1", _dssim), ("warp_pair", _warp)):
        with dispatch.using("reference"):
            expected = run(device)
        try:
            with dispatch.using("triton"):
                got = run(device)
        except Exception as error:  # whatever a compiler or a driver may raise
            line = str(error).strip().splitlines()
            errors.append(
                f"{name}: {type(error).__name__}: {(line or ['no reason given'])[0][:200]}"
            )
            continue
        worst = max(_distance(*pair) for pair in zip(got, expected, strict=True))
        if not worst <= TOLERANCE:
            errors.append(f"{name}: differs from its reference by {worst:.2g}")
    return errors


def _film(device: torch.device) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    x, gamma, beta, upstream = (
        torch.randn(shape, generator=random).to(device)
        for shape in ((2, 32, 9, 7), (2, 32), (32,), (2, 8, 18, 14))
    )
    leaves = [x.contiguous(memory_format=torch.channels_last), gamma, beta]
    leaves = [each.requires_grad_() for each in leaves]
    y = film_lrelu(*leaves, upscale=2)
    return [y.detach(), *torch.autograd.grad(y, leaves, upstream)]


def _dssim(device: torch.device) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    pred, target, mask = (
        torch.rand(shape, generator=random).to(device)
        for shape in ((2, 3, 9, 7), (2, 3, 9, 7), (2, 1, 9, 7))
    )
    leaf = pred.contiguous(memory_format=torch.channels_last).requires_grad_()
    dssim, l1 = dssim_l1(leaf, target, mask, window=5, scales=2)
    (change,) = torch.autograd.grad((dssim + l1).sum(), leaf)
    return [dssim.detach(), l1.detach(), change]


def _warp(device: torch.device) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    faces = torch.randint(0, 256, (2, 24, 24, 5), dtype=torch.uint8, generator=random)
    affine = torch.tensor([[1.4, 0.1, 0.5], [-0.1, 1.4, 1.5]]).expand(2, 2, 3)
    grid = torch.randn(2, 3, 3, 2, generator=random)
    gain = torch.tensor([0.9, 0.02]).expand(2, 3, 2)
    moved = (each.to(device) for each in (faces, affine, grid, gain))
    return list(warp_pair(*moved, size=17))


def _distance(got: Tensor, expected: Tensor) -> float:
    """Relative L2; infinite where a value is not a number."""
    far = float((got - expected).norm() / expected.norm().clamp_min(1e-12))
    return far if far == far else float("inf")
