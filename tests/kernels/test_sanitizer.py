"""Every kernel under NVIDIA's compute-sanitizer: no access out of bounds, no race."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

SANITIZER = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"

# The proof runs each kernel forward and backward; what it finds wrong fails here, too.
PROGRAM = """
import torch
from swapper.kernels.selftest import complaints
found = complaints(torch.device("cuda"))
torch.cuda.synchronize()
raise SystemExit("; ".join(found) if found else 0)
"""


@pytest.mark.gpu
@pytest.mark.skipif(not os.access(SANITIZER, os.X_OK), reason="compute-sanitizer is not installed")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck"])
def test_nothing_is_found(tool: str) -> None:
    # torch's caching allocator would hide an access beyond a tensor's end.
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [SANITIZER, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
