"""Which colour an emotion has: the same on every page, whatever its reader calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SYNONYMS: Final = {
    "neutral": "neutral calm none other",
    "happiness": "happiness happy joy joyful amusement",
    "surprise": "surprise surprised awe",
    "sadness": "sadness sad sorrow",
    "fear": "fear fearful afraid scared",
    "anger": "anger angry rage",
    "disgust": "disgust disgusted",
    "contempt": "contempt contemptuous",
    "tired": "tired tiredness sleepy",
    "bored": "bored boredom",
    "seductive": "seductive desire",
}
"""Classes of the style sheet, and the names for which they stand."""
_CLASS: Final = {name: kind for kind, names in _SYNONYMS.items() for name in names.split()}
NUM_OTHER_COLOURS: Final = 6
"""Colours for emotions without one of their own; with more of them they come round again."""


def colour_classes(names: Sequence[str]) -> tuple[str, ...]:
    """A class of the style sheet for each emotion; those that are not known take turns."""
    classes: list[str] = []
    unknown = 0
    for name in names:
        css_class = _CLASS.get(name.strip().lower())
        if css_class is None:
            css_class = f"other-{unknown % NUM_OTHER_COLOURS}"
            unknown += 1
        classes.append(f"e-{css_class}")
    return tuple(classes)


def is_neutral(name: str) -> bool:
    """Whether an emotion is the lack of one."""
    return _CLASS.get(name.strip().lower()) == "neutral"
