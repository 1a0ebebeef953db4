"""The emotion timeline as inline SVG.

Widths are in percent and heights in pixels, so that text keeps its size on any screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from markupsafe import Markup

from swapper.report.content import Emotions, Floats
from swapper.report.markup import clock, from_template, shorten
from swapper.report.palette import colour_classes, is_neutral
from swapper.report.thinning import COLUMNS, finite_runs, thinned

_VIEW_WIDTH: Final = 4 * COLUMNS
"""Width of a band's view box; a column is 4."""
_VIEW_HEIGHT: Final = 250
_BAND_HEIGHT: Final = 112
"""Height of one of the two bands in pixels."""
_BANDS_TOP: Final = 40
_MIN_LABEL_SHARE: Final = 0.055
"""Share of the timeline from which a stretch of one emotion is labelled."""
_MIN_LETTER_GAP: Final = 0.025
"""Least distance of two letters, as a share of the timeline."""
_MIN_PROBABILITY: Final = 0.4
"""Least probability of an emotion that is labelled on its band."""


def outline(xs: Sequence[int], ys: Sequence[int]) -> str:
    """Path data through integer points, as relative steps."""
    across, down = np.diff(xs), np.diff(ys)
    steps = (f"{dx}{'' if dy < 0 else ' '}{dy}" for dx, dy in zip(across, down, strict=True))
    return f"M{xs[0]} {ys[0]}l" + " ".join(steps)


# --- emotions over time ---------------------------------------------------------------------------


def timeline(emotions: Emotions, seconds: Floats, marks: Sequence[tuple[str, float]]) -> Markup:
    """Stacked class probabilities, the performer's upwards, the swap's mirrored below.

    Args:
        emotions: T rows; frames without a face are blank.
        seconds: (T,) frame times, increasing.
        marks: Letter and time of key frames.
    """
    places = thinned(_shares(seconds, seconds))
    bands = []
    for traces, top, upwards in (
        (emotions.performer, _BANDS_TOP, True),
        (emotions.swap, _BANDS_TOP + _BAND_HEIGHT + 1, False),
    ):
        paths = _bands(emotions.names, traces, places, upwards=upwards)
        labels = _names_on_bands(emotions.names, traces, places, top, upwards)
        bands.append({"top": top, "paths": paths, "labels": labels})
    return from_template(
        "timeline.svg.jinja",
        bands=bands,
        band_height=_BAND_HEIGHT,
        bands_top=_BANDS_TOP,
        bottom=_BANDS_TOP + 2 * _BAND_HEIGHT + 1,
        description=_description(emotions),
        marks=_marks(seconds, marks),
        middle=_BANDS_TOP + _BAND_HEIGHT + 0.5,
        ticks=_ticks(seconds),
        view_box=(_VIEW_WIDTH, _VIEW_HEIGHT),
    )


def _description(emotions: Emotions) -> str:
    """Accessible description: the most frequent classes of each clip."""
    words = []
    for side, traces in (("performer", emotions.performer), ("swap", emotions.swap)):
        complete = traces[np.isfinite(traces).all(axis=1)]
        if not len(complete):
            words.append(f"No readings of the {side}.")
            continue
        share = np.bincount(complete.argmax(axis=1), minlength=len(emotions.names)) / len(complete)
        leading = [
            f"{emotions.names[c]} {share[c]:.0%}" for c in np.argsort(-share)[:3] if share[c]
        ]
        words.append(
            f"Most frequent emotions of the {side}, by share of frames: {', '.join(leading)}."
        )
    return " ".join(words)


def _shares(seconds: Floats, times: Floats) -> Floats:
    """Positions of times between the clip's first and last frame, in [0, 1]."""
    length = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
    if length <= 0:
        return np.full(len(times), 0.5)
    return np.asarray(np.clip((times - seconds[0]) / length, 0, 1))


