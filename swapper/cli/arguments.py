"""Check the arguments in a config against the signature of their ``_target_``.

A misspelt key or a value of a wrong type is reported by its full name before anything is built.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from swapper.errors import UsageError


def _locate(path: str, key: str) -> Any:
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{key}._target_={path}: cannot be imported ({error})") from error


def _fits(value: Any, hint: Any) -> bool:
    """Return whether plain data `value` matches the type `hint`; unknown hints accept."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if origin in (list, tuple, Sequence) and not isinstance(value, Mapping):
        return isinstance(value, (list, tuple))
    return True


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(str(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_expected(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) in (list, tuple, Sequence):
        return "a list"
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def check_target(node: Any, key: str) -> None:
    """Check a config node, and those inside it, against the signatures of their ``_target_``.

    Args:
        node: Plain data: nested dicts and lists.
        key: Full name of the node in the config, for the message.

    Raises:
        UsageError: An unknown key, or a value of a type that the signature does not take.
    """
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            check_target(item, f"{key}[{index}]")
        return
    if not isinstance(node, Mapping):
        return
    for name, item in node.items():
        check_target(item, f"{key}.{name}")
    if "_target_" not in node:
        return
    target = _locate(str(node["_target_"]), key)
    parameters = inspect.signature(target).parameters
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # a hint that exists for the type checker only
        hints = {}
    open_ended = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    for name, value in node.items():
        if str(name).startswith("_"):
            continue
        if name not in parameters:
            if open_ended:
                continue
            legal = [item for item in parameters if item not in ("self", "args", "kwargs")]
            close = difflib.get_close_matches(str(name), legal, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"{key}.{name}: no such option; {hint}legal: {', '.join(legal)}")
        if name in hints and not isinstance(value, Mapping) and not _fits(value, hints[name]):
            raise UsageError(f"{key}.{name}={value}: must be {_expected(hints[name])}")
