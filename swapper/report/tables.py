"""Tables: bar pairs, and measures on a scale from floor to ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from swapper.report.content import Group, Measure, normalised_score
from swapper.report.markup import DASH, coordinate, escape, number, quantity, shorten

_LEFT, _RIGHT = 14.0, 76.0
"""Positions of floor and ceiling on the scale, in percent."""
_EDGE: Final = 2.0


def bar_pair(performer: float, swap: float, maximum: float) -> str:
    """Two bars, one over the other; their numbers are in the table.

    Args:
        performer: Not negative, or NaN for no bar.
        swap: Likewise.
        maximum: Value of a full-width bar; above 0.
    """
    bars = ""
    for y, kind, value in ((2, "performer", performer), (13, "swap", swap)):
        if np.isfinite(value):
            share = coordinate(100 * float(np.clip(value / maximum, 0, 1)))
            bars += f'<rect class="fill {kind}" y="{y}" width="{share}%" height="9"/>'
    return f'<svg class="bars" width="100%" height="24" aria-hidden="true">{bars}</svg>'


def scale(measure: Measure) -> str:
    """Scale of a value between floor (left) and ceiling (right).

    A hollow diamond is the self-swap. "" if `normalised_score` is NaN.
    """
    place, self_swap_place = normalised_score(measure), normalised_score(measure, measure.self_swap)
    if not np.isfinite(place):
        return ""
    x = _LEFT + place * (_RIGHT - _LEFT)
    body = (
        '<line class="rail" x1="0" x2="100%" y1="9" y2="9"/>'
        f'<line class="reach" x1="{_LEFT}%" x2="{_RIGHT}%" y1="9" y2="9"/>'
        f'<line class="floor" x1="{_LEFT}%" x2="{_LEFT}%" y1="3" y2="15"/>'
        f'<line class="ceiling" x1="{_RIGHT}%" x2="{_RIGHT}%" y1="3" y2="15"/>'
    )
    if np.isfinite(self_swap_place):
        self_swap_x = float(np.clip(_LEFT + self_swap_place * (_RIGHT - _LEFT), _EDGE, 100 - _EDGE))
        body += (
            f'<svg x="{coordinate(self_swap_x)}%" overflow="visible">'
            '<polygon class="self-swap" points="0 3 5 9 0 15 -5 9"/></svg>'
        )
    if _EDGE <= x <= 100 - _EDGE:
        body += f'<circle class="value" cx="{coordinate(x)}%" cy="9" r="5"/>'
    else:
        points, edge = ("-3 9 7 4 7 14", 1) if x < _EDGE else ("3 9 -7 4 -7 14", 99)
        body += (
            f'<svg x="{edge}%" overflow="visible"><polygon class="value" points="{points}"/></svg>'
        )
    label = (
        f"{shorten(measure.title, 60)}: {number(measure.value)}, floor {number(measure.floor)}, "
        f"ceiling {number(measure.ceiling)}"
    )
    return (
        f'<svg class="scale" width="100%" height="18" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
    )


def measure_tables(groups: Sequence[Group]) -> str:
    """A table per group, all with the same columns."""
    return "\n".join(
        '<table class="measures"><colgroup><col><col><col></colgroup>'
        f"<caption>{escape(group.title)} <small>{escape(group.instrument_label)}</small></caption>"
        '<thead><tr><th scope="col">Measure</th><th scope="col">Swap</th>'
        '<th scope="col"><span>floor</span><span>ceiling</span></th></tr></thead><tbody>'
        + "".join(map(_row, group.measures))
        + "</tbody></table>"
        for group in groups
    )


def _row(measure: Measure) -> str:
    better_notes = {
        "higher": "",
        "lower": "<small>lower is better</small>",
        "one": "<small>best at 1</small>",
    }
    head = escape(measure.title) + better_notes[measure.better]
    if not np.isfinite(measure.value):
        reason = escape(measure.why_not or "undetermined")
        return (
            f'<tr class="unknown"><th scope="row">{head}</th><td>{DASH}</td>'
            f'<td class="why">{reason}</td></tr>'
        )
    ends = (
        f'<div class="ends"><span>{number(measure.floor)}</span>'
        f"<span>{number(measure.ceiling)}</span></div>"
    )
    drawn = scale(measure)
    if not drawn and np.isfinite(measure.floor + measure.ceiling):
        drawn = '<p class="why">floor and ceiling are equal</p>'
    self_swap = ""
    if np.isfinite(measure.self_swap):
        self_swap = f'<p class="own">self-swap {number(measure.self_swap)}</p>'
    return (
        f'<tr><th scope="row">{head}</th><td>{quantity(measure.value, measure.unit)}</td>'
        f"<td>{drawn}{ends}{self_swap}</td></tr>"
    )


def definitions(facts: Mapping[str, str]) -> str:
    """Definition list of facts; hashes are set in a monospaced font."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd{_kind(value)}>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>'


def _kind(value: str) -> str:
    plain = value.strip().lower()
    hashed = len(plain) >= 16 and set(plain) <= set("0123456789abcdef")
    return ' class="hash"' if hashed else ""
