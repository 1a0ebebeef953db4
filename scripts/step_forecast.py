"""Predicted time of a training step for each rung of the ladder.

A step is split into convolutions (operations over a rate), passes over features and over the loss
(by the number of pixels), the optimiser (bytes over the bandwidth) and launches. The rates are from
published and measured H100 and H200 figures for a network of 154.5 M weights and 304 GFLOP per
image at 256 px: 197 ms for 64 images in a plain loop with TF32, 91 with bfloat16 and channels_last,
82 compiled, 64 with kernels. They have not been checked by running the ladder.
"""

from __future__ import annotations

from dataclasses import dataclass

from ladder import Rung

BANDWIDTH = 3.87e12
"""Bytes a second: nine tenths of a copy on an H200."""
TF32, BF16 = 138e12, 355e12
"""Operations a second that convolutions reach: 35 % and 45 % of the peak of a product."""
CPU_FP32 = 110e9
"""Of one thread without matrix units."""
_LAUNCH = 7e-6
_KERNELS_A_STEP = 840


@dataclass(frozen=True)
class Work:
    """Work of one step.

    Attributes:
        operations: FLOP of all convolutions and products, forward and backward.
        pixels: Output pixels of the batch.
        weights: Number of trained weights.
    """

    operations: float
    pixels: int
    weights: int


def forecast(rung: Rung, work: Work, device: str) -> float | None:
    """Predict the seconds of a step.

    Args:
        rung: Settings of the step.
        work: Work of the step.
        device: Its name; only H100, H200 and CPUs (seconds of one thread) have a prediction.

    Returns:
        None without a prediction.
    """
    if device == "cpu":
        return None if rung.bf16 or rung.compile else _on_cpu(rung, work)
    if not any(name in device for name in ("H100", "H200")):
        return None
    share = work.pixels / (64 * 256**2)
    if rung.plain:
        features, loss, bytes_a_weight = 31e-3, 21e-3, 100
    else:
        features = 6e-3 if rung.compile else (10.7e-3 if rung.bf16 else 21e-3)
        if not rung.channels_last:
            features += 10e-3
        loss = 0.9e-3 if rung.kernels else (2e-3 if rung.compile else 4e-3)
        # Averaging the weights takes 12 bytes of each.
        bytes_a_weight = (28 if rung.fused else 80) + 12
    busy = (
        work.operations / (BF16 if rung.bf16 else TF32)
        + share * (features + loss)
        + work.weights * bytes_a_weight / BANDWIDTH
    )
    launches = _KERNELS_A_STEP * (2 if rung.plain else 0.5 if rung.compile else 1)
    return busy if rung.graphs else max(busy, launches * _LAUNCH)


def _on_cpu(rung: Rung, work: Work) -> float:
    """Seconds of one thread: AdamW in a loop 5.8 ns a weight, fused 1.5; DSSIM by pixels."""
    loss = (73e-3 if rung.plain else 39e-3) * work.pixels / (32 * 64**2)
    averaging = 0 if rung.plain else 0.7e-9
    optimiser = work.weights * ((1.5e-9 if rung.fused else 5.8e-9) + averaging)
    return work.operations / CPU_FP32 + loss + optimiser
