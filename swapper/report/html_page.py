"""Render a report as one self-contained HTML file: no scripts, network or fonts."""

from __future__ import annotations

import importlib.resources

import numpy as np

from swapper.report.content import Report
from swapper.report.markup import escape
from swapper.report.sections import (
    affect_section,
    emotion_bands,
    intensity_table,
    key_frame_strip,
    placeholder,
    role_label,
    section,
    unit_section,
    verdict_section,
    worst_frames,
)
from swapper.report.tables import definitions, measure_tables

_GUIDE = (
    (
        "gain β",
        "Slope of the swap’s movement on the performer’s: 1 is full strength, 0.5 is half, above 1 "
        "is exaggerated.",
    ),
    ("correlation ρ", "Whether the two move at the same time: 1 is in step, 0 is unrelated."),
    (
        "floor",
        "Chance level: the same measure against the performer shifted in time, as a swap with an "
        "unrelated expression would score.",
    ),
    (
        "ceiling",
        "The same measure for the ground truth, where there is one, else for the performer’s own "
        "clip, re-encoded: the best score that the instrument can give.",
    ),
    (
        "self-swap",
        "The same measure for the performer on the performer’s own face, by the same model, where "
        "it was given: the loss of the network itself, independent of identity.",
    ),
    ("damped", "The face follows the performer, but too weakly. Frozen: it hardly moves."),
    ("jittery", "Fast movement that the performer does not make: shaking or flicker."),
    ("late, early", "The expression is delayed, or ahead, by some frames."),
    ("unrelated", "The movement does not correlate with the performer’s."),
    ("micro-expressions", "Movements that last less than half a second."),
    (
        "–",
        "Undetermined on this clip, which is neither good nor bad.",
    ),
)


def render(report: Report) -> str:
    """Render a report.

    Args:
        report: All of its text is escaped.

    Returns:
        The HTML document, with pictures embedded.

    Raises:
        ValueError: The emotion traces do not match the clip's length or their number of names, or
            a frame time is not finite.
    """
    _check(report)
    title = escape(report.title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{_style()}</style>
</head>
<body>
<main>
{verdict_section(report)}
{section("strongest", "Strongest expressions", key_frame_strip(report))}
{section("emotions", "Emotions over time", emotion_bands(report))}
{section("intensities", "Emotions, valence and arousal", _means(report))}
{section("units", "Gain and correlation by facial movement", unit_section(report))}
{section("measures", "Measures", _measures(report))}
{section("worst", "Largest differences", worst_frames(report))}
{section("guide", "Terms", _guide())}
{section("lineage", "Lineage, hashes and settings", _lineage(report))}
</main>
</body>
</html>
"""


def _style() -> str:
    return (importlib.resources.files("swapper.report") / "report.css").read_text("utf-8")


def _check(report: Report) -> None:
    if not np.isfinite(report.seconds).all():
        raise ValueError("seconds must be finite")
    emotions = report.emotions
    if emotions is None:
        return
    expected_shape = (len(report.seconds), len(emotions.names))
    for traces in (emotions.performer, emotions.swap):
        if traces.shape != expected_shape:
            raise ValueError(f"emotions must be {expected_shape}, got {traces.shape}")
    for path in (emotions.affect_performer, emotions.affect_swap):
        if path is not None and path.shape != (len(report.seconds), 2):
            raise ValueError(f"affect must be {(len(report.seconds), 2)}, got {path.shape}")


def _means(report: Report) -> str:
    emotions = report.emotions
    if emotions is None:
        return placeholder("Emotions were not measured.")
    path = affect_section(emotions.affect_performer, emotions.affect_swap)
    return f'<div class="columns">{intensity_table(emotions)}{path}</div>'


def _measures(report: Report) -> str:
    if not report.groups:
        return placeholder("Nothing was measured.")
    return (
        '<p class="lead">The pale tick is the floor, the strong one the ceiling, the dot the '
        f"{role_label('swap')}, a hollow diamond the self-swap. Right is better, up to the "
        "ceiling; an arrow marks a value outside the scale. "
        "Higher is better unless stated otherwise.</p>"
        f"{measure_tables(report.groups)}"
    )


def _guide() -> str:
    items = "".join(
        f"<div><dt>{term}</dt><dd>{description}</dd></div>" for term, description in _GUIDE
    )
    return (
        f'<dl class="guide">{items}</dl><p class="quiet">All measures describe how a face looks '
        "to an instrument, not what a person feels.</p>"
    )


def _lineage(report: Report) -> str:
    lines = "".join(f"<li>{escape(each)}</li>" for each in report.lineage)
    body = f'<ul class="lineage">{lines}</ul>' if lines else placeholder("Unknown.")
    return body + (definitions(report.facts) if report.facts else "")
