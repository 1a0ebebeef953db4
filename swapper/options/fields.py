"""What an option is: a dataclass field that knows its help, its choices and its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

from swapper.errors import UsageError, choices_text

T = TypeVar("T")

MISSING: Any = "???"
"""Marks an option that has no default (OmegaConf's own mark)."""


def option(
    default: Any,
    help: str,  # noqa: A002 (the word every option parser uses)
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A dataclass field that knows its help, its choices and its range."""
    metadata = {"help": help, "choices": tuple(choices), "least": least, "most": most}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def ranged(default: float, least: float, most: float, help: str) -> Any:  # noqa: A002
    """A field for a number in [least, most]."""
    return option(default, help, least=least, most=most)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"between {least:g} and {most:g}"
    return f"at least {least:g}" if least is not None else f"at most {most:g}"


def check_option(options: Any, prefix: str = "") -> None:
    """Hold every value of an options dataclass to its choices and range.

    Raises:
        UsageError: Names the key, the value and what is legal.
    """
    for each in dataclasses.fields(options):
        value, key = getattr(options, each.name), prefix + each.name
        if dataclasses.is_dataclass(value):
            check_option(value, key + ".")
            continue
        if isinstance(value, str) and value == MISSING:
            raise UsageError(f"{key} is missing: pass {key}=... ({each.metadata['help']})")
        choices = each.metadata.get("choices")
        if choices and value not in choices:
            raise UsageError(f"{key}={value}: choose from {choices_text(value, choices)}")
        least, most = each.metadata.get("least"), each.metadata.get("most")
        if least is None and most is None:
            continue
        numbers = {key: value}
        if isinstance(value, Mapping):
            numbers = {f"{key}.{name}": number for name, number in value.items()}
        for name, number in numbers.items():
            # Put so that nan, which compares with nothing, is refused as well.
            numeric = isinstance(number, (int, float)) and not isinstance(number, bool)
            above = numeric and (least is None or number >= least)
            if not (above and (most is None or number <= most)):
                kind = "" if numeric else "a number "
                raise UsageError(f"{name}={number}: must be {kind}{_range(least, most)}")


def check_range(least: float, most: float, **values: float) -> None:
    """Hold arguments, by name, to [least, most].

    Raises:
        ValueError: One is out of it.
    """
    for name, value in values.items():
        if not least <= value <= most:
            raise ValueError(f"{name} must be between {least} and {most}, got {value}")


def build_checked(kind: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Build a dataclass from plain values by field; messages call it `owner`.

    Raises:
        UsageError: A field is unknown or out of its range.
    """
    names = [each.name for each in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            legal = choices_text(name, names)
            raise UsageError(f"{owner}.{name}: no such field, choose from {legal}")
    return kind(**values)


def describe_option(options: type[Any], prefix: str = "") -> list[tuple[str, str]]:
    """``(key=default, help)`` for each option, those of nested groups included."""
    rows: list[tuple[str, str]] = []
    for each in dataclasses.fields(options):
        if not each.metadata:
            if each.default_factory is not dataclasses.MISSING:
                rows += describe_option(type(each.default_factory()), f"{prefix}{each.name}.")
            continue
        factory = each.default_factory
        default = each.default if factory is dataclasses.MISSING else factory()
        text = str(each.metadata["help"])
        if each.metadata["choices"]:
            text += f" [{', '.join(each.metadata['choices'])}]"
        text_of_default = "..." if default == MISSING else as_yaml(default)
        rows.append((f"{prefix}{each.name}={text_of_default}", text))
    return rows


def as_yaml(value: Any) -> str:
    """A plain value as it is written in a config."""
    return str(value).lower() if isinstance(value, bool) else str(value)
