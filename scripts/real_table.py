"""Markdown tables of scores on real clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from real_signals import NAMES
from score_tables import Column, value_at

Scores = Mapping[str, Any]
ByConfig = Mapping[str, Mapping[tuple[str, int], Scores]]
"""By config, then by pair and seed."""

COLUMNS: Final = (
    Column("mouth r ↑", value_at("shape", "mouth", "r")),
    Column("mouth gain → 1", value_at("shape", "mouth", "gain")),
    Column("brows r ↑", value_at("shape", "brows", "r")),
    Column("brows gain → 1", value_at("shape", "brows", "gain")),
    Column("to identity ↓", value_at("face", "to identity")),
    Column("to performer ↑", value_at("face", "to performer")),
    Column("nearer identity ↑", value_at("face", "nearer identity")),
    Column("emotions r ↑", value_at("emotions", "r")),
    Column("same emotion ↑", value_at("emotions", "same")),
)
SIGNALS: Final = tuple(
    Column(f"{name} {key}", value_at("shape", name, key)) for name in NAMES for key in ("r", "gain")
)
NOTE: Final = (
    "Mean ± standard deviation over seeds. Mouth and brows: r and gain (slope) of the swap's "
    "signals on the performer's, landmarks by 3DDFA_V2. Distances by dlib; read them first, since "
    "a half-trained swap through which the performer shows follows him perfectly. Emotions by "
    "xception, for what it is worth: r over its classes' probabilities, and the share of frames "
    "off neutral on the performer in which the swap shows the same. –: the performer hardly moves."
)


def report(pairs: Mapping[str, ByConfig]) -> list[str]:
    """Return the results, pair by pair and over all pairs.

    Args:
        pairs: By title, in the order of the report; the first config of each is the base.
    """
    lines = [NOTE]
    for title, configs in pairs.items():
        lines += ["", f"## {title}", "", _bounds(configs), "", *_tables(configs)]
        lines += ["", "By signal; 3DDFA is as good as blind to lids, they go into no mean.", ""]
        lines += _table(configs, SIGNALS, _mean)
    if len(pairs) > 1:
        over: dict[str, dict[tuple[str, int], Scores]] = {}
        for configs in pairs.values():
            for name, scores in configs.items():
                over.setdefault(name, {}).update(scores)
        lines += ["", "## all pairs", "", "Over pairs × seeds.", "", *_tables(over)]
    return lines


def _tables(configs: ByConfig) -> list[str]:
    lines = _table(configs, COLUMNS, _mean_and_deviation)
    if len(configs) > 1:
        base = next(iter(configs))
        lines += ["", f"Difference to {base}, seed by seed.", "", *_differences(configs, base)]
    return lines


def _bounds(configs: ByConfig) -> str:
    """Return the reference values of the scores."""
    every = [scores for each in configs.values() for scores in each.values()]

    def mean(*path: str) -> str:
        return _mean([value_at(*path)(scores) for scores in every], 2)

    return (
        f"Distance to the identity: of its own frames {mean('face', 'within')}, of the performer's "
        f"{mean('face', 'between')}. Against other times of the clip, which is chance, r is "
        f"{mean('chance', 'mouth')} (mouth) and {mean('chance', 'brows')} (brows), root mean "
        "square."
    )


def _differences(configs: ByConfig, base: str) -> list[str]:
    """Return rows of mean differences to a config over common cells."""
    ours = {
        name: {key: (scores, configs[base][key]) for key, scores in each.items()
               if key in configs[base]}
        for name, each in configs.items() if name != base
    }  # fmt: skip
    columns = [Column(each.title, _difference(each.metric), each.digits) for each in COLUMNS]
    return _table(ours, columns, _signed)


def _difference(metric: Callable[[Any], float]) -> Callable[[Any], float]:
    return lambda pair: metric(pair[0]) - metric(pair[1])


def _table(
    configs: Mapping[str, Mapping[Any, Any]],
    columns: Sequence[Column],
    format_cell: Callable[[Sequence[float], int], str],
) -> list[str]:
    lines = [
        "| " + " | ".join(["", "n", *(column.title for column in columns)]) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for name, cells_of_config in configs.items():
        cells = [
            format_cell([c.metric(scores) for scores in cells_of_config.values()], c.digits)
            for c in columns
        ]
        lines.append("| " + " | ".join([name, str(len(cells_of_config)), *cells]) + " |")
    return lines


def _mean(values: Sequence[float], digits: int) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"{np.mean(finite):.{digits}f}" if finite else "–"


def _mean_and_deviation(values: Sequence[float], digits: int, sign: str = "") -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "–"
    mean = f"{np.mean(finite):{sign}.{digits}f}"
    return f"{mean} ± {np.std(finite, ddof=1):.{digits}f}" if len(finite) > 1 else mean


def _signed(values: Sequence[float], digits: int) -> str:
    return _mean_and_deviation(values, digits, "+")
