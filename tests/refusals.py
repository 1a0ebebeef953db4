"""How anything must refuse: in one line, not too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def refusal_of(
    error: type[Exception] | tuple[type[Exception], ...],
    call: Callable[..., Any],
    *arguments: Any,
    **options: Any,
) -> str:
    """The one line with which `call` raises `error`."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message
