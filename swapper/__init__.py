"""A trainer for face swaps that keep the performance."""

from __future__ import annotations

import os

# albumentations asks PyPI for news while it is imported, unless told not to beforehand.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
