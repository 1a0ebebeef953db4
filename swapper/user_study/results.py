"""Results of a study as ``results.html`` and ``results.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from swapper.files import without_nan
from swapper.user_study.answers import Exclusion
from swapper.user_study.counts import StudyCounts
from swapper.user_study.study_page import TEMPLATES, page_file
from swapper.user_study.trials import SCHEMA, Study

_ROW, _LEFT, _WIDTH, _TOP = 40, 140, 520, 14
_RIGHT = _WIDTH - 22


def results_data(
    study: Study, counts: StudyCounts, excluded: Sequence[Exclusion]
) -> dict[str, object]:
    """JSON values of the results; None stands for NaN."""
    data = {
        "schema": SCHEMA,
        "study": study.id,
        "counting": (
            "cannot tell: half a win each; checks and repeats: not counted; strengths: "
            "Bradley-Terry, log-odds of mean 0; intervals: 95 %, over participants"
        ),
        "participants": sum(each.counts for each in counts.attention),
        "answers": counts.answers,
        "cannot_tell": counts.ties,
        "median_seconds": counts.seconds,
        "systems": [
            {"name": name, "strength": each.mean, "low": each.low, "high": each.high}
            for name, each in zip(counts.systems, counts.strengths, strict=True)
        ],
        "pairs": [
            {"first": first, "second": second, **vars(rate)} for first, second, rate in counts.pairs
        ],
        "attention": [vars(each) for each in counts.attention],
        "left_out": [{"who": each.name, "why": each.reason} for each in excluded],
    }
    return dict(without_nan(data))


def results_page(study: Study, counts: StudyCounts, excluded: Sequence[Exclusion]) -> str:
    """Render the results as one self-contained HTML file; all text from files is escaped."""
    counted = [each for each in counts.attention if each.counts]
    repeats, same = (sum(getattr(each, key) for each in counted) for key in ("repeats", "same"))
    return TEMPLATES.get_template("pages/results.html.jinja").render(
        study=study,
        counts=counts,
        style=page_file("paper.css") + page_file("results.css"),
        facts=[
            (len(counted), "participants count"),
            (counts.answers, "comparisons"),
            (_percent(counts.ties, counts.answers), "answered “cannot tell”"),
            (_percent(same, repeats), "same answer on repeats"),
        ],
        forest={
            name: [
                _across(1 / (1 + math.exp(-log_odds)))
                for log_odds in (each.low, each.mean, each.high)
            ]
            for name, each in zip(counts.systems, counts.strengths, strict=True)
        },
        across=_across,
        row_height=_ROW,
        top=_TOP,
        width=_WIDTH,
        pair_rows=[
            (
                first,
                second,
                f"{rate.share:.0%} [{rate.low:.0%}, {rate.high:.0%}]"
                if rate.answers
                else "not compared",
                rate.answers,
                rate.participants,
            )
            for first, second, rate in counts.pairs
        ],
        strength_rows=zip(counts.systems, counts.strengths, strict=True),
        attention_rows=[
            (
                each.participant,
                f"{each.missed} of {each.checks}",
                f"{each.same} of {each.repeats}",
                "yes" if each.counts else "no: missed checks",
            )
            for each in counts.attention
        ],
        excluded_rows=[(each.name, each.reason) for each in excluded],
    )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"


def _across(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)
