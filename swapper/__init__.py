"""A trainer for face swaps that keep the performance.

::

    import swapper

    model = swapper.load_model("runs/first")
    swapped = swapper.swap_frame(model, picture, "bob").frame
    report = swapper.evaluate_swap("performer.mp4", "swap.mp4")

The command line's verbs are functions, too: `swapper.convert.convert` and its neighbours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swapper.api import (
        AffectOptions,
        BlendOptions,
        Model,
        Report,
        SwappedFrame,
        evaluate_swap,
        load_model,
        swap_frame,
    )

# albumentations asks PyPI for news while it is imported, unless told not to beforehand.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"

__all__ = [
    "AffectOptions",
    "BlendOptions",
    "Model",
    "Report",
    "SwappedFrame",
    "__version__",
    "evaluate_swap",
    "load_model",
    "swap_frame",
]

if not TYPE_CHECKING:  # or a type checker would let any name pass

    def __getattr__(name: str) -> Any:
        # Late, because it loads torch, which the command line does not wait for.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from swapper import api

        return getattr(api, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
