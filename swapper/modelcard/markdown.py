"""Markdown from untrusted text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_MAX_TEXT: Final = 2000


def escaped(value: object) -> str:
    """Escape untrusted text for Markdown: one line, bounded, without markup or links."""
    text = " ".join(str(value).split())
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT] + " ... (the rest is in model.json)"
    return re.sub(r"([\\`*_\[\]<>|~&#@!$]|:(?=//)|(?<=www)\.)", r"\\\1", text)


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0
) -> list[str]:
    """Lines of a table; its last `numbers` columns are right-aligned."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return [f"| {' | '.join(cells)} |" for cells in (head, rules, *rows)]


def percent(share: float) -> str:
    """Format a share in [0, 1] as a percentage."""
    return f"{100 * share:.0f} %"
