"""Markdown tables of scores over clips and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.metrics.bootstrap import Interval, bootstrap, paired_bootstrap
from swapper.metrics.truth_scores import AREAS

Scores = Mapping[tuple[int, str], Mapping[str, Any]]
"""`ClipScore.to_dict` by seed and clip."""
Metric = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Column:
    """A table column.

    Attributes:
        title: Heading; ↑ or ↓ marks which direction is better.
        metric: Extracts the figure from a score; NaN if missing.
        digits: Decimals.
    """

    title: str
    metric: Metric
    digits: int = 2


def value_at(*path: str) -> Metric:
    """Metric: the number at a path of keys, NaN if missing."""

    def metric(score: Mapping[str, Any]) -> float:
        value: Any = score
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return math.nan if value is None else float(value)

    return metric


def emotion_mean(unseen: bool, *path: str) -> Metric:
    """Metric: mean over the emotions that the identity's footage has (or lacks, if `unseen`)."""
    read = value_at(*path)

    def metric(score: Mapping[str, Any]) -> float:
        values = [
            read(each)
            for name, each in score["emotions"].items()
            if bool(each["unseen"]) == unseen and name != "neutral"
        ]
        finite = [value for value in values if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else math.nan

    return metric


WHOLE: Final = (
    *(Column(f"{area} ↓", value_at("areas", area)) for area in AREAS),
    Column("at rest ↓", value_at("emotions", "neutral", "areas", "face")),
    Column("landmarks ↓", value_at("landmark_error"), 3),
    Column("AU error ↓", value_at("units_error"), 3),
    Column("β → 1", value_at("gain")),
    Column("ρ ↑", value_at("correlation")),
    Column("PSNR ↑", value_at("psnr_face"), 1),
    Column("gradient energy → 1", value_at("gradient_energy")),
    Column("mask IoU ↑", value_at("mask_iou")),
    Column("opacity ↑", value_at("opacity")),
)
BY_EMOTION: Final = tuple(
    Column(f"{title}, {word}", emotion_mean(unseen, *path), digits)
    for unseen, word in ((False, "seen"), (True, "unseen"))
    for title, path, digits in (
        ("β", ("gain",), 2),
        ("AU error", ("units_error",), 3),
        *((area, ("areas", area), 2) for area in AREAS[1:]),
    )
)


def unit_columns(names: Sequence[str]) -> list[Column]:
    """Gain and correlation of each action unit."""
    return [
        Column(f"{name} {sign}", value_at("units", name, key))
        for name in names
        for sign, key in (("β", "gain"), ("ρ", "correlation"))
    ]


def emotion_columns(names: Sequence[str]) -> list[Column]:
    """Pooled gain of each emotion."""
    return [Column(f"{name} β", value_at("emotions", name, "gain")) for name in names]


def score_grid(scores: Scores, metric: Metric) -> NDArray[np.float64]:
    """(seeds, clips) of a figure, NaN where a cell is missing."""
    seeds = sorted({seed for seed, _ in scores})
    clips = sorted({clip for _, clip in scores})
    values = np.full((len(seeds), len(clips)), np.nan)
    for (seed, clip), score in scores.items():
        values[seeds.index(seed), clips.index(clip)] = metric(score)
    return values


def config_table(configs: Mapping[str, Scores], columns: Sequence[Column]) -> list[str]:
    """Markdown table of means with intervals: a row per config, a column per figure.

    Empty columns are dropped.
    """
    return _table(configs, columns, lambda scores, metric: bootstrap(score_grid(scores, metric)))


def difference_table(
    configs: Mapping[str, Scores], base: str, columns: Sequence[Column]
) -> list[str]:
    """Markdown table of mean differences to `base` over the cells that both have.

    Bold where the interval excludes zero.
    """

    def difference(scores: Scores, metric: Metric) -> Interval:
        shared = scores.keys() & configs[base].keys()
        if not shared:
            return Interval(math.nan, math.nan, math.nan, 0)
        ours, theirs = (
            score_grid({key: each[key] for key in shared}, metric)
            for each in (scores, configs[base])
        )
        return paired_bootstrap(ours, theirs)

    compared = {name: scores for name, scores in configs.items() if name != base}
    return _table(compared, columns, difference, bold=True)


def scenario_tables(configs: Mapping[str, Scores], bounds: Sequence[str]) -> list[str]:
    """All tables of one scenario, as Markdown.

    Args:
        configs: Scores by name; the first trained one is the base of the differences.
        bounds: Names of configs that were not trained.
    """
    trained = {name: each for name, each in configs.items() if name not in bounds}
    all_scores = [score for each in configs.values() for score in each.values()]
    unseen = {name for s in all_scores for name, e in s["emotions"].items() if e["unseen"]}
    emotions = dict.fromkeys(
        name for s in all_scores for name in s["emotions"] if name != "neutral"
    )
    numbers = sorted(
        {name for s in all_scores for name in s["units"]}, key=lambda name: int(name[2:])
    )
    lines = [
        f"{len({clip for each in configs.values() for _, clip in each})} clips; mean [95 %]. "
        f"Never seen of the identity: {', '.join(sorted(unseen)) or 'nothing'}.",
        "", *config_table(configs, WHOLE),
        "", *config_table(configs, BY_EMOTION),
        "", *config_table(configs, emotion_columns(list(emotions))),
    ]  # fmt: skip
    if len(trained) > 1:
        base = next(iter(trained))
        lines += [
            "", f"Difference to {base}, clip by clip; bold where the interval leaves out 0.",
            "", *difference_table(trained, base, WHOLE),
            "", *difference_table(trained, base, BY_EMOTION),
        ]  # fmt: skip
    for columns in (unit_columns(numbers[i : i + 6]) for i in range(0, len(numbers), 6)):
        lines += ["", *config_table(configs, columns)]
    return lines


def _table(
    configs: Mapping[str, Scores],
    columns: Sequence[Column],
    measure: Callable[[Scores, Metric], Interval],
    bold: bool = False,
) -> list[str]:
    intervals = {
        name: [measure(scores, column.metric) for column in columns]
        for name, scores in configs.items()
    }
    filled = [c for c in range(len(columns)) if any(row[c].cells for row in intervals.values())]
    lines = [
        "| " + " | ".join(["", *(columns[c].title for c in filled)]) + " |",
        "|" + "---|" * (len(filled) + 1),
    ]
    for name, row in intervals.items():
        cells = [_cell(row[c], columns[c].digits, bold) for c in filled]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def _cell(interval: Interval, digits: int, bold: bool) -> str:
    text = interval.format(digits)
    return f"**{text}**" if bold and (interval.low > 0 or interval.high < 0) else text
