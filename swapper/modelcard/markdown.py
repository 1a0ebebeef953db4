"""Lines of Markdown from text that nobody has checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_MAX_TEXT: Final = 2000


def escaped(value: object) -> str:
    """Text from a file for Markdown: one line, bounded, nothing in it is markup or a link."""
    text = " ".join(str(value).split())
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT] + " ... (the rest is in model.json)"
    return re.sub(r"([\\`*_\[\]<>|~&#@!$]|:(?=//)|(?<=www)\.)", r"\\\1", text)


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0
) -> list[str]:
    """Lines of a table; its last `numbers` columns are set to the right."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return [f"| {' | '.join(cells)} |" for cells in (head, rules, *rows)]


def percent(share: float) -> str:
    """A share in [0, 1] for reading."""
    return f"{100 * share:.0f} %"