def _bands(
    names: Sequence[str], traces: Floats, places: Floats, *, upwards: bool
) -> Iterator[tuple[str, str]]:
    """Yield class and path of each emotion and stretch, largest cumulative sum first."""
    columns = thinned(traces)
    order = sorted(range(len(names)), key=lambda c: is_neutral(names[c]))
    kinds = colour_classes(names)
    for run in finite_runs(columns):
        xs = np.rint(_edges(places, run) * _VIEW_WIDTH).astype(int)
        sums = np.cumsum(np.clip(columns[run][:, order], 0, 1), axis=1)
        sums = np.vstack([sums[:1], sums, sums[-1:]]) / np.maximum(1, sums[:, -1].max())
        for rank in reversed(range(len(order))):
            heights = np.rint(sums[:, rank] * _VIEW_HEIGHT).astype(int)
            start = _VIEW_HEIGHT if upwards else 0
            ys = start - heights if upwards else heights
            way = outline([xs[0], *xs, xs[-1]], [start, *ys, start])
            yield kinds[order[rank]], way


def _edges(places: Floats, run: slice) -> Floats:
    """Positions of a run's columns, extended by half a column at each end."""
    half = 0.5 / max(1, len(places))
    within = places[run]
    around = np.concatenate([[within[0] - half], within, [within[-1] + half]])
    return np.asarray(np.clip(around, 0, 1), dtype=np.float64)


def _names_on_bands(
    names: Sequence[str], traces: Floats, places: Floats, top: int, upwards: bool
) -> Iterator[tuple[float, float, str]]:
    """Yield position in [0, 1], height and name of emotions that last long enough."""
    columns = thinned(traces)
    order = sorted(range(len(names)), key=lambda c: is_neutral(names[c]))
    complete = np.isfinite(columns).all(axis=1)
    leads = np.where(complete, np.nan_to_num(columns).argmax(axis=1), -1)
    leads[np.nan_to_num(columns).max(axis=1) < _MIN_PROBABILITY] = -1
    starts = [0, *(np.flatnonzero(np.diff(leads)) + 1), len(leads)]
    for start, stop in pairwise(starts):
        lead = int(leads[start]) if stop > start else -1
        if lead < 0 or is_neutral(names[lead]):
            continue
        if places[stop - 1] - places[start] < _MIN_LABEL_SHARE:
            continue
        rows = columns[start:stop]
        below = rows[:, order[: order.index(lead)]].sum(axis=1).mean()
        height = (below + rows[:, lead].mean() / 2) * _BAND_HEIGHT
        y = top + (_BAND_HEIGHT - height if upwards else height) + 4
        yield (places[start] + places[stop - 1]) / 2, y, shorten(names[lead], 16)


def _ticks(seconds: Floats) -> Iterator[tuple[float, str]]:
    """Yield position in [0, 1] and label of the time ticks below the bands."""
    if not len(seconds):
        return
    first, last = float(seconds[0]), float(seconds[-1])
    step = next(
        (s for s in (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if (last - first) / s <= 8), 1800
    )
    times = np.arange(np.ceil(first / step) * step, last + 1e-9, step)[:400]
    for share, time in zip(_shares(seconds, times).tolist(), times.tolist(), strict=True):
        label = clock(time)
        short = label.replace(".0\xa0s", "\xa0s") if "s" in label else label.removesuffix(".0")
        yield share, short


def _marks(seconds: Floats, marks: Sequence[tuple[str, float]]) -> Iterator[dict[str, object]]:
    """Yield the letters above the bands; letters that would overlap are grouped."""
    shares_of = _shares(seconds, np.array([time for _, time in marks])).tolist()
    groups: list[list[tuple[float, str]]] = []
    for share, letter in sorted(zip(shares_of, (letter for letter, _ in marks), strict=True)):
        if groups and share - groups[-1][-1][0] < _MIN_LETTER_GAP:
            groups[-1].append((share, letter))
        else:
            groups.append([(share, letter)])
    for group in groups:
        shares, letters = zip(*group, strict=True)
        middle = float(np.clip(np.mean(shares), 0.006, 0.994))
        yield {"shares": shares, "middle": middle, "letters": "".join(letters)}
