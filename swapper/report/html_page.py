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
    ("gain β", "How much of a movement is left. 1 is all of it, 0.5 half, more than 1 too much."),
    ("correlation ρ", "Whether it comes at the same time. 1 is in step, 0 is unrelated."),
    (
        "floor",
        "What the same instrument says when the performance is shuffled in time: what a swap "
        "would get that shows some feeling, but not this one.",
    ),
    (
        "ceiling",
        "What it says of the exact answer, where there is one, else of the performer’s own clip, "
        "encoded anew: the best that can be asked of any swap with this instrument.",
    ),
    (
        "self-swap",
        "What it says of the performer on the performer’s own face, by the same model, where that "
        "was made: what the network costs, whoever’s face it wears.",
    ),
    ("damped", "The face follows, but too little. Frozen, if it hardly moves at all."),
    ("jittery", "It moves fast in a way in which the performer does not: it shakes or flickers."),
    ("late, early", "It does the right thing, some frames off."),
    ("unrelated", "It moves by itself."),
    ("micro-expressions", "Movements that last less than half a second."),
    (
        "–",
        "It could not be told from this clip. That is neither good nor bad.",
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
{section("strongest", "Strongest feeling", key_frame_strip(report))}
{section("emotions", "Emotions over time", emotion_bands(report))}
{section("intensities", "Which emotions, and how pleasant and aroused", _means(report))}
{section("units", "How each part of the face follows", unit_section(report))}
{section("measures", "Measures", _measures(report))}
{section("worst", "Furthest apart", worst_frames(report))}
{section("guide", "How to read this", _guide())}
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
        return placeholder("Emotions were not read.")
    path = affect_section(emotions.affect_performer, emotions.affect_swap)
    return f'<div class="beside">{intensity_table(emotions)}{path}</div>'


def _measures(report: Report) -> str:
    if not report.groups:
        return placeholder("Nothing was measured.")
    return (
        '<p class="lead">The pale tick is the floor, the strong one the ceiling, the dot the '
        f"{role_label('swap')}, a hollow diamond the self-swap. Right is better, up to the "
        "ceiling; an arrow is beyond the scale. "
        "Higher numbers are better where nothing else is said.</p>"
        f"{measure_tables(report.groups)}"
    )


def _guide() -> str:
    items = "".join(
        f"<div><dt>{term}</dt><dd>{description}</dd></div>" for term, description in _GUIDE
    )
    return (
        f'<dl class="guide">{items}</dl><p class="quiet">All of it is about how a face looks to a '
        "reader, never about what anybody feels.</p>"
    )


def _lineage(report: Report) -> str:
    lines = "".join(f"<li>{escape(each)}</li>" for each in report.lineage)
    body = f'<ul class="lineage">{lines}</ul>' if lines else placeholder("Nothing is known.")
    return body + (definitions(report.facts) if report.facts else "")
