"""Two-dimensional charts: valence and arousal over time; gain and correlation of units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from swapper.report.charts import drawing, text
from swapper.report.content import Floats, UnitAgreement
from swapper.report.labels import Dot, place_labels
from swapper.report.markup import coordinate, escape, number, shorten
from swapper.report.thinning import finite_runs, thinned

SIDE: Final = 440
"""Side of a chart in view-box pixels, and on the page if it fits."""
_STEPS: Final = 240
_FADES: Final = 8

_GAINS: Final = (-0.2, 1.6)
_CORRELATIONS: Final = (-0.2, 1.0)
_BOX: Final = (44.0, 28.0, 426.0, 388.0)
"""Left, top, right, bottom of the β–ρ chart's plotting area."""
MAX_LABELS: Final = 12
"""Most units that are labelled: those that the performer moves most."""
_LETTERS: Final = 12.5


# --- valence and arousal --------------------------------------------------------------------------


def affect_path(performer: Floats, swap: Floats) -> str:
    """Trajectories through valence (x) and arousal (y), fading in with time.

    Args:
        performer: (T, 2) in [-1, 1], NaN where there was no face.
        swap: Likewise.
    """
    limit = _axis_limit(performer, swap)
    body = [*_circumplex(limit)]
    for role, trace in (("performer", performer), ("swap", swap)):
        body += _trajectory(role, thinned(np.clip(trace, -1, 1), _STEPS), limit)
    return drawing(
        "affect",
        "Valence and arousal",
        " ".join(_means(performer, swap)),
        "".join(body),
        f'viewBox="0 0 {SIDE} {SIDE}"',
        "plane",
    )


def _axis_limit(performer: Floats, swap: Floats) -> float:
    """Axis limit: 1, or 0.5 if all values are at most 0.48."""
    both = np.abs(np.concatenate([performer.ravel(), swap.ravel()]))
    finite = both[np.isfinite(both)]
    return 0.5 if len(finite) and finite.max() <= 0.48 else 1.0


def _means(performer: Floats, swap: Floats) -> Iterator[str]:
    for side, trace in (("performer", performer), ("swap", swap)):
        complete = trace[np.isfinite(trace).all(axis=1)]
        if len(complete):
            valence, arousal = complete.mean(axis=0)
            yield f"Mean of the {side}: valence {valence:.2f}, arousal {arousal:.2f}."
        else:
            yield f"No readings of the {side}."


def _circumplex(limit: float) -> Iterator[str]:
    middle, radius = SIDE / 2, SIDE / 2 - 26
    yield f'<circle class="field" cx="{middle}" cy="{middle}" r="{radius}"/>'
    yield f'<circle class="grid" cx="{middle}" cy="{middle}" r="{radius / 2}"/>'
    low, high = middle - radius, middle + radius
    yield f'<line class="grid" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
    yield f'<line class="grid" x1="{middle}" x2="{middle}" y1="{low}" y2="{high}"/>'
    yield text(str(middle), low - 9, "aroused", "quiet", "middle")
    yield text(str(middle), high + 19, "calm", "quiet", "middle")
    for x, words in ((low + 6, "unpleasant"), (high - 6, "pleasant")):
        yield text(str(x), middle - 7, words, "quiet", "start" if x < middle else "end")
    yield text(str(middle + 5), low + 15, f"{limit:g}", "quiet small")
    yield text(str(middle + 5), middle - radius / 2 + 15, f"{limit / 2:g}", "quiet small")


