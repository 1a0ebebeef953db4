"""Dataclass fields that know their legal range, and the one check of them all."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from swapper.errors import UsageError

T = TypeVar("T")


def ranged(default: float, least: float, most: float, meaning: str) -> Any:
    """A number in [least, most]."""
    metadata = {"least": least, "most": most, "meaning": meaning}
    return dataclasses.field(default=default, metadata=metadata)


def chosen(default: str, choices: Sequence[str], meaning: str) -> Any:
    """One word out of a list."""
    return dataclasses.field(
        default=default, metadata={"choices": tuple(choices), "meaning": meaning}
    )


def check_ranges(value: Any) -> None:
    """Hold a dataclass's `ranged` and `chosen` fields to what they may be.

    Raises:
        UsageError: Naming the class, the field, what it was and its range.
    """
    owner = type(value).__name__.lower()
    for each in dataclasses.fields(value):
        given = getattr(value, each.name)
        if "choices" in each.metadata:
            if given not in each.metadata["choices"]:
                legal = ", ".join(each.metadata["choices"])
                raise UsageError(f"{owner}.{each.name}={given!r}: must be one of {legal}")
        elif "least" in each.metadata:
            least, most = each.metadata["least"], each.metadata["most"]
            number = isinstance(given, int | float) and not isinstance(given, bool)
            if not number or not math.isfinite(given) or not least <= given <= most:
                raise UsageError(
                    f"{owner}.{each.name}={given!r}: must be a number from {least:g} to {most:g} "
                    f"({each.metadata['meaning']})"
                )


def build_checked(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from plain values.

    Raises:
        UsageError: Naming a field that it does not have, or one out of its range.
    """
    names = [each.name for each in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(
                f"{kind.__name__.lower()}.{name}: no such field, choose from "
                f"{', '.join(names)}{hint}"
            )
    return kind(**values)
