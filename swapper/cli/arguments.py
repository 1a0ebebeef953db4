"""Check the arguments in a config against the signature of their ``_target_``.

A misspelt key or a value of a wrong type is reported by its full name before anything is built.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import typing
from collections.abc import Mapping
from typing import Any

from swapper.errors import UsageError, choices_text


def _locate(path: str, key: str) -> Any:
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{key}._target_={path}: cannot be imported ({error})") from error


def _problem(value: Any, hint: Any) -> str:
    """Return what is wrong with a plain value for a type hint, or nothing."""
    import pydantic

    try:
        # JSON, since it has no tuples: a list fits them as well, though nothing else is converted.
        pydantic.TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        return (
            error.errors()[0]["msg"]
            .replace("Input should be", "must be")
            .replace("valid array", "list")
        )
    except (pydantic.errors.PydanticUserError, TypeError, NameError):
        pass  # a type that plain data cannot be held against, such as a module
    return ""


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
            raise UsageError(f"{key}.{name}: no such option; legal: {choices_text(name, legal)}")
        if name in hints and not isinstance(value, Mapping):
            problem = _problem(value, hints[name])
            if problem:
                raise UsageError(f"{key}.{name}={value}: {problem}")
