"""Optimisation levels (rungs) of a training step, from a plain loop to all optimisations.

Every rung trains the same network on the same batch. The lowest is a straightforward loop: float32,
channels first, the encoder run separately for each identity, SSIM by depthwise convolution, AdamW
with torch's defaults. The others are the package's training step (with clipping and EMA) with one
more optimisation each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from kernel_variants import blurring_dssim, square_blur
from torch import Tensor

from swapper.data.dataset import warped_and_target
from swapper.kernels import dispatch
from swapper.losses.reconstruction import MIN_AREA, ReconstructionLoss
from swapper.losses.reduce import total
from swapper.models.autoencoder import Autoencoder
from swapper.training.acceleration import Acceleration
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.types import FaceBatch, SwapOutput

EMA_DECAY = 0.999
CLIP = 1.0


@dataclass(frozen=True)
class Rung:
    """Settings of a training step.

    Attributes:
        name: Name in the table.
        plain: Straightforward loop; all below is then off.
        fused: Fused AdamW.
        bf16: Autocast to bfloat16.
        channels_last: Weights and features in channels_last.
        compile: Compile blocks and loss with inductor.
        kernels: Triton kernels for hot operations.
        graphs: CUDA graphs of the compiled blocks.
    """

    name: str
    plain: bool = False
    fused: bool = False
    bf16: bool = False
    channels_last: bool = False
    compile: bool = False
    kernels: bool = False
    graphs: bool = False


PLAIN = Rung("plain loop", plain=True)


def rungs(device: torch.device, *, bf16: bool, small: bool) -> list[Rung]:
    """Return the ladder for `device`.

    Args:
        device: Compilation and kernels are for CUDA only.
        bf16: Whether to use bfloat16.
        small: Whether steps are limited by launches; adds a rung with CUDA graphs.
    """
    ladder = [PLAIN, Rung("one pass, banded DSSIM")]

    def add(name: str, **switches: bool) -> None:
        ladder.append(replace(ladder[-1], name=name, **switches))

    add("+ fused AdamW", fused=True)
    if bf16:
        add("+ bf16", bf16=True)
    add("+ channels_last", channels_last=True)
    if device.type == "cuda":
        add("+ compile", compile=True)
        add("+ kernels", kernels=True)
        if small:
            add("+ CUDA graphs", graphs=True)
    return ladder


class Stepper:
    """Trains a network with the settings of one rung, one step per call.

    Args:
        rung: Settings.
        net: Not shared with another rung; moved to `device`.
        batch: Batch of every step, on `device`.
        device: Device to train on.
        lr: Learning rate.
    """

    def __init__(
        self, rung: Rung, net: Autoencoder, batch: FaceBatch, device: torch.device, lr: float = 5e-5
    ) -> None:
        self.rung = rung
        self.batch = batch
        self.device = device
        self.net = net.to(device)
        self.loss = ReconstructionLoss()
        weights = list(self.net.parameters())
        # torch's default: a loop on CPU, foreach on CUDA.
        chosen = {"fused": True} if rung.fused else {}
        self.optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), **chosen)
        self.averaged = [] if rung.plain else [each.detach().clone() for each in weights]
        self.weights = weights
        self.module: SwapModule | None = None
        if not rung.plain:
            self.module = SwapModule(
                self.net, self.loss, Optim(torch.optim.AdamW, lr=lr, warmup_steps=0)
            )
            speed = Acceleration(
                kernels="triton" if rung.kernels else "reference",
                channels_last=rung.channels_last,
                compile=rung.compile,
                cuda_graphs=rung.graphs,
            )
            with self.backend():
                speed.prepare(self.module, device)

    def __call__(self) -> None:
        """One step."""
        with self.backend():
            self.step()

    def step(self) -> Tensor:
        """Run one step; return its loss, before the weight update."""
        if self.module is None:
            loss = plain_loss(self.net, self.loss, self.batch)
        else:
            self.module.before_step()
            loss = self._loss(self.module)
        loss.backward()
        if self.module is not None:
            torch.nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged:
            with torch.no_grad():
                torch._foreach_lerp_(self.averaged, self.weights, 1 - EMA_DECAY)
        return loss.detach()

    def _loss(self, module: SwapModule) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.rung.bf16):
            warped, target = warped_and_target(self.batch, self.net.resolution)
            output = module.reconstruct(self.net.encode(warped), None)
            return total(self.loss(output, target), self.loss.weights)

    @contextlib.contextmanager
    def backend(self) -> Iterator[None]:
        """Select the rung's kernels, a process-wide setting."""
        with dispatch.using("triton" if self.rung.kernels else "reference"):
            yield


# --- the plain loop -------------------------------------------------------------------------------


def plain_loss(net: Autoencoder, loss: ReconstructionLoss, batch: FaceBatch) -> Tensor:
    """Compute the loss in a straightforward loop over identities."""
    warped, target = warped_and_target(batch, net.resolution)
    count = len(net.identities)
    parts = []
    for identity, faces, goal in zip(
        net.identities, warped.chunk(count), target.chunk(count), strict=True
    ):
        # The warp returns channels_last; the plain loop uses contiguous images.
        faces, goal = faces.contiguous(), goal.contiguous()
        parts.append(_plain_parts(net.decode(net.encode(faces), identity), goal, loss))
    return torch.stack(parts).mean()


def _plain_parts(output: SwapOutput, target: Tensor, loss: ReconstructionLoss) -> Tensor:
    colour, face, eyes_mouth = target[:, :3], target[:, 3:4], target[:, 4:]
    weight = face + loss.background * (1 - face)
    dssim, l1 = blurring_dssim(
        output.image, colour, weight, window=loss.window, sigma=loss.sigma, scales=loss.scales,
        blur=square_blur,
    )  # fmt: skip
    area = eyes_mouth.sum(dim=(1, 2, 3)).clamp_min(MIN_AREA * colour[0, 0].numel())
    focus = ((output.image - colour).abs().mean(1, keepdim=True) * eyes_mouth).sum((1, 2, 3)) / area
    named = {
        "dssim": dssim.mean(),
        "l1": l1.mean(),
        "eyes_mouth": focus.mean(),
        "mask": (output.mask - face).abs().mean(),
    }
    return torch.stack([loss.weights[name] * value for name, value in named.items()]).sum()


def check_agree(steppers: Sequence[Stepper], tolerance: float = 0.02) -> dict[str, float]:
    """Run one step of each rung and check that their losses agree.

    Returns:
        The losses by name.

    Raises:
        ValueError: A loss deviates from the first by more than the relative `tolerance`.
    """
    losses = {}
    for stepper in steppers:
        with stepper.backend():
            losses[stepper.rung.name] = float(stepper.step())
    first = losses[steppers[0].rung.name]
    for name, value in losses.items():
        if not abs(value - first) <= tolerance * abs(first):
            raise ValueError(f"{name}: its loss is {value:.5f}, the first rung's {first:.5f}")
    return losses
