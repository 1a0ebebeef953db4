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
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Dot:
    """A point: its centre, radius in the same units, and text of its label ("" for none)."""

    x: float
    y: float
    radius: float
    name: str = ""


@dataclass(frozen=True)
class Label:
    """A placed label: the start, middle or end (`anchor`) of its baseline, and bounding box."""

    name: str
    x: float
    y: float
    anchor: Anchor
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
    occupied = [
        (dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius)
        for dot in dots
    ]
    placed: list[Label] = []
    for index, dot in enumerate(dots):
        if not dot.name:
            continue
        width = _WIDTH * size * len(dot.name)
        obstacles = [box for place, box in enumerate(occupied) if place != index]
        for x, y, anchor in _places(dot, size):
            left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
            box = (left, y - 0.9 * size, left + width, y + 0.35 * size)
            if _within(box, room) and not any(_overlap(box, each) for each in obstacles):
                placed.append(Label(dot.name, x, y, anchor, box))
                occupied.append(box)
                break
    return placed


def _places(dot: Dot, size: float) -> list[tuple[float, float, Anchor]]:
    """Where a label may stand, best first."""
    away = dot.radius + _GAP
    slant = away * 0.75
    middle, above, below = dot.y + 0.35 * size, dot.y - slant, dot.y + slant + 0.75 * size
    return [
        (dot.x + away, middle, "start"),
        (dot.x - away, middle, "end"),
        (dot.x, dot.y - away - 0.15 * size, "middle"),
        (dot.x, dot.y + away + 0.8 * size, "middle"),
        (dot.x + slant, above, "start"),
        (dot.x + slant, below, "start"),
        (dot.x - slant, above, "end"),
        (dot.x - slant, below, "end"),
    ]


def _within(box: Box, room: Box) -> bool:
    return box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
