"""Leaderboard of models over clips: means, significant differences, equivalence to the ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.metrics.bootstrap import Interval
from swapper.metrics.stats import Test, equivalence, holm, interval, paired_difference
from swapper.report.content import Measure, normalised_score

SIGNIFICANCE: Final = 0.05
"""Significance level, after Holm's correction over all comparisons."""
IDENTITY_MEASURES: Final = (
    *("identity_similarity", "identity_distance", "performer_similarity", "performer_distance"),
    "nearer_identity",
)
"""Measures whose ceiling comes from the identity's own faces."""
TABLE_MEASURES: Final = (
    *("gain", "correlation", "lag", "jitter", "velocity_correlation", "fast_coherence"),
    *("geometry_mouth_gain", "geometry_mouth_correlation"),
    *("sidedness_correlation", "gaze_correlation", "emotion_kappa", "divergence", "valence_ccc"),
    *("arousal_ccc", "pose_error", "landmark_error", *IDENTITY_MEASURES, "warping_error"),
)
"""Measures in the table, if they were computed."""
REFERENCES: Final[Mapping[str, str]] = {
    "ceiling": "the performer's own clip, re-encoded",
    "self_swap": "the performer on the performer's own face, by the same model",
}
"""References that swaps are tested against for equivalence."""
_PARTIAL_MARK: Final = "†"
"""Marks measures by landmarks that took part in training the model, or may have."""

Floats = NDArray[np.float64]
ClipReport = Mapping[str, Any]
"""`Report.to_dict` of a clip."""


@dataclass(frozen=True)
class CeilingGap:
    """Difference between a model and a reference.

    Attributes:
        share: Mean difference to the reference, as a share of the range from floor to ceiling,
            negative below it; with its interval over performers.
        p: Of the two one-sided tests against the margin, after Holm's correction; NaN with too few
            performers.
        equivalent: Whether they are equivalent within the margin, significantly.
    """

    share: Interval
    p: float
    equivalent: bool


@dataclass(frozen=True)
class LeaderboardRow:
    """One measure over all clips.

    Attributes:
        name, title: Of the measure.
        better: Which direction is better; "one" is best at 1.
        means: By model, with intervals over performers.
        best: The model that is significantly better than each other one; else "".
        p: By rival of the best, after Holm's correction; NaN with too few performers.
        ceiling_gaps: By reference of `REFERENCES` that was measured, by model.
        partial: Models whose training the instrument took part in, for some clip at least.
    """

    name: str
    title: str
    better: str
    means: Mapping[str, Interval]
    best: str
    p: Mapping[str, float]
    ceiling_gaps: Mapping[str, Mapping[str, CeilingGap]]
    partial: frozenset[str] = frozenset()


def rank_models(
    reports: Mapping[str, Sequence[ClipReport]], performers: Sequence[str], margin: float = 0.1
) -> list[LeaderboardRow]:
    """Compute means, test for the best model, and test for equivalence to the references.

    Args:
        reports: By model, one per clip, in the same order.
        performers: One per clip.
        margin: Equivalence margin, as a share of the range from floor to ceiling.
    """
    first = next(iter(reports.values()))[0]["measures"]
    gaps = {
        reference: _ceiling_gaps(reports, reference, performers, margin) for reference in REFERENCES
    }
    rows, tests = [], {}
    for name in (each for each in TABLE_MEASURES if each in first):
        values = {model: _measure_values(clips, name) for model, clips in reports.items()}
        means = {model: interval(each, performers) for model, each in values.items()}
        better = first[name]["better"]
        leader = _leading_model(values, better, performers)
        ceiling_gaps = {
            reference: by_name[name] for reference, by_name in gaps.items() if name in by_name
        }
        rows.append(
            LeaderboardRow(
                name,
                first[name]["title"],
                better,
                means,
                leader,
                {},
                ceiling_gaps,
                _partial_models(reports, name),
            )
        )
        for rival in values:
            if leader and rival != leader:
                tests[name, rival] = _paired_test(values, leader, rival, better, performers)
    adjusted = holm({f"{name} {rival}": test.p for (name, rival), test in tests.items()})
    ranked = []
    for row in rows:
        p = {rival: adjusted[f"{row.name} {rival}"] for name, rival in tests if name == row.name}
        significant = bool(p) and all(each < SIGNIFICANCE for each in p.values())
        ranked.append(replace(row, p=p, best=row.best if significant else ""))
    return ranked


def _partial_models(reports: Mapping[str, Sequence[ClipReport]], name: str) -> frozenset[str]:
    return frozenset(
        model
        for model, clips in reports.items()
        if any(each["measures"].get(name, {}).get("partial") for each in clips)
    )


def _measure_values(reports: Sequence[ClipReport], name: str) -> Floats:
    values = [each["measures"].get(name, {}).get("value") for each in reports]
    return np.array([np.nan if each is None else each for each in values], np.float64)


def _loss(values: Floats, better: str) -> Floats:
    """Transform a measure so that less is better."""
    if better == "one":
        return np.abs(values - 1)
    return np.abs(values) if better == "lower" else -values


def _leading_model(values: Mapping[str, Floats], better: str, performers: Sequence[str]) -> str:
    means = {
        model: interval(_loss(each, better), performers).mean for model, each in values.items()
    }
    finite = {model: mean for model, mean in means.items() if np.isfinite(mean)}
    return min(finite, key=lambda model: finite[model]) if len(finite) > 1 else ""


def _paired_test(
    values: Mapping[str, Floats], best: str, rival: str, better: str, performers: Sequence[str]
) -> Test:
    return paired_difference(_loss(values[best], better), _loss(values[rival], better), performers)


