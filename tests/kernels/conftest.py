"""Without a CUDA device Triton interprets its kernels; it reads that when they are defined."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
