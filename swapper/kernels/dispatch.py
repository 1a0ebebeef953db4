"""Choose the implementation of each hot operation.

Each operation has a plain torch reference, which is its specification and runs anywhere, and a
Triton kernel for CUDA devices. "auto" takes the kernel where it can run; "triton" and "reference"
never fall back.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from swapper.errors import UsageError

log = logging.getLogger(__name__)

Backend = Literal["auto", "triton", "reference"]

VARIABLE = "SWAPPER_KERNELS"
OPERATIONS = ("film_lrelu", "warp_pair", "dssim_l1")
"""Operations that have a kernel."""
KERNEL_TYPES = (torch.float32, torch.float16, torch.bfloat16)
MIN_CAPABILITY = (7, 5)
MIN_CAPABILITY_BF16 = (8, 0)

_chosen: Backend | None = None
_warned: set[str] = set()


def use(backend: Backend) -> None:
    """Choose the backend of all operations of this process.

    Args:
        backend: "auto": what the environment says, else kernels where they can run; or "triton" or
            "reference", which then never fall back.

    Raises:
        UsageError: Another name.
    """
    global _chosen
    # Read here and not at every call, which may be traced by torch.compile.
    _chosen = _from_environment() if backend == "auto" else _checked(backend, "kernels")


@contextmanager
def using(backend: Backend) -> Iterator[None]:
    """Choose the backend within a context."""
    global _chosen
    before = _chosen
    use(backend)
    try:
        yield
    finally:
        _chosen = before


def backend() -> Backend:
    """Return the requested backend: by `use`, else by the environment, else "auto".

    Raises:
        UsageError: The environment variable holds another name.
    """
    return _from_environment() if _chosen is None else _chosen


def takes_kernel(operation: str, *tensors: Tensor | None, limit: str = "") -> bool:
    """Whether the Triton kernel of `operation` runs on `tensors`.

    Args:
        operation: One of `OPERATIONS`.
        tensors: All that the operation reads; None is passed over.
        limit: Why the kernel cannot serve these arguments, in plain words; "" if it can.

    Raises:
        UsageError: "triton" was requested and the kernel cannot run.
    """
    requested = backend()
    if requested == "reference":
        return False
    given = [each for each in tensors if each is not None]
    obstacle = limit or _dtype_obstacle(given) or _device_obstacle({each.device for each in given})
    if not obstacle:
        # The interpreter is for tests: it is far slower than the reference.
        return requested == "triton" or given[0].device.type == "cuda"
    if requested == "triton":
        raise UsageError(
            f"kernels=triton: {operation} cannot run as a kernel: {obstacle}; pass kernels=auto"
        )
    if given[0].device.type == "cuda":
        _warn_once(f"{operation}: plain torch instead of its Triton kernel: {obstacle}")
    return False


def dtype_limit(*tensors: Tensor | None) -> str:
    """Why no kernel serves the dtypes of floating tensors; "" if one can."""
    for each in tensors:
        if each is not None and each.dtype not in KERNEL_TYPES:
            return f"{str(each.dtype).removeprefix('torch.')} is for the reference"
    return ""


def explain(device: torch.device | str) -> str:
    """Return one line on what runs on `device`, for the log."""
    device = torch.device(device)
    names = ", ".join(OPERATIONS)
    requested = backend()
    if requested == "reference":
        return f"{names}: plain torch"
    obstacle = _device_obstacle({device})
    if obstacle and requested == "triton":
        return f"{names}: cannot run as kernels: {obstacle}"
    if obstacle or (requested == "auto" and device.type != "cuda"):
        return f"{names}: plain torch: {obstacle or 'kernels are for CUDA devices'}"
    return f"{names}: Triton kernels{', as requested' if requested == 'triton' else ''}"


def interpreted() -> bool:
    """Whether Triton runs its kernels in its interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "") == "1"


def _from_environment() -> Backend:
    return _checked(os.environ.get(VARIABLE, "auto"), VARIABLE)


def _checked(name: str, where: str) -> Backend:
    for choice in get_args(Backend):
        if name == choice:
            return choice  # type: ignore[no-any-return]
    raise UsageError(f"{where}={name}: must be one of {', '.join(get_args(Backend))}")


def _dtype_obstacle(tensors: list[Tensor]) -> str:
    for each in tensors:
        if each.dtype == torch.float64:
            return "float64 is for the reference"
        if (
            each.dtype == torch.bfloat16
            and each.device.type == "cuda"
            and _capability(each.device.index or 0) < MIN_CAPABILITY_BF16
        ):
            return "this GPU has no bfloat16"
    return ""


def _device_obstacle(devices: set[torch.device]) -> str:
    """Reason why no kernel can run there; "" if one can."""
    if len(devices) != 1:
        return f"tensors lie on {' and '.join(sorted(map(str, devices)))}"
    (device,) = devices
    if not _has_triton():
        return "triton is not installed"
    if device.type == "cpu":
        return "" if interpreted() else "kernels are for CUDA devices"
    if device.type != "cuda":
        return f"kernels are for CUDA devices, not {device.type}"
    if torch.version.hip is not None:
        return "kernels are for NVIDIA's devices"
    if interpreted():
        return "TRITON_INTERPRET=1 keeps kernels off the device"
    capability = _capability(device.index or 0)
    if capability < MIN_CAPABILITY:
        have, least = (".".join(map(str, each)) for each in (capability, MIN_CAPABILITY))
        return f"this GPU is of compute capability {have}, the kernels need {least}"
    return ""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _capability(index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        log.warning("%s", message)
