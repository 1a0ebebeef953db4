"""Checks of kernel variants against float64, and timing with cold caches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kernel_cases import Case
from kernel_variants import OPERATIONS, Form, Variant, absent
from paired import Ratio, cpu_clock
from torch import Tensor

from swapper.kernels import dispatch

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest relative L2 distance to float64, by the case's dtype; above rounding errors."""
SCRATCH_BYTES = 256 << 20
_CLEARS = 40
"""Passes over it: some 3 ms, in which the launches of 300 kernels are queued."""


class Trial:
    """A variant on a case in one direction: call `prepare`, then time the call.

    Args:
        variant: Variant; sets the backend of `swapper.kernels`.
        form: Callable of the variant.
        case: Inputs.
        direction: "fwd", "bwd" or "full".
    """

    def __init__(self, variant: Variant, form: Form, case: Case, direction: str) -> None:
        self.variant = variant
        self.form = form
        self.case = case
        self.direction = direction
        self.arguments = dict(case.arguments)
        for name in case.leaves:
            self.arguments[name] = self.arguments[name].detach().requires_grad_()
        self.leaves = [self.arguments[name] for name in case.leaves]
        self.upstream = case.upstream
        self.outputs: tuple[Tensor, ...] = ()
        self.gradients: tuple[Tensor, ...] = ()

    def prepare(self) -> None:
        """Run the untimed part."""
        dispatch.use(self.variant.backend)
        if self.direction == "bwd":
            self._forward()

    def __call__(self) -> None:
        """Run the timed part."""
        if self.direction != "bwd":
            self._forward()
        if self.direction != "fwd":
            self.gradients = torch.autograd.grad(self.outputs, self.leaves, self.upstream)

    def release(self) -> None:
        """Release outputs and gradients."""
        self.outputs, self.gradients = (), ()

    def _forward(self) -> None:
        outputs = self.form(**self.arguments)
        self.outputs = outputs if isinstance(outputs, tuple) else (outputs,)


def exact_values(case: Case) -> list[Tensor]:
    """Return outputs and gradients of the reference in float64."""
    reference = next(each for each in OPERATIONS[case.operation] if each.name == "reference")
    return _values(reference, reference.form, case.exact())


def _values(variant: Variant, form: Form, case: Case) -> list[Tensor]:
    trial = Trial(variant, form, case, "full" if case.leaves else "fwd")
    trial.prepare()
    trial()
    return [each.detach().double() for each in (*trial.outputs, *trial.gradients)]


def distance(got: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest relative L2 distance; infinite for NaN or another shape."""
    worst = 0.0
    for value, reference in zip(got, expected, strict=True):
        if value.shape != reference.shape:
            return float("inf")
        far = float((value - reference).norm() / reference.norm().clamp_min(1e-30))
        worst = max(worst, far if far == far else float("inf"))
    return worst


@dataclass(frozen=True)
class CheckedVariant:
    """Result of checking a variant.

    Attributes:
        variant: The variant.
        form: Its callable.
        error: Relative L2 distance to float64.
        refused: Why it is not timed; "" if it is.
    """

    variant: Variant
    form: Form
    error: float | None = None
    refused: str = ""


def check_variant(variant: Variant, case: Case, expected: Sequence[Tensor]) -> CheckedVariant:
    """Run a variant once and compare it with the reference in float64."""
    device = expected[0].device
    if reason := absent(case.operation, variant, device):
        return CheckedVariant(variant, variant.form, refused=f"absent: {reason}")
    form = variant.ready()
    try:
        error = distance(_values(variant, form, case), expected)
    except Exception as problem:  # compilers and drivers may raise anything
        lines = str(problem).strip().splitlines() or ["no reason given"]
        return CheckedVariant(variant, form, refused=f"{type(problem).__name__}: {lines[0][:200]}")
    tolerance = TOLERANCE[case.dtype]
    if not error <= tolerance:
        return CheckedVariant(
            variant, form, error, f"wrong: {error:.2g} from float64, {tolerance:g} allowed"
        )
    return CheckedVariant(variant, form, error)


# --- timing ---------------------------------------------------------------------------------------


class ColdClock:
    """Times a trial with cold caches.

    Args:
        device: Device of the trial.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.scratch = torch.zeros(SCRATCH_BYTES, dtype=torch.uint8, device=device)

    def __call__(self, trial: Any) -> float:
        """Prepare a `Trial`, clear the caches, time the call."""
        prepared = isinstance(trial, Trial)
        if prepared:
            trial.prepare()
        seconds = self._on_gpu(trial) if self.on_gpu else self._on_cpu(trial)
        if prepared:
            trial.release()
        return seconds

    def _on_cpu(self, run: Callable[[], Any]) -> float:
        self.scratch.add_(1)
        return cpu_clock(run)

    def _on_gpu(self, run: Callable[[], Any]) -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # No synchronisation: the device clears caches while the trial is queued.
        for _ in range(_CLEARS):
            self.scratch.zero_()
        first.record()
        run()
        last.record()
        torch.cuda.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    def peak_mb(self, trial: Trial) -> float | None:
        """Return the peak memory of a call beyond that allocated before; CUDA only."""
        if not self.on_gpu:
            return None
        trial.prepare()
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        trial()
        torch.cuda.synchronize()
        trial.release()
        return (torch.cuda.max_memory_allocated() - held) / 1e6


def spread_of(ratio: Ratio) -> Ratio:
    """Return the symmetric range of the ratio of the baseline to itself."""
    high = max(ratio.high, 1 / ratio.low)
    return Ratio(ratio.median, 1 / high, high)


def verdict(ratio: Ratio, spread: Ratio) -> str:
    """Classify a ratio as faster, slower or no difference."""
    if spread.low <= ratio.median <= spread.high:
        return "no difference"
    return "faster" if ratio.median < 1 else "slower"
