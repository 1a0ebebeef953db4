r"""Plot the results of bench_train.py: each rung's time relative to the plain loop.

    pip install 'swapper[plots]'
    python scripts/plot_speed.py benchmarks/DATE-train-*.jsonl --figure docs/performance.svg

A panel for each device and model. Full bars are measured, with a line from the 20 % to the 80 %
quantile over rounds; hollow bars are predictions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]
Panels = dict[tuple[str, str], list[Row]]
_PARTS = ("ladder", "prediction")


def read_rows(paths: Sequence[Path]) -> Panels:
    """Read rungs by device and model, the newest of each.

    Raises:
        ValueError: A line was not written by bench_train, or there is no ladder.
    """
    panels: dict[tuple[str, str], dict[str, Row]] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                if row["part"] in _PARTS:
                    panels.setdefault((row["device"], row["model"]), {})[row["rung"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: line {number} is no row of bench_train.py") from error
    if not panels:
        raise ValueError(f"{', '.join(map(str, paths))}: no ladder in there")
    return {place: list(rungs.values()) for place, rungs in panels.items()}


def draw(panels: Panels) -> Figure:
    """Plot all panels in a column."""
    heights = [0.6 + 0.32 * len(rungs) for rungs in panels.values()]
    figure = Figure(figsize=(7.5, sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False, sharex=True)[:, 0]
    for ax, ((device, model), rungs) in zip(axes, panels.items(), strict=True):
        _panel(ax, rungs)
        predicted = "" if rungs[0]["measured"] else " (predicted, not measured)"
        ax.set_title(f"{model}, {device}{predicted}", fontsize=9, loc="left")
    axes[-1].set_xlabel("time of a step, of the plain loop's")
    return figure


def _panel(axes: Axes, rungs: Sequence[Row]) -> None:
    places = range(len(rungs))
    for place, row in zip(places, rungs, strict=True):
        if row["measured"]:
            axes.barh(place, row["ratio"], color="#4477aa", height=0.6)
            axes.plot((row["ratio_low"], row["ratio_high"]), (place, place), color="black")
            text, end = f"{row['ratio']:.2f}", max(row["ratio"], row["ratio_high"])
        else:
            end = row["predicted_ratio"]
            axes.barh(
                place, end, height=0.6, fill=False, edgecolor="#4477aa", linestyle="--", hatch="//"
            )
            text = f"{end:.2f}"
        axes.text(end + 0.01, place, text, va="center", fontsize=8)
    axes.set_yticks(places, [row["rung"] for row in rungs], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_xlim(0, 1.15)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path, nargs="+", help="JSON lines of bench_train.py")
    parser.add_argument("--figure", type=Path, required=True, help=".svg, .png or .pdf to write")
    options = parser.parse_args(argv)
    try:
        figure = draw(read_rows(options.rows))
        # Reproducible output: no date, no random ids.
        metadata = {"Date": None} if options.figure.suffix == ".svg" else None
        with mpl.rc_context({"svg.hashsalt": "swapper", "svg.fonttype": "none"}):
            figure.savefig(options.figure, metadata=metadata)
    except (OSError, ValueError) as error:
        print(f"plot_speed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
