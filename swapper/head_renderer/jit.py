"""How the actors' inner loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile to machine code that runs without the GIL and is kept for the next process.

    Without fast maths: the same input gives the same bits. Where no folder can be written (numba
    looks beside the source, then in the user's cache), nothing is kept. Kept code is renewed when
    its own file changes, not when one that it calls does: then remove ``__pycache__``.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, njit(nogil=True)(function))


def inlined(function: F) -> F:
    """Compile as a part of whoever calls it.

    For what takes tuples of arrays: handing one over counts a reference to each array, which takes
    longer than to shade a pixel.
    """
    return cast(F, njit(inline="always")(function))
