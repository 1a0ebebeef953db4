"""The switches that make a step fast and change nothing of what it learns."""

from __future__ import annotations

import logging
import shutil
import sysconfig
from pathlib import Path
from typing import Any, Literal

import torch

from swapper.errors import UsageError
from swapper.kernels import dispatch
from swapper.kernels.selftest import failures
from swapper.training.module import SwapModule

log = logging.getLogger(__name__)

Switch = bool | Literal["auto"]

_VARIANTS = 64
"""Blocks share their code, so torch counts all their shapes and modes against one limit."""


class Acceleration:
    """How a training uses its device; all that "auto" turns on can be turned off, to be measured.

    Args:
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

    def __init__(
        self,
        kernels: dispatch.Backend = "auto",
        channels_last: Switch = "auto",
        compile: Switch = "auto",  # noqa: A002  # its name everywhere
        cuda_graphs: bool = False,
        backend: str = "inductor",
    ) -> None:
        for name, value in (("channels_last", channels_last), ("compile", compile)):
            if value != "auto" and not isinstance(value, bool):
                raise UsageError(f"speed.{name}={value}: must be true, false or auto")
        self.kernels = kernels
        self.channels_last = channels_last
        self.compile = compile
        self.cuda_graphs = cuda_graphs
        self.backend = backend

    def prepare(self, module: SwapModule, device: torch.device) -> None:
        """Set up `module`, in place, for training on `device`; says so in the log.

        Args:
            module: Where it lies does not matter.
            device: Where the training will run.

        Raises:
            UsageError: What was asked for cannot be had there.
        """
        dispatch.use(self.kernels)
        self._try_kernels(device)
        said = []
        if self._on(self.channels_last, device.type == "cuda"):
            module.net.to(memory_format=torch.channels_last)
            said.append("channels_last")
        if self._on(self.compile, device.type == "cuda" and _has_compiler()):
            self._compile(module, device)
            said.append(f"compiled by block{', as CUDA graphs' if self.cuda_graphs else ''}")
        elif self.cuda_graphs:
            raise UsageError("speed.cuda_graphs=true: needs speed.compile=true")
        worth_telling = said or device.type == "cuda" or self.kernels != "auto"
        level = logging.INFO if worth_telling else logging.DEBUG
        log.log(level, "%s; %s", ", ".join(said) or "plain", dispatch.explain(device))

    def _try_kernels(self, device: torch.device) -> None:
        """A driver or compiler that this machine alone has must not cost a week of training."""
        asked = dispatch.backend()
        if device.type != "cuda" or asked == "reference":
            return
        faults = failures(device)
        if faults and asked == "triton":
            raise UsageError(f"kernels=triton: {'; '.join(faults)}; pass speed.kernels=auto")
        if faults:
            log.warning("plain torch instead of kernels: %s", "; ".join(faults))
            dispatch.use("reference")

    @staticmethod
    def _on(switch: Switch, default: bool) -> bool:
        return default if switch == "auto" else switch

    def _compile(self, module: SwapModule, device: torch.device) -> None:
        if self.cuda_graphs and device.type != "cuda":
            raise UsageError(f"speed.cuda_graphs=true: needs a CUDA device, this is {device.type}")
        dynamo: Any = torch._dynamo.config  # loads it; only here is it worth its seconds
        dynamo.recompile_limit = max(dynamo.recompile_limit, _VARIANTS)
        # The expression loss asks for the reconstruction's gradient first, and then once more.
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
