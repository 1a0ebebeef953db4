"""Results of a study as ``results.html`` and ``results.json``."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from swapper.metrics.bootstrap import Interval
from swapper.user_study.answers import Exclusion
from swapper.user_study.counts import StudyCounts
from swapper.user_study.study_page import page_file
from swapper.user_study.trials import SCHEMA, Study

_ROW, _LEFT, _WIDTH, _TOP = 40, 140, 520, 14
_RIGHT = _WIDTH - 22


def results_data(
    study: Study, counts: StudyCounts, excluded: Sequence[Exclusion]
) -> dict[str, object]:
    """JSON values of the results; None stands for NaN."""
    return {
        "schema": SCHEMA,
        "study": study.id,
        "counting": (
            "cannot tell: half a win each; checks and repeats: not counted; strengths: "
            "Bradley-Terry, log-odds of mean 0; intervals: 95 %, over participants"
        ),
        "participants": sum(each.counts for each in counts.attention),
        "answers": counts.answers,
        "cannot_tell": counts.ties,
        "median_seconds": _or_null(counts.seconds),
        "systems": [
            {
                "name": name,
                "strength": _or_null(each.mean),
                "low": _or_null(each.low),
                "high": _or_null(each.high),
            }
            for name, each in zip(counts.systems, counts.strengths, strict=True)
        ],
        "pairs": [
            {
                "first": first,
                "second": second,
                **{name: _or_null(value) for name, value in vars(rate).items()},
            }
            for first, second, rate in counts.pairs
        ],
        "attention": [vars(each) for each in counts.attention],
        "left_out": [{"who": each.name, "why": each.reason} for each in excluded],
    }


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def results_page(study: Study, counts: StudyCounts, excluded: Sequence[Exclusion]) -> str:
    """Render the results as one self-contained HTML file; all text from files is escaped."""
    counted = sum(each.counts for each in counts.attention)
    facts = [
        (counted, "participants count"),
        (counts.answers, "comparisons"),
        (
            f"{counts.ties / counts.answers:.0%}" if counts.answers else "–",
            "answered “cannot tell”",
        ),
        (_consistency(counts), "same answer on repeats"),
    ]
    items = "".join(f"<li><b>{value}</b><span>{label}</span></li>" for value, label in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>User study: expression of face swaps</title>
<style>
{page_file("paper.css")}{page_file("results.css")}</style>
</head>
<body>
<main>
<p class="quiet">Study {study.id}</p>
<h1>{_verdict(counts)}</h1>
<ul class="facts">{items}</ul>
<figure>
{_forest(counts)}
<figcaption>Probability of choosing each system over one of average strength (Bradley-Terry),
with 95&nbsp;% intervals over participants. The dashed line is chance.</figcaption>
</figure>
<h2>Win rates</h2>
{_table(("System", "over", "win rate", "answers", "participants"), _pair_rows(counts))}
<h2>Strengths</h2>
{_table(("System", "log-odds, mean 0"), _strength_rows(counts))}
<h2>Attention checks</h2>
{_attention(counts)}
{_exclusions(excluded)}
<h2>Method</h2>
<p>"Cannot tell" counts as half a win for each. Attention checks, with the performer's own clip on
one side, and repeats are not counted. Intervals of win rates are Wilson's, on the effective number
of answers, since those of one participant are correlated; intervals of strengths are bootstrapped
over participants. There is no correction for multiple comparisons.</p>
</main>
</body>
</html>
"""


def _verdict(counts: StudyCounts) -> str:
    """One sentence; a lead requires that the pair's interval excludes chance."""
    first, second, rate = counts.pairs[0]
    best, next_best = html.escape(first), html.escape(second)
    if rate.low > 0.5:
        return f"{best} matches the performer’s expression best; {next_best} is second."
    return f"The two best, {best} and {next_best}, do not differ significantly."


def _consistency(counts: StudyCounts) -> str:
    counted = [each for each in counts.attention if each.counts]
    repeats = sum(each.repeats for each in counted)
    return f"{sum(each.same for each in counted) / repeats:.0%}" if repeats else "–"


def _odds(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _forest(counts: StudyCounts) -> str:
    """Forest plot as SVG: a row per system with name, interval and point."""
    bottom = _TOP + _ROW * len(counts.systems)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 28}" role="img" '
        'aria-label="Strength of each system with its interval">'
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, kind = _across(share), "even" if share == 0.5 else "grid"
        parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{x}" y="{bottom + 20}" text-anchor="middle">{share:.0%}</text>'
        )
    for row, (name, strength) in enumerate(zip(counts.systems, counts.strengths, strict=True)):
        parts.append(_forest_row(name, strength, _TOP + _ROW * (row + 0.5)))
    return "\n".join([*parts, "</svg>"])


def _forest_row(name: str, strength: Interval, y: float) -> str:
    short = name if len(name) <= 15 else f"{name[:14]}…"
    text = f'<text x="0" y="{y + 5}">{html.escape(short)}<title>{html.escape(name)}</title></text>'
    if math.isfinite(strength.low) and math.isfinite(strength.high):
        low, high = _across(_odds(strength.low)), _across(_odds(strength.high))
        text += f'<line class="reach" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    return text + f'<circle class="point" cx="{_across(_odds(strength.mean))}" cy="{y}" r="6.5"/>'


def _across(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _pair_rows(counts: StudyCounts) -> list[tuple[object, ...]]:
    return [
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
    ]


def _strength_rows(counts: StudyCounts) -> list[tuple[object, ...]]:
    return [
        (name, each.format()) for name, each in zip(counts.systems, counts.strengths, strict=True)
    ]


def _attention(counts: StudyCounts) -> str:
    rows = [
        (
            participant.participant,
            f"{participant.missed} of {participant.checks}",
            f"{participant.same} of {participant.repeats}",
            "yes" if participant.counts else "no: missed checks",
        )
        for participant in counts.attention
    ]
    return _table(("Participant", "checks missed", "same answer on repeats", "counted"), rows)


def _exclusions(excluded: Sequence[Exclusion]) -> str:
    if not excluded:
        return ""
    rows = [(each.name, each.reason) for each in excluded]
    return "<h2>Excluded files</h2>\n" + _table(("File", "reason"), rows)
