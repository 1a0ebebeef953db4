"""Numba decorators of the renderer's inner loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile to machine code that releases the GIL and is cached on disk.

    Without fast maths: the same input gives the same bits. Where no folder can be written (numba
    tries the source folder, then the user's cache), nothing is cached. The cache is invalidated
    when the function's own file changes, not when one that it calls does: then remove
    ``__pycache__``.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, njit(nogil=True)(function))


def inlined(function: F) -> F:
    """Inline into the caller.

    For functions that take tuples of arrays: passing one counts a reference to each array, which
    takes longer than shading a pixel.
    """
    return cast(F, njit(inline="always")(function))
