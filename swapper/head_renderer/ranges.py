"""Dataclass fields with a legal range in their metadata, and their check."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from swapper.errors import UsageError

T = TypeVar("T")


def ranged(default: float, least: float, most: float, meaning: str) -> Any:
    """Return a field for a number in [least, most]."""
    metadata = {"least": least, "most": most, "meaning": meaning}
    return dataclasses.field(default=default, metadata=metadata)


def choice(default: str, choices: Sequence[str], meaning: str) -> Any:
    """Return a field for one of `choices`."""
    return dataclasses.field(
        default=default, metadata={"choices": tuple(choices), "meaning": meaning}
    )


def check_ranges(instance: Any, owner: str) -> None:
    """Check the `ranged` and `choice` fields of a dataclass.

    Args:
        instance: Of a dataclass.
        owner: Its name in messages.

    Raises:
        UsageError: A field is out of its range; names the field, its value and its range.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if "choices" in field.metadata:
            if value not in field.metadata["choices"]:
                legal = ", ".join(field.metadata["choices"])
                raise UsageError(f"{owner}.{field.name}={value!r}: must be one of {legal}")
        elif "least" in field.metadata:
            least, most = field.metadata["least"], field.metadata["most"]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not least <= value <= most:
                raise UsageError(
                    f"{owner}.{field.name}={value!r}: must be a number from {least:g} to {most:g} "
                    f"({field.metadata['meaning']})"
                )


def build_checked(kind: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Build a dataclass from plain values.

    Args:
        kind: The dataclass.
        values: By field.
        owner: Its name in messages.

    Raises:
        UsageError: A field is unknown or out of its range.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"{owner}.{name}: no such field, choose from {', '.join(names)}{hint}")
    return kind(**values)
