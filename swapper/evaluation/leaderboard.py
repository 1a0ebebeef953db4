"""Models over clips, summed up: means, which model is better, and which is as good as can be."""

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
"""Below, after Holm's correction over all that is compared, a difference is real."""
IDENTITY_MEASURES: Final = (
    *("identity_similarity", "identity_distance", "performer_similarity", "performer_distance"),
    "nearer_identity",
)
"""Whose ceiling is what the identity's own faces say."""
TABLE_MEASURES: Final = (
    *("gain", "correlation", "lag", "jitter", "velocity_correlation", "fast_coherence"),
    *("geometry_mouth_gain", "geometry_mouth_correlation"),
    *("sidedness_correlation", "gaze_correlation", "emotion_kappa", "divergence", "valence_ccc"),
    *("arousal_ccc", "pose_error", "landmark_error", *IDENTITY_MEASURES, "warping_error"),
)
"""Measures that the table tells, where they were taken."""
REFERENCES: Final[Mapping[str, str]] = {
    "ceiling": "the performer's own clip, encoded anew",
    "self_swap": "the performer on the performer's own face, by the same model",
}
"""What a swap could be as good as."""
_PARTIAL_MARK: Final = "†"
"""Beside figures by landmarks that taught the very model, or may have."""

Floats = NDArray[np.float64]
ClipReport = Mapping[str, Any]
"""What `Report.to_dict` says of a clip."""


@dataclass(frozen=True)
class CeilingGap:
    """How far a model stays behind the best that can be had.

    Attributes:
        share: By how much of the way from floor to ceiling it lies above the best, below 0 under
            it; with its interval over performers.
        p: Of the two one-sided tests against the margin, after Holm's correction; NaN where too
            few performers tell.
        as_good: Whether it is as good as the best, to within the margin, beyond chance.
    """

    share: Interval
    p: float
    equivalent: bool


