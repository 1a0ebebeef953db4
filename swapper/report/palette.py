"""Colours of emotions, the same on every page for all synonyms of a class."""

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
"""Classes of the style sheet, and the emotion names that they cover."""
_CLASS: Final = {name: kind for kind, names in _SYNONYMS.items() for name in names.split()}
NUM_OTHER_COLOURS: Final = 6
"""Number of colours for other emotions; used cyclically."""


def colour_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the CSS class of each emotion; unknown ones cycle through the other colours."""
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
    """Whether a class name means neutral."""
    return _CLASS.get(name.strip().lower()) == "neutral"
