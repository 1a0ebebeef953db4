"""Two-dimensional charts: valence and arousal over time; gain and correlation of units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from markupsafe import Markup

from swapper.report.content import Floats, UnitAgreement
from swapper.report.labels import Dot, place_labels
from swapper.report.markup import from_template, number, shorten
from swapper.report.thinning import finite_runs, thinned

SIDE: Final = 440
"""Side of a chart in view-box pixels, and on the page if it fits."""
_MIDDLE: Final = SIDE / 2
_RADIUS: Final = SIDE / 2 - 26
"""Of the valence-arousal chart, in the same units."""
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


def affect_path(performer: Floats, swap: Floats) -> Markup:
    """Trajectories (T, 2) through valence (x) and arousal (y) in [-1, 1], fading in with time."""
    limit = _axis_limit(performer, swap)
    return from_template(
        "affect.svg.jinja",
        description=" ".join(_means(performer, swap)),
        limit=limit,
        middle=_MIDDLE,
        radius=_RADIUS,
        side=SIDE,
        trajectories={
            role: _trajectory(thinned(np.clip(trace, -1, 1), _STEPS), limit)
            for role, trace in (("performer", performer), ("swap", swap))
        },
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


def _trajectory(trace: Floats, limit: float) -> tuple[list[tuple[float, Floats]], Floats]:
    """Pieces as opacity and (n, 2) points, and (2, 2) start and end, or (0, 2) without a face."""
    points = _MIDDLE + trace * [1, -1] / limit * _RADIUS
    count = len(points)
    pieces = []
    for run in finite_runs(points):
        cuts = np.unique(
            [run.start, *np.linspace(0, count, _FADES + 1)[1:-1].astype(int), run.stop]
        )
        for start, stop in pairwise(cuts[(cuts >= run.start) & (cuts <= run.stop)]):
            opacity = 0.2 + 0.8 * min(_FADES, start * _FADES // count + 1) / _FADES
            pieces.append((opacity, points[start : min(stop + 1, run.stop)]))
    return pieces, points[np.isfinite(points).all(axis=1)][[0, -1] if pieces else []]


# --- gain and correlation -------------------------------------------------------------------------


def following_plane(units: Sequence[UnitAgreement]) -> Markup:
    """A dot per unit, sized by the performer's motion; units outside the axes become arrows."""
    finite = sorted(
        (unit for unit in units if np.isfinite(unit.gain) and np.isfinite(unit.correlation)),
        key=lambda unit: -(unit.motion if np.isfinite(unit.motion) else 0.0),
    )
    most = max((unit.motion for unit in finite if np.isfinite(unit.motion)), default=0.0)
    dots = [
        _dot(unit, most, shorten(unit.name, 24) if rank < MAX_LABELS else "")
        for rank, unit in enumerate(finite)
    ]
    target = Dot(_across(1.0), _down(1.0), 7.0)
    labels = place_labels([*dots, target], (_BOX[0] + 2, 2.0, SIDE - 2.0, _BOX[3]), _LETTERS)
    described = "; ".join(
        f"{shorten(unit.name, 24)}: gain {number(unit.gain)}, correlation "
        f"{number(unit.correlation)}"
        for unit in finite[:MAX_LABELS]
    )
    return from_template(
        "units.svg.jinja",
        across=_across,
        box=_BOX,
        description=f"The units with the performer's largest motion. {described or 'None.'}",
        # Largest first, so that smaller ones stay visible.
        dots=[(unit, dot, _direction(unit)) for unit, dot in zip(finite, dots, strict=True)],
        down=_down,
        labels=labels,
        side=SIDE,
    )


def is_outside(unit: UnitAgreement) -> bool:
    """Whether a unit is outside the chart's axes."""
    return not (
        _GAINS[0] <= unit.gain <= _GAINS[1]
        and _CORRELATIONS[0] <= unit.correlation <= _CORRELATIONS[1]
    )


def _share(value: float, axis: tuple[float, float]) -> float:
    return float(np.clip((value - axis[0]) / (axis[1] - axis[0]), 0, 1))


def _across(gain: float) -> float:
    return round(_BOX[0] + _share(gain, _GAINS) * (_BOX[2] - _BOX[0]), 1)


def _down(correlation: float) -> float:
    return round(_BOX[3] - _share(correlation, _CORRELATIONS) * (_BOX[3] - _BOX[1]), 1)


def _dot(unit: UnitAgreement, most: float, name: str) -> Dot:
    share = unit.motion / most if most > 0 and np.isfinite(unit.motion) else 0.0
    # The area is proportional to motion, not the radius.
    radius = 6.0 if is_outside(unit) else 2.5 + 7.0 * float(np.sqrt(np.clip(share, 0, 1)))
    return Dot(_across(unit.gain), _down(unit.correlation), radius, name)


def _direction(unit: UnitAgreement) -> int | None:
    """Clockwise degrees from the right in which a unit is outside the axes; None if it is not."""
    if not is_outside(unit):
        return None
    right = (unit.gain > _GAINS[1]) - (unit.gain < _GAINS[0])
    down = (unit.correlation < _CORRELATIONS[0]) - (unit.correlation > _CORRELATIONS[1])
    return round(float(np.degrees(np.arctan2(down, right))))
