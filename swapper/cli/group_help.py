"""The options inside training's config groups, with their meaning from the docstrings.

Nothing is imported but PyYAML: docstrings are parsed from source, so that help stays instant.
"""

from __future__ import annotations

import ast
import importlib.resources
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from swapper.options.fields import as_yaml

_ENTRY = re.compile(r"^    (\w+): (.*)$")


def group_rows(root: str, verb: str) -> list[tuple[str, str]]:
    """``(group.key=default, meaning)`` for each option of the groups that the verb's config names.

    Args:
        root: Package of the config, such as ``swapper.configs.train``.
        verb: Name of the config in it.

    Returns:
        In the order of the config; of a group that is off by default, those of its ``default``.
    """
    folder = importlib.resources.files(root)
    rows: list[tuple[str, str]] = []
    for entry in yaml.safe_load((folder / f"{verb}.yaml").read_text("utf-8"))["defaults"]:
        if not isinstance(entry, Mapping):
            continue
        ((group, choice),) = entry.items()
        for name in (choice, "default") if choice == "none" else (choice,):
            name = name[0] if isinstance(name, list) else name
            file = folder / group / f"{name}.yaml"
            if name and file.is_file():
                rows += _rows(yaml.safe_load(file.read_text("utf-8")) or {}, group)
    return rows


def _rows(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    meanings = meanings_of(str(node.get("_target_", "")))
    for key, value in node.items():
        if key in ("_target_", "_partial_", "defaults"):
            continue
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}.{key}")
        elif not (isinstance(value, str) and value.startswith("${")):  # said elsewhere
            yield f"{prefix}.{key}={as_yaml(value)}", meanings.get(key, "")


@cache
def meanings_of(target: str) -> dict[str, str]:
    """First sentence of each ``Args:`` or ``Attributes:`` entry of one of swapper's own classes.

    Args:
        target: Dotted name of a class or function, or of a method of a class.

    Returns:
        By parameter; empty for what is not swapper's.
    """
    module, _, name = target.rpartition(".")
    if not module.startswith("swapper."):
        return {}
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a method: the class's docstring tells
        return meanings_of(module)
    if spec is None or spec.origin is None:
        return {}
    with open(spec.origin, encoding="utf-8") as stream:  # noqa: PTH123 (as Python reads source)
        tree = ast.parse(stream.read())
    documented = (ast.ClassDef, ast.FunctionDef)
    found = [each for each in tree.body if isinstance(each, documented) and each.name == name]
    return _entries(ast.get_docstring(found[0]) or "") if found else {}


def _entries(docstring: str) -> dict[str, str]:
    meanings: dict[str, str] = {}
    key = ""
    for line in inspect.cleandoc(docstring).splitlines():
        if entry := _ENTRY.match(line):
            key, meanings[entry[1]] = entry[1], entry[2]
        elif key and line.startswith("        "):
            meanings[key] += " " + line.strip()
        else:
            key = ""
    return {key: _first_sentence(text) for key, text in meanings.items()}


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[a-z0-9)`])\. |[.;] (?=[A-Z])|; ", text, maxsplit=1)[0].rstrip(".")
