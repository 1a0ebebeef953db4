"""Render a report as one self-contained HTML file: no scripts, network or fonts."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any, Final

import numpy as np

from swapper.report.charts import timeline
from swapper.report.content import Emotions, Floats, KeyFrame, Report
from swapper.report.markup import TEMPLATES, from_template
from swapper.report.palette import colour_classes
from swapper.report.planes import MAX_LABELS, affect_path, following_plane, is_outside

_HEADLINES: Final = ("gain", "correlation", "lag", "emotion_kappa", "warping_error")
"""Measures shown at the top, if available."""


def render(report: Report) -> str:
    """Render a report as an HTML document with pictures embedded; all of its text is escaped.

    Raises:
        ValueError: The emotion traces do not match the clip's length or their number of names, or
            a frame time is not finite.
    """
    _check(report)
    measures = {measure.name: measure for group in report.groups for measure in group.measures}
    strongest = labelled_frames(report.strongest)
    emotions = report.emotions
    page = from_template(
        "report.html.jinja",
        affect_path=affect_path,
        any_finite=_any_finite,
        following_plane=following_plane,
        headlines=[measures[name] for name in _HEADLINES if name in measures],
        marks=[(letter, key_frame.seconds) for letter, key_frame in strongest],
        max_labels=MAX_LABELS,
        report=report,
        strongest=strongest,
        style=(importlib.resources.files("swapper.report") / "report.css").read_text("utf-8"),
        timeline=timeline,
        units=[each for each in report.units if np.isfinite(each.gain + each.correlation)],
        emotions=emotions,
        **(_emotion_values(emotions) if emotions is not None else {}),
    )
    return str(page)  # plain text: methods of Markup escape their arguments


def labelled_frames(key_frames: Sequence[KeyFrame]) -> list[tuple[str, KeyFrame]]:
    """Pair key frames with their letters in the timeline: a, b, ... z, then numbers."""
    letters = [*ascii_lowercase, *map(str, range(1, len(key_frames)))]
    return list(zip(letters, key_frames, strict=False))


def _emotion_values(emotions: Emotions) -> dict[str, Any]:
    """Mean probability of each class over the frames in which both faces were read."""
    both_read = np.isfinite(emotions.performer).all(axis=1) & np.isfinite(emotions.swap).all(axis=1)
    intensities = []
    if both_read.any():
        performer, swap = (
            each[both_read].mean(axis=0) for each in (emotions.performer, emotions.swap)
        )
        order = np.argsort(-performer, kind="stable")
        intensities = [(emotions.names[c], float(performer[c]), float(swap[c])) for c in order]
    return {
        "emotion_classes": zip(colour_classes(emotions.names), emotions.names, strict=True),
        "intensities": intensities,
        "max_intensity": max([1e-9, *(value for _, *pair in intensities for value in pair)]),
        "num_both_read": int(both_read.sum()),
    }


def _any_finite(*traces: Floats) -> bool:
    return any(np.isfinite(each).any() for each in traces)


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


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _is_hash(text: str) -> bool:
    plain = text.strip().lower()
    return len(plain) >= 16 and set(plain) <= set("0123456789abcdef")


TEMPLATES.filters["data_uri"] = _data_uri
TEMPLATES.tests |= {"hash": _is_hash, "outside": is_outside}
