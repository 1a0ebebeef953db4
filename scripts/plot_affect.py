r"""Plot the results of bench_affect.py: gain and correlation of expression, and image error.

    pip install 'swapper[plots]'
    python scripts/plot_affect.py out/bench_affect/cells.jsonl docs/affect.svg

One column per scenario. Above, gain β over correlation ρ of every config: a dot per seed, a disc
for their mean; the top right corner is perfect, the star is the score of the ground truth clip.
Below, image error against ground truth, on emotions unseen in the identity's footage if there are
any, else on all frames.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from score_tables import Metric, emotion_mean, score_grid, value_at

Scores = dict[tuple[int, str], Mapping[str, Any]]
ANSWER, PERFORMER = "(answer)", "(performer)"
GOAL = 0.95
_COLOURS = (
    *("#333333", "#999999", "#4477aa", "#ccbb44", "#aa3377", "#228833", "#66ccee", "#ee6677"),
    *("#ee9922", "#882255", "#44aa99", "#997744"),
)


def read_cells(path: Path) -> dict[str, dict[str, Scores]]:
    """Read scores by scenario and config, in the order of the file.

    Raises:
        ValueError: A line was not written by bench_affect.
    """
    scenarios: dict[str, dict[str, Scores]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            cell, scores = row["cell"], row["scores"]
            config = scenarios.setdefault(cell["scenario"], {}).setdefault(
                cell["config"]["name"], {}
            )
            for clip, score in scores.items():
                config[cell["seed"], f"{cell['casting']}/{clip}"] = score
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"line {number} is no cell of bench_affect.py") from error
    if not scenarios:
        raise ValueError("holds no finished cell")
    return scenarios


def by_seed(scores: Scores, metric: Metric) -> NDArray[np.float64]:
    """Return (seeds,) means over clips."""
    mean: NDArray[np.float64] = np.nanmean(score_grid(scores, metric), axis=1)
    return mean


def draw(scenarios: Mapping[str, Mapping[str, Scores]]) -> Figure:
    """Plot all scenarios side by side."""
    names = dict.fromkeys(name for each in scenarios.values() for name in each)
    trained = [name for name in names if name not in (ANSWER, PERFORMER)]
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(trained)}
    figure = Figure(figsize=(4.2 * len(scenarios), 7.4), layout="constrained")
    for column, (scenario, configs) in enumerate(scenarios.items()):
        above = figure.add_subplot(2, len(scenarios), column + 1)
        _expression(above, configs, colours)
        above.set_title(scenario)
        below = figure.add_subplot(2, len(scenarios), len(scenarios) + column + 1)
        _error(below, configs, colours, named=not column)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _expression(axes: Axes, configs: Mapping[str, Scores], colours: Mapping[str, str]) -> None:
    gain, correlation = value_at("gain"), value_at("correlation")
    for name, colour in colours.items():
        if name not in configs:
            continue
        x, y = by_seed(configs[name], correlation), by_seed(configs[name], gain)
        axes.scatter(x.mean(), y.mean(), s=110, color=colour, label=name, linewidths=0)
        axes.scatter(x, y, s=14, color=colour, edgecolors="black", linewidths=0.5, zorder=3)
    if ANSWER in configs:
        x, y = by_seed(configs[ANSWER], correlation), by_seed(configs[ANSWER], gain)
        axes.scatter(x.mean(), y.mean(), s=120, marker="*", color="black", label="exact answer")
    for line in (axes.axhline, axes.axvline):
        line(GOAL, color="black", linewidth=0.6, linestyle=":")
    axes.set(xlim=(0, 1.05), ylim=(0, 1.25), xlabel="correlation ρ", ylabel="gain β")
    axes.grid(color="#dddddd", linewidth=0.5)


def _error(
    axes: Axes, configs: Mapping[str, Scores], colours: Mapping[str, str], *, named: bool
) -> None:
    unseen = any(
        each["unseen"]
        for scores in configs.values()
        for score in scores.values()
        for each in score["emotions"].values()
    )
    metric = emotion_mean(True, "areas", "face") if unseen else value_at("areas", "face")
    for place, name in enumerate(reversed(colours)):
        if name not in configs:
            continue
        values = by_seed(configs[name], metric)
        axes.barh(place, values.mean(), color=colours[name], height=0.7)
        axes.scatter(values, np.full(len(values), place), s=10, color="black", zorder=3)
    labels = list(reversed(colours)) if named else []
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    scope = "emotions never shown" if unseen else "all frames"
    axes.set_xlabel(f"face error, {scope} (grey levels)")
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)


def main() -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", type=Path, help="cells.jsonl of bench_affect.py")
    parser.add_argument("figure", type=Path, help=".svg, .png or .pdf to write")
    arguments = parser.parse_args()
    try:
        figure = draw(read_cells(arguments.cells))
        # Reproducible output: no date, no random ids.
        metadata = {"Date": None} if arguments.figure.suffix == ".svg" else None
        with mpl.rc_context({"svg.hashsalt": "swapper", "svg.fonttype": "none"}):
            figure.savefig(arguments.figure, metadata=metadata)
    except (OSError, ValueError) as error:
        print(f"plot_affect: {arguments.cells}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
