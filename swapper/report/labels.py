"""Place the labels of a chart's points without overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

_WIDTH: Final = 0.56
"""Width of a letter relative to its height; slightly more than most fonts need."""
_GAP: Final = 3.0

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Dot:
    """A point with an optional label.

    Attributes:
        x, y: Centre.
        radius: In the same units.
        name: Text of its label; "" for none.
    """

    x: float
    y: float
    radius: float
    name: str = ""


@dataclass(frozen=True)
class Label:
    """A placed label.

    Attributes:
        name: Text.
        x, y: Start, middle or end of its baseline.
        anchor: Which of these.
        box: Bounding box.
    """

    name: str
    x: float
    y: float
    anchor: Literal["start", "middle", "end"]
    box: Box


def place_labels(dots: Sequence[Dot], room: Box, size: float) -> list[Label]:
    """Place each label right, left, above or below its point, where it overlaps nothing.

    Args:
        dots: In order of priority; those without a name are obstacles only.
        room: Bounds of all labels.
        size: Font size.

    Returns:
        The labels that could be placed, in the order of their points.
    """
    occupied = [_dot_box(dot) for dot in dots]
    placed: list[Label] = []
    for index, dot in enumerate(dots):
        if not dot.name:
            continue
        for label in _candidates(dot, size):
            obstacles = (box for place, box in enumerate(occupied) if place != index)
            if _within(label.box, room) and not any(_overlap(label.box, box) for box in obstacles):
                placed.append(label)
                occupied.append(label.box)
                break
    return placed


def _candidates(dot: Dot, size: float) -> list[Label]:
    away = dot.radius + _GAP
    slant = away * 0.75
    middle, above, below = dot.y + 0.35 * size, dot.y - slant, dot.y + slant + 0.75 * size
    return [
        _label(dot.name, dot.x + away, middle, "start", size),
        _label(dot.name, dot.x - away, middle, "end", size),
        _label(dot.name, dot.x, dot.y - away - 0.15 * size, "middle", size),
        _label(dot.name, dot.x, dot.y + away + 0.8 * size, "middle", size),
        _label(dot.name, dot.x + slant, above, "start", size),
        _label(dot.name, dot.x + slant, below, "start", size),
        _label(dot.name, dot.x - slant, above, "end", size),
        _label(dot.name, dot.x - slant, below, "end", size),
    ]


def _label(
    name: str, x: float, y: float, anchor: Literal["start", "middle", "end"], size: float
) -> Label:
    width = _WIDTH * size * len(name)
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    return Label(name, x, y, anchor, (left, y - 0.9 * size, left + width, y + 0.35 * size))


def _dot_box(dot: Dot) -> Box:
    return dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius


def _within(box: Box, room: Box) -> bool:
    return box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
