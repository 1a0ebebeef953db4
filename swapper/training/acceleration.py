"""Options that make a training step faster without changing its result."""

from __future__ import annotations

import logging
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from swapper.errors import UsageError
from swapper.kernels import dispatch
from swapper.kernels.selftest import failures
from swapper.training.module import SwapModule

log = logging.getLogger(__name__)

Switch = bool | Literal["auto"]

_MAX_RECOMPILES = 64
"""Recompilation limit: blocks share code, so torch counts all shapes and modes together."""


@dataclass
class Acceleration:
    """Kernels, memory format and compilation; all that "auto" enables can be disabled.

    Attributes:
        kernels: Backend of the hot operations, see `swapper.kernels.dispatch`.
        channels_last: Weights and features with their channels innermost; "auto": on CUDA.
        compile: Each block of the network and the loss through `torch.compile`, for its one shape;
            "auto": on CUDA where a C compiler and Python's headers are. On CPUs it gained nothing.
        cuda_graphs: Record the compiled blocks as CUDA graphs: for small models, whose steps are
            shorter than their launches.
        backend: Of `torch.compile`.

    Raises:
        UsageError: A value has another type.
    """

    kernels: dispatch.Backend = "auto"
    channels_last: Switch = "auto"
    compile: Switch = "auto"
    cuda_graphs: bool = False
    backend: str = "inductor"

    def __post_init__(self) -> None:
        for name, value in (("channels_last", self.channels_last), ("compile", self.compile)):
            if value != "auto" and not isinstance(value, bool):
                raise UsageError(f"speed.{name}={value}: must be true, false or auto")

    def prepare(self, module: SwapModule, device: torch.device) -> None:
        """Set up `module`, in place, for training on `device`, and log the settings.

        Raises:
            UsageError: A setting is not available there.
        """
        dispatch.use(self.kernels)
        self._test_kernels(device)
        settings = []
        if self._on(self.channels_last, device.type == "cuda"):
            module.net.to(memory_format=torch.channels_last)
            settings.append("channels_last")
        if self._on(self.compile, device.type == "cuda" and _has_compiler()):
            self._compile(module, device)
            settings.append(f"compiled by block{', as CUDA graphs' if self.cuda_graphs else ''}")
        elif self.cuda_graphs:
            raise UsageError("speed.cuda_graphs=true: needs speed.compile=true")
        noteworthy = settings or device.type == "cuda" or self.kernels != "auto"
        level = logging.INFO if noteworthy else logging.DEBUG
        log.log(level, "%s; %s", ", ".join(settings) or "plain", dispatch.explain(device))

    def _test_kernels(self, device: torch.device) -> None:
        """Run the kernels' self-test, since a driver or compiler of this machine may break them."""
        requested = dispatch.backend()
        if device.type != "cuda" or requested == "reference":
            return
        errors = failures(device)
        if errors and requested == "triton":
            raise UsageError(f"kernels=triton: {'; '.join(errors)}; pass speed.kernels=auto")
        if errors:
            log.warning("plain torch instead of kernels: %s", "; ".join(errors))
            dispatch.use("reference")

    @staticmethod
    def _on(switch: Switch, default: bool) -> bool:
        return default if switch == "auto" else switch

    def _compile(self, module: SwapModule, device: torch.device) -> None:
        if self.cuda_graphs and device.type != "cuda":
            raise UsageError(f"speed.cuda_graphs=true: needs a CUDA device, this is {device.type}")
        dynamo: Any = torch._dynamo.config  # imported late: it takes seconds
        dynamo.recompile_limit = max(dynamo.recompile_limit, _MAX_RECOMPILES)
        # The expression loss takes the reconstruction's gradient before the backward pass.
        functorch: Any = torch._functorch.config
        functorch.donated_buffer = module.expression is None
        mode = "reduce-overhead" if self.cuda_graphs else None
        for block in (*module.net.regions(), module.loss):
            block.compile(backend=self.backend, dynamic=False, mode=mode)
        if self.cuda_graphs:
            module.before_step = torch.compiler.cudagraph_mark_step_begin


def _has_compiler() -> bool:
    """Inductor and Triton build small C programs even where the work is the GPU's."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(shutil.which(name) for name in ("cc", "gcc", "clang"))