def _trajectory(role: str, trace: Floats, limit: float) -> Iterator[str]:
    middle, radius = SIDE / 2, SIDE / 2 - 26
    xs = middle + trace[:, 0] / limit * radius
    ys = middle - trace[:, 1] / limit * radius
    finite = np.flatnonzero(np.isfinite(xs + ys))
    if not len(finite):
        return
    for run in finite_runs(np.stack([xs, ys], axis=1)):
        cuts = np.unique(
            [run.start, *np.linspace(0, len(xs), _FADES + 1)[1:-1].astype(int), run.stop]
        )
        cuts = cuts[(cuts >= run.start) & (cuts <= run.stop)]
        for start, stop in pairwise(cuts):
            piece = slice(start, min(stop + 1, run.stop))
            points = " ".join(
                f"{coordinate(x)},{coordinate(y)}"
                for x, y in zip(xs[piece], ys[piece], strict=True)
            )
            opacity = coordinate(0.2 + 0.8 * min(_FADES, start * _FADES // len(xs) + 1) / _FADES)
            yield f'<polyline class="way {role}" opacity="{opacity}" points="{points}"/>'
    for place, end in ((finite[0], "start"), (finite[-1], "end")):
        x, y = coordinate(xs[place]), coordinate(ys[place])
        yield f'<circle class="{end} {role}" cx="{x}" cy="{y}" r="5.5"/>'


# --- gain and correlation -------------------------------------------------------------------------


def following_plane(units: Sequence[UnitAgreement]) -> str:
    """A dot per unit, sized by the performer's motion; units outside the axes become arrows."""
    finite = sorted(
        (unit for unit in units if np.isfinite(unit.gain) and np.isfinite(unit.correlation)),
        key=lambda unit: -(unit.motion if np.isfinite(unit.motion) else 0.0),
    )
    most = max((unit.motion for unit in finite if np.isfinite(unit.motion)), default=0.0)
    shapes, dots = [], []
    for rank, unit in enumerate(finite):
        dot = _dot(unit, most, shorten(unit.name, 24) if rank < MAX_LABELS else "")
        dots.append(dot)
        shapes.append(_shape(unit, dot))
    x, y = _across(1.0), _down(1.0)
    target = Dot(x, y, 7.0)
    labels = place_labels([*dots, target], (_BOX[0] + 2, 2.0, SIDE - 2.0, _BOX[3]), _LETTERS)
    body = [
        *_axes(),
        f'<path class="goal" d="M{x - 9} {y}h18M{x} {y - 9}v18"/>',
        # Largest first, so that smaller ones stay visible.
        *shapes,
        *(text(coordinate(at.x), at.y, at.name, "unit", at.anchor) for at in labels),
    ]
    description = "; ".join(
        f"{shorten(unit.name, 24)}: gain {number(unit.gain)}, correlation "
        f"{number(unit.correlation)}"
        for unit in finite[:MAX_LABELS]
    )
    return drawing(
        "following",
        "Gain and correlation of each unit",
        f"The units with the performer's largest motion. {description or 'None.'}",
        "".join(body),
        f'viewBox="0 0 {SIDE} {SIDE}"',
        "plane",
    )


def is_outside(unit: UnitAgreement) -> bool:
    """Whether a unit is outside the chart's axes."""
    return not (
        _GAINS[0] <= unit.gain <= _GAINS[1]
        and _CORRELATIONS[0] <= unit.correlation <= _CORRELATIONS[1]
    )


def _across(gain: float) -> float:
    share = (gain - _GAINS[0]) / (_GAINS[1] - _GAINS[0])
    return round(_BOX[0] + float(np.clip(share, 0, 1)) * (_BOX[2] - _BOX[0]), 1)


def _down(correlation: float) -> float:
    share = (correlation - _CORRELATIONS[0]) / (_CORRELATIONS[1] - _CORRELATIONS[0])
    return round(_BOX[3] - float(np.clip(share, 0, 1)) * (_BOX[3] - _BOX[1]), 1)


def _dot(unit: UnitAgreement, most: float, name: str) -> Dot:
    share = unit.motion / most if most > 0 and np.isfinite(unit.motion) else 0.0
    # The area is proportional to motion, not the radius.
    radius = 2.5 + 7.0 * float(np.sqrt(np.clip(share, 0, 1)))
    if is_outside(unit):
        radius = 6.0
    return Dot(_across(unit.gain), _down(unit.correlation), radius, name)


def _shape(unit: UnitAgreement, dot: Dot) -> str:
    description = f"{shorten(unit.name, 40)}: β {number(unit.gain)}, ρ {number(unit.correlation)}"
    title = escape(description)
    x, y = coordinate(dot.x), coordinate(dot.y)
    if not is_outside(unit):
        return (
            f'<circle class="dot" cx="{x}" cy="{y}" r="{coordinate(dot.radius)}">'
            f"<title>{title}</title></circle>"
        )
    right = (unit.gain > _GAINS[1]) - (unit.gain < _GAINS[0])
    down = (unit.correlation < _CORRELATIONS[0]) - (unit.correlation > _CORRELATIONS[1])
    turn = round(float(np.degrees(np.arctan2(down, right))))
    return (
        f'<path class="dot" d="M0 0l-10-5v10z" transform="translate({x} {y}) rotate({turn})">'
        f"<title>{title}</title></path>"
    )


def _axes() -> Iterator[str]:
    left, top, right, bottom = _BOX
    yield (
        f'<rect class="field" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>'
    )
    for gain in (0.0, 0.5, 1.0, 1.5):
        x = _across(gain)
        kind = "ideal" if gain == 1 else "grid"
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield text(str(x), bottom + 18, f"{gain:g}", "quiet", "middle")
    for correlation in (0.0, 0.5, 1.0):
        y = _down(correlation)
        kind = "ideal" if correlation == 1 else "grid"
        yield f'<line class="{kind}" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield text(str(left - 8), y + 4, f"{correlation:g}", "quiet", "end")
    yield text(str(left), bottom + 42, "← damped", "quiet")
    yield text(str((left + right) / 2), bottom + 42, "gain β", "axis-name", "middle")
    yield text(str(right), bottom + 42, "exaggerated →", "quiet", "end")
    middle = (top + bottom) / 2
    yield (
        f'<g transform="rotate(-90 9 {middle})">'
        f"{text('9', middle, 'correlation ρ', 'axis-name', 'middle')}</g>"
    )