@dataclass(frozen=True)
class LeaderboardRow:
    """One measure over all clips.

    Attributes:
        name, title: Of the measure.
        better: Which way is better; "one" is best at 1.
        means: By model, with intervals over performers.
        best: The model that is best, if it is better than each other beyond chance; else "".
        p: By rival of the best, after Holm's correction; NaN where too few performers tell.
        shortfalls: By what of `REFERENCES` was measured, by model.
        partial: Models that what measured it has taught, in some clip at least.
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
    found: Mapping[str, Sequence[ClipReport]], performers: Sequence[str], margin: float = 0.1
) -> list[LeaderboardRow]:
    """Means, where one model is better than the others, and where it is as good as can be.

    Args:
        found: By model, of each clip, in one order.
        performers: Of each clip.
        margin: Share of the way from floor to ceiling that is held to be nothing.
    """
    first = next(iter(found.values()))[0]["measures"]
    behind = {best: _ceiling_gaps(found, best, performers, margin) for best in REFERENCES}
    rows, tests = [], {}
    for name in (each for each in TABLE_MEASURES if each in first):
        values = {model: _measure_values(told, name) for model, told in found.items()}
        means = {model: interval(each, performers) for model, each in values.items()}
        better = first[name]["better"]
        ahead = _leading_model(values, better, performers)
        short = {best: told[name] for best, told in behind.items() if name in told}
        rows.append(
            LeaderboardRow(
                name,
                first[name]["title"],
                better,
                means,
                ahead,
                {},
                short,
                _partial_models(found, name),
            )
        )
        for rival in values:
            if ahead and rival != ahead:
                tests[name, rival] = _paired_test(values, ahead, rival, better, performers)
    raised = holm({f"{name} {rival}": test.p for (name, rival), test in tests.items()})
    told = []
    for row in rows:
        p = {rival: raised[f"{row.name} {rival}"] for name, rival in tests if name == row.name}
        real = bool(p) and all(each < SIGNIFICANCE for each in p.values())
        told.append(replace(row, p=p, best=row.best if real else ""))
    return told


def _partial_models(found: Mapping[str, Sequence[ClipReport]], name: str) -> frozenset[str]:
    return frozenset(
        model
        for model, told in found.items()
        if any(each["measures"].get(name, {}).get("partial") for each in told)
    )


def _measure_values(told: Sequence[ClipReport], name: str) -> Floats:
    values = [each["measures"].get(name, {}).get("value") for each in told]
    return np.array([np.nan if each is None else each for each in values], np.float64)


def _loss(values: Floats, better: str) -> Floats:
    """Less is better, whatever the measure."""
    if better == "one":
        return np.abs(values - 1)
    return np.abs(values) if better == "lower" else -values


def _leading_model(values: Mapping[str, Floats], better: str, performers: Sequence[str]) -> str:
    means = {
        model: interval(_loss(each, better), performers).mean for model, each in values.items()
    }
    told = {model: mean for model, mean in means.items() if np.isfinite(mean)}
    return min(told, key=lambda model: told[model]) if len(told) > 1 else ""


def _paired_test(
    values: Mapping[str, Floats], best: str, rival: str, better: str, performers: Sequence[str]
) -> Test:
    return paired_difference(_loss(values[best], better), _loss(values[rival], better), performers)


# --- as good as can be ----------------------------------------------------------------------------


def _ceiling_gaps(
    found: Mapping[str, Sequence[ClipReport]], best: str, performers: Sequence[str], margin: float
) -> dict[str, dict[str, CeilingGap]]:
    """By measure and model; only measures that some clip of some model can tell.

    Places between floor and ceiling are what is compared, so that one margin does for degrees,
    bits and slopes.
    """
    tests: dict[tuple[str, str], Test] = {}
    for name in TABLE_MEASURES:
        for model, told in found.items():
            ours, theirs = _normalised_scores(told, name, best)
            if np.isfinite(ours - theirs).any():
                tests[name, model] = equivalence(ours, theirs, performers, margin)
    raised = holm({f"{name} {model}": test.p for (name, model), test in tests.items()})
    told_of: dict[str, dict[str, CeilingGap]] = {}
    for (name, model), test in tests.items():
        p = raised[f"{name} {model}"]
        told_of.setdefault(name, {})[model] = CeilingGap(test.difference, p, p < SIGNIFICANCE)
    return told_of


def _normalised_scores(told: Sequence[ClipReport], name: str, best: str) -> tuple[Floats, Floats]:
    """(clips,) of the swaps and of their best, 0 at the floor and 1 at the ceiling."""
    places = []
    for each in told:
        says = each["measures"].get(name, {})

        def number(key: str, says: Mapping[str, Any] = says) -> float:
            value = says.get(key)
            return float("nan") if value is None else float(value)

        measure = Measure(
            name, "", number("value"), number("floor"), number("ceiling"),
            says.get("better", "higher"),
        )  # fmt: skip
        places.append((normalised_score(measure), normalised_score(measure, number(best))))
    ours, theirs = np.array(places, np.float64).T
    return ours, theirs


# --- told -----------------------------------------------------------------------------------------


def leaderboard_table(
    rows: Sequence[LeaderboardRow], models: Sequence[str], margin: float = 0.1
) -> list[str]:
    """As Markdown: bold is better than every other beyond chance, ✓ as good as can be."""
    arrows = {"higher": "↑", "lower": "↓", "one": "→ 1"}
    lines = _table_head(models)
    for row in rows:
        cells = [f"{row.means[model]}" for model in models]
        cells = [
            (f"**{cell}**" if model == row.best else cell) + _mark(row, model)
            for cell, model in zip(cells, models, strict=True)
        ]
        lines.append(f"| {row.title} {arrows[row.better]} | " + " | ".join(cells) + " |")
    few = all(not np.isfinite(p) for row in rows for p in row.p.values())
    said = (
        "Too few performers for a test: nothing is marked as best."
        if few
        else "Bold: better than every other (Wilcoxon over performers, Holm over the table)."
    )
    lines += ["", f"Mean [95 %] over performers. {said}"]
    if any(row.partial for row in rows):
        flattered = "read off landmarks that taught the model, or may have, and so flatter it"
        lines += ["", f"{_PARTIAL_MARK} partial: {flattered}; compare by another aligner=."]
    for best in REFERENCES:
        lines += _gap_table(rows, models, best, margin)
    return lines


def _mark(row: LeaderboardRow, model: str) -> str:
    return f" {_PARTIAL_MARK}" if model in row.partial else ""


def _table_head(models: Sequence[str]) -> list[str]:
    return ["| | " + " | ".join(models) + " |", "|" + "---|" * (len(models) + 1)]


def _gap_table(
    rows: Sequence[LeaderboardRow], models: Sequence[str], best: str, margin: float
) -> list[str]:
    """The table of one kind of best; nothing where it was not measured."""
    told = [row for row in rows if best in row.ceiling_gaps]
    if not told:
        return []
    asked = f"As good as {REFERENCES[best]}?"
    if any(row.name in IDENTITY_MEASURES for row in told):
        asked += " (Whose face appears: as the identity's own faces?)"
    lines = ["", asked, "", *_table_head(models)]
    tried = False
    for row in told:
        cells = []
        for model in models:
            short = row.ceiling_gaps[best].get(model)
            tried |= short is not None and bool(np.isfinite(short.p))
            cells.append(
                "–"
                if short is None
                else f"{short.share}" + (" ✓" if short.equivalent else "") + _mark(row, model)
            )
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    said = (
        f"✓: within {margin:g} of it (two one-sided signed-rank tests over performers, Holm over "
        "the table)."
        if tried
        else "Too few performers for a test."
    )
    how = "0 is as good, -1 as far below as the floor is below the ceiling."
    return [*lines, "", f"Difference [95 %] over performers; {how} {said}"]


def leaderboard_json(rows: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """By measure, what JSON can hold; None stands for NaN."""

    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    def ends(found: Interval) -> list[float | None]:
        return [number(found.mean), number(found.low), number(found.high)]

    return {
        row.name: {
            "title": row.title,
            "better": row.better,
            "best": row.best,
            "partial": sorted(row.partial),
            "models": {model: ends(each) for model, each in row.means.items()},
            "p": {rival: number(p) for rival, p in row.p.items()},
            "shortfalls": {
                best: {
                    model: {
                        "share": ends(each.share),
                        "p": number(each.p),
                        "as_good": each.equivalent,
                    }
                    for model, each in told.items()
                }
                for best, told in row.ceiling_gaps.items()
            },
        }
        for row in rows
    }
