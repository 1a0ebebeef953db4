"""Leaderboard of models over clips: means, significant differences, equivalence to the ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.files import without_nan
from swapper.metrics.bootstrap import Interval
from swapper.metrics.chance import relative_score
from swapper.metrics.stats import Test, equivalence, holm, interval, paired_difference

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
    rows: list[LeaderboardRow] = []
    tests: dict[tuple[str, str], float] = {}
    for name in (each for each in TABLE_MEASURES if each in first):
        better = first[name]["better"]
        values = {model: _values(clips, name, "value") for model, clips in reports.items()}
        losses = {model: _loss(each, better) for model, each in values.items()}
        leader = _leading_model(losses, performers)
        tests |= {
            (name, rival): paired_difference(losses[leader], losses[rival], performers).p
            for rival in values
            if leader and rival != leader
        }
        rows.append(
            LeaderboardRow(
                name=name,
                title=first[name]["title"],
                better=better,
                means={model: interval(each, performers) for model, each in values.items()},
                best=leader,
                p={},
                ceiling_gaps={key: each[name] for key, each in gaps.items() if name in each},
                partial=frozenset(
                    model
                    for model, clips in reports.items()
                    if any(each["measures"].get(name, {}).get("partial") for each in clips)
                ),
            )
        )
    adjusted = _holm(tests)
    ranked = []
    for row in rows:
        p = {rival: each for (name, rival), each in adjusted.items() if name == row.name}
        significant = bool(p) and all(each < SIGNIFICANCE for each in p.values())
        ranked.append(replace(row, p=p, best=row.best if significant else ""))
    return ranked


def _holm(tests: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Adjusted p-values by measure and model."""
    adjusted = holm({" ".join(key): p for key, p in tests.items()})
    return {key: adjusted[" ".join(key)] for key in tests}


def _values(reports: Sequence[ClipReport], name: str, key: str) -> Floats:
    """(clips,) of a measure's field; NaN where it is missing."""
    values = [each["measures"].get(name, {}).get(key) for each in reports]
    return np.array([np.nan if each is None else each for each in values], np.float64)


def _loss(values: Floats, better: str) -> Floats:
    """Transform a measure so that less is better."""
    if better == "one":
        return np.abs(values - 1)
    return np.abs(values) if better == "lower" else -values


def _leading_model(losses: Mapping[str, Floats], performers: Sequence[str]) -> str:
    means = {model: interval(each, performers).mean for model, each in losses.items()}
    finite = {model: mean for model, mean in means.items() if np.isfinite(mean)}
    return min(finite, key=lambda model: finite[model]) if len(finite) > 1 else ""


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
            ours, theirs = (_relative_scores(clips, name, key) for key in ("value", reference))
            if np.isfinite(ours - theirs).any():
                tests[name, model] = equivalence(ours, theirs, performers, margin)
    gaps: dict[str, dict[str, CeilingGap]] = {}
    for (name, model), p in _holm({key: test.p for key, test in tests.items()}).items():
        gap = CeilingGap(tests[name, model].difference, p, p < SIGNIFICANCE)
        gaps.setdefault(name, {})[model] = gap
    return gaps


def _relative_scores(reports: Sequence[ClipReport], name: str, key: str) -> Floats:
    """(clips,) of a measure's field, 0 at the floor and 1 at the ceiling."""
    fields = (_values(reports, name, each) for each in (key, "floor", "ceiling"))
    directions = [each["measures"].get(name, {}).get("better", "higher") for each in reports]
    return np.array([relative_score(*each) for each in zip(*fields, directions, strict=True)])


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

    def ends(estimate: Interval) -> list[float]:
        return [estimate.mean, estimate.low, estimate.high]

    data = {
        row.name: {
            "title": row.title,
            "better": row.better,
            "best": row.best,
            "partial": sorted(row.partial),
            "models": {model: ends(mean) for model, mean in row.means.items()},
            "p": row.p,
            "ceiling_gaps": {
                reference: {
                    model: {"share": ends(gap.share), "p": gap.p, "as_good": gap.equivalent}
                    for model, gap in gaps.items()
                }
                for reference, gaps in row.ceiling_gaps.items()
            },
        }
        for row in rows
    }
    return dict(without_nan(data))
