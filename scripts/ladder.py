"""The rungs of a training step, from a plain loop to everything switched on, each one step more.

Every rung trains the same network on the same batch; what differs is how. The lowest is what one
writes first: float32, channels first, the encoder run for each identity by itself, SSIM by
depthwise convolution, AdamW as torch has it by default, and nothing besides. The others are the
package's own training step (clipped, averaged weights kept) with one more switch on each.
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
    """How a step is computed.

    Attributes:
        name: In the table.
        plain: The loop that one writes first; all below is then off.
        fused: AdamW as one kernel.
        bf16: Autocast to bfloat16.
        channels_last: Weights and features with their channels innermost.
        compile: Blocks and loss through inductor.
        kernels: Hot operations as Triton kernels.
        graphs: The compiled blocks as CUDA graphs.
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
    """The ladder for `device`.

    Args:
        device: Compiling and kernels are for CUDA.
        bf16: Whether it computes in bfloat16.
        small: Whether steps are as short as their launches, so that CUDA graphs are worth a rung.
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
    """One network, trained in the way of one rung, a step a call.

    Args:
        rung: How.
        net: Not shared with another rung; moved to `device`.
        batch: What every step trains on, on `device`.
        device: Where.
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
        # As torch has it where nobody chooses: a loop on a CPU, foreach on CUDA.
        chosen = {"fused": True} if rung.fused else {}
        self.optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), **chosen)
        self.averaged = [] if rung.plain else [each.detach().clone() for each in weights]
        self.weights = weights
        self.module: SwapModule | None = None
        if not rung.plain:
            self.module = SwapModule(self.net, self.loss, Optim(torch.optim.AdamW, lr=lr))
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
        """One step; its loss, before the weights moved."""
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
        """Rungs take turns, and the choice of kernels is the process's."""
        with dispatch.using("triton" if self.rung.kernels else "reference"):
            yield


# --- the plain loop -------------------------------------------------------------------------------


def plain_loss(net: Autoencoder, loss: ReconstructionLoss, batch: FaceBatch) -> Tensor:
    """The same loss, identity by identity, as one would write it first."""
    warped, target = warped_and_target(batch, net.resolution)
    count = len(net.identities)
    parts = []
    for identity, faces, goal in zip(
        net.identities, warped.chunk(count), target.chunk(count), strict=True
    ):
        # The warp makes channels_last; a plain loop is fed contiguous pictures.
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
    """Take one step of each rung; their losses must lie together, or unlike things are compared.

    Returns:
        The loss of each, by name.

    Raises:
        ValueError: One lies further than `tolerance` of the first one's from it.
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
