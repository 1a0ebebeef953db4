"""Choice of the torch device."""

from __future__ import annotations

import torch

from swapper.errors import UsageError


def pick_device(name: str) -> torch.device:
    """Return the device `name`; "auto" prefers CUDA, then MPS, then the CPU.

    Raises:
        UsageError: The device is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device={name}: not available here; pass device=auto or cpu") from error
    return device