# --- equivalence to the references ----------------------------------------------------------------


def _ceiling_gaps(
    reports: Mapping[str, Sequence[ClipReport]],
    reference: str,
    performers: Sequence[str],
    margin: float,
) -> dict[str, dict[str, CeilingGap]]:
    """By measure and model; only measures that are finite for some clip of some model.

    Scores normalised between floor and ceiling are compared, so that one margin applies to degrees,
    bits and slopes.
    """
    tests: dict[tuple[str, str], Test] = {}
    for name in TABLE_MEASURES:
        for model, clips in reports.items():
            ours, theirs = _normalised_scores(clips, name, reference)
            if np.isfinite(ours - theirs).any():
                tests[name, model] = equivalence(ours, theirs, performers, margin)
    adjusted = holm({f"{name} {model}": test.p for (name, model), test in tests.items()})
    gaps: dict[str, dict[str, CeilingGap]] = {}
    for (name, model), test in tests.items():
        p = adjusted[f"{name} {model}"]
        gaps.setdefault(name, {})[model] = CeilingGap(test.difference, p, p < SIGNIFICANCE)
    return gaps


def _normalised_scores(
    reports: Sequence[ClipReport], name: str, reference: str
) -> tuple[Floats, Floats]:
    """(clips,) of the swaps and of their reference, 0 at the floor and 1 at the ceiling."""
    scores = []
    for report in reports:
        measure_data = report["measures"].get(name, {})

        def number(key: str, measure_data: Mapping[str, Any] = measure_data) -> float:
            value = measure_data.get(key)
            return float("nan") if value is None else float(value)

        measure = Measure(
            name, "", number("value"), number("floor"), number("ceiling"),
            measure_data.get("better", "higher"),
        )  # fmt: skip
        scores.append((normalised_score(measure), normalised_score(measure, number(reference))))
    ours, theirs = np.array(scores, np.float64).T
    return ours, theirs


# --- output ---------------------------------------------------------------------------------------


def leaderboard_table(
    rows: Sequence[LeaderboardRow], models: Sequence[str], margin: float = 0.1
) -> list[str]:
    """Format as Markdown: bold for significantly best, ✓ for equivalent to the reference."""
    arrows = {"higher": "↑", "lower": "↓", "one": "→ 1"}
    lines = _table_head(models)
    for row in rows:
        cells = [f"{row.means[model]}" for model in models]
        cells = [
            (f"**{cell}**" if model == row.best else cell) + _mark(row, model)
            for cell, model in zip(cells, models, strict=True)
        ]
        lines.append(f"| {row.title} {arrows[row.better]} | " + " | ".join(cells) + " |")
    untested = all(not np.isfinite(p) for row in rows for p in row.p.values())
    note = (
        "Too few performers for a test: no model is marked as best."
        if untested
        else "Bold: better than every other (Wilcoxon over performers, Holm over the table)."
    )
    lines += ["", f"Mean [95 %] over performers. {note}"]
    if any(row.partial for row in rows):
        reason = "measured by landmarks that were, or may have been, used in training the model"
        lines += ["", f"{_PARTIAL_MARK} partial: {reason}; pass another aligner=."]
    for reference in REFERENCES:
        lines += _gap_table(rows, models, reference, margin)
    return lines


def _mark(row: LeaderboardRow, model: str) -> str:
    return f" {_PARTIAL_MARK}" if model in row.partial else ""


def _table_head(models: Sequence[str]) -> list[str]:
    return ["| | " + " | ".join(models) + " |", "|" + "---|" * (len(models) + 1)]


def _gap_table(
    rows: Sequence[LeaderboardRow], models: Sequence[str], reference: str, margin: float
) -> list[str]:
    """Table of the gaps to one reference; empty if it was not measured."""
    measured = [row for row in rows if reference in row.ceiling_gaps]
    if not measured:
        return []
    heading = f"Equivalence to {REFERENCES[reference]}"
    if any(row.name in IDENTITY_MEASURES for row in measured):
        heading += " (identity measures: to the identity's own faces)"
    lines = ["", heading, "", *_table_head(models)]
    tested = False
    for row in measured:
        cells = []
        for model in models:
            gap = row.ceiling_gaps[reference].get(model)
            tested |= gap is not None and bool(np.isfinite(gap.p))
            cells.append(
                "–"
                if gap is None
                else f"{gap.share}" + (" ✓" if gap.equivalent else "") + _mark(row, model)
            )
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    note = (
        f"✓: within {margin:g} of it (two one-sided signed-rank tests over performers, Holm over "
        "the table)."
        if tested
        else "Too few performers for a test."
    )
    scale = "0 is equal to it, -1 below it by the range from floor to ceiling."
    return [*lines, "", f"Difference [95 %] over performers; {scale} {note}"]


def leaderboard_json(rows: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """JSON values by measure; None stands for NaN."""

    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    def ends(estimate: Interval) -> list[float | None]:
        return [number(estimate.mean), number(estimate.low), number(estimate.high)]

    return {
        row.name: {
            "title": row.title,
            "better": row.better,
            "best": row.best,
            "partial": sorted(row.partial),
            "models": {model: ends(mean) for model, mean in row.means.items()},
            "p": {rival: number(p) for rival, p in row.p.items()},
            "shortfalls": {
                reference: {
                    model: {
                        "share": ends(gap.share),
                        "p": number(gap.p),
                        "as_good": gap.equivalent,
                    }
                    for model, gap in gaps.items()
                }
                for reference, gaps in row.ceiling_gaps.items()
            },
        }
        for row in rows
    }
