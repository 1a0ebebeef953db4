"""The table of planted faults in docs/evaluation.md is up to date.

``SWAPPER_WRITE_DOCS=1 pytest tests/metrics/test_docs_table.py`` rewrites it.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from swapper.metrics.diagnosis import Fault
from tests.metrics.test_diagnosis import PLANTS, TAKES, diagnosed

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
BEGIN, END = "<!-- planted faults: begin -->", "<!-- planted faults: end -->"
SHOTS = [(20.0, 25.0, 0.02), (20.0, 30.0, 0.04)]
SEEDS = (10, 11, 12)  # others than those that the thresholds were tried on


def table() -> str:
    """Planted faults, how often they were detected, and other faults reported."""
    lines = [
        "| planted fault | detected, drawn traces | detected, actors' traces | also reported |"
    ]
    lines.append("|---|---|---|---|")
    for name, (plant, wanted) in PLANTS.items():
        cells, besides = [], Counter[str]()
        for kind in TAKES:
            right = 0
            for seed in SEEDS:
                for seconds, fps, noise in SHOTS:
                    found = diagnosed(TAKES[kind](seed, seconds, fps), plant, seed, noise)
                    right += found.faults >= wanted
                    besides.update(found.faults - wanted)
            cells.append(f"{right} of {len(SEEDS) * len(SHOTS)}")
        expected = " + ".join(sorted(wanted, key=list(Fault).index)) or "nothing"
        extra = ", ".join(f"{fault} ({count})" for fault, count in besides.items()) or "–"
        lines.append(f"| {name}: *{expected}* | {cells[0]} | {cells[1]} | {extra} |")
    return "\n".join(lines)


@pytest.mark.slow
def test_the_table_is_true() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert rest, f"{DOCUMENT} has no {BEGIN}"
    now = f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"
    if os.environ.get("SWAPPER_WRITE_DOCS"):
        DOCUMENT.write_text(now, encoding="utf-8")
    assert now == text, "docs/evaluation.md is out of date; see this file's top"
