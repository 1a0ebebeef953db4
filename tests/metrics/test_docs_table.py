"""The table of planted faults in docs/evaluation.md is what the diagnosis says today.

``SWAPPER_WRITE_DOCS=1 pytest tests/measures/test_docs_table.py`` writes it anew.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from swapper.metrics.diagnosis import Fault
from tests.metrics.test_diagnosis import PLANTS, TAKES, diagnosed

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
BEGIN, END = "<!-- planted faults: begin -->", "<!-- planted faults: end -->"
SHOTS = [(20.0, 25.0, 0.02), (20.0, 30.0, 0.04)]
SEEDS = (10, 11, 12)  # others than those that the thresholds were tried on


def table() -> str:
    """What was planted, what was found how often, and what else."""
    lines = ["| planted | found, drawn traces | found, actors' traces | named besides |"]
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
        says = " + ".join(sorted(wanted, key=list(Fault).index)) or "nothing"
        extra = ", ".join(f"{fault} ({count})" for fault, count in besides.items()) or "–"
        lines.append(f"| {name}: *{says}* | {cells[0]} | {cells[1]} | {extra} |")
    return "\n".join(lines)


def test_the_table_is_true() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert rest, f"{DOCUMENT} has no {BEGIN}"
    now = f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"
    if os.environ.get("SWAPPER_WRITE_DOCS"):
        DOCUMENT.write_text(now, encoding="utf-8")
    assert now == text, "docs/evaluation.md is not what the diagnosis says; see this file's top"
