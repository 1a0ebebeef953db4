"""Sections of the page; each renders a placeholder without data."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Final

import numpy as np

from swapper.report.charts import timeline
from swapper.report.content import Emotions, Floats, KeyFrame, Report
from swapper.report.markup import DASH, clock, escape, number, quantity
from swapper.report.palette import colour_classes
from swapper.report.planes import MAX_LABELS, affect_path, following_plane, is_outside
from swapper.report.tables import bar_pair

_HEADLINES: Final = ("gain", "correlation", "lag", "emotion_kappa", "warping_error")
"""Measures shown at the top, if available."""
_STATES: Final = {
    True: ("came", "The performance came through"),
    False: ("lost", "The performance did not come through"),
    None: ("open", "Whether the performance came through is undetermined"),
}


def section(name: str, heading: str, body: str) -> str:
    """Section element with its heading."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-head">'
        f'<h2 id="{name}-head">{heading}</h2>\n{body}\n</section>'
    )


def placeholder(markup: str) -> str:
    """Placeholder of an empty section."""
    return f'<p class="nothing">{markup}</p>'


def role_label(name: str) -> str:
    """The word performer, swap or truth in its colour."""
    return f'<span class="who {name}">{name}</span>'


def _listed(kind: str, texts: Iterable[str]) -> str:
    return f'<ul class="{kind}">' + "".join(f"<li>{escape(each)}</li>" for each in texts) + "</ul>"


# --- verdict --------------------------------------------------------------------------------------


def verdict_section(report: Report) -> str:
    """The verdict, further findings, and what could not be determined."""
    css_class, state_text = _STATES[report.expressive]
    parts = [
        '<header id="verdict">',
        f'<p class="over">Evaluation of a face swap: <span>{escape(report.title)}</span></p>',
        f"<h1>{escape(report.verdict)}</h1>",
        f'<p class="state {css_class}">{state_text}.</p>',
        _headlines(report),
    ]
    other_findings = [each for each in report.findings if each != report.verdict]
    if other_findings:
        heading = "Other findings" if len(other_findings) < len(report.findings) else "Findings"
        parts.append(f"<h2>{heading}</h2>{_listed('findings', other_findings)}")
    if report.undetermined:
        parts.append(f"<h2>Limitations</h2>{_listed('limitations', report.undetermined)}")
    return "\n".join([*parts, "</header>"])


def _headlines(report: Report) -> str:
    measures = {measure.name: measure for group in report.groups for measure in group.measures}
    headline_measures = [measures[name] for name in _HEADLINES if name in measures]
    if not headline_measures:
        return ""
    items = "".join(
        f"<div><dt>{escape(measure.title)}</dt><dd>{quantity(measure.value, measure.unit)}"
        + (
            f"<small>floor {number(measure.floor)}, ceiling {number(measure.ceiling)}</small>"
            if np.isfinite(measure.floor + measure.ceiling)
            else f"<small>ceiling {number(measure.ceiling)}</small>"
            if np.isfinite(measure.ceiling)
            else ""
        )
        + "</dd></div>"
        for measure in headline_measures
    )
    return f'<dl class="headlines">{items}</dl>'


# --- key frames -----------------------------------------------------------------------------------


def labelled_frames(key_frames: Sequence[KeyFrame]) -> list[tuple[str, KeyFrame]]:
    """Pair key frames with their letters in the timeline: a, b, ... z, then numbers."""
    letters = [*ascii_lowercase, *map(str, range(1, len(key_frames)))]
    return list(zip(letters, key_frames, strict=False))


def key_frame_strip(report: Report) -> str:
    """The frames of strongest expression in a row."""
    if not report.strongest:
        return placeholder("No frames to show: both faces were detected in none.")
    truth = any(key_frame.truth is not None for key_frame in report.strongest)
    figures = "".join(
        f'<figure class="moment"><div class="faces">{_faces(key_frame)}</div>'
        f'<figcaption><b class="letter">{letter}</b> {clock(key_frame.seconds)}'
        f"<span>{escape(key_frame.caption)}</span></figcaption></figure>"
        for letter, key_frame in labelled_frames(report.strongest)
    )
    legend = f"{role_label('performer')}, {role_label('swap')}" + (
        f" and the exact {role_label('truth')}" if truth else ""
    )
    return (
        f'<p class="lead">The performer’s strongest expressions, in order of time: {legend}.</p>'
        f'<div class="strip">{figures}</div>'
    )


def worst_frames(report: Report) -> str:
    """The frames of the largest difference."""
    if not report.worst:
        return placeholder("No frames to show: both faces were detected in none.")
    figures = "".join(
        f'<li><figure class="moment"><div class="faces">{_faces(key_frame)}</div>'
        f'<figcaption><b class="letter">{rank}</b> {clock(key_frame.seconds)}, '
        f"frame {key_frame.frame}<span>{escape(key_frame.caption)}</span></figcaption>"
        "</figure></li>"
        for rank, key_frame in enumerate(report.worst, 1)
    )
    wide = " three" if any(key_frame.truth is not None for key_frame in report.worst) else ""
    return (
        f'<p class="lead">Frames where {role_label("performer")} and {role_label("swap")} differ '
        f'most, worst first.</p><ol class="worst{wide}">{figures}</ol>'
    )


def _faces(key_frame: KeyFrame) -> str:
    pictures = [("performer", key_frame.performer), ("swap", key_frame.swap)]
    if key_frame.truth is not None:
        pictures.append(("truth", key_frame.truth))
    return "".join(_face(name, picture, key_frame) for name, picture in pictures)


def _face(name: str, picture: bytes, key_frame: KeyFrame) -> str:
    if not picture:
        return f'<div class="face {name}"><i>no picture</i>{role_label(name)}</div>'
    data = base64.b64encode(picture).decode("ascii")
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    alt_text = f"Face of the {name} at {clock(key_frame.seconds)}, frame {key_frame.frame}"
    return (
        f'<div class="face {name}"><img alt="{escape(alt_text)}" '
        f'src="data:image/{kind};base64,{data}">{role_label(name)}</div>'
    )


# --- emotions -------------------------------------------------------------------------------------


def emotion_bands(report: Report) -> str:
    """The emotion timeline with its legend."""
    emotions = report.emotions
    if emotions is None:
        return placeholder("Emotions were not measured.")
    if not np.isfinite(np.concatenate([emotions.performer, emotions.swap])).any():
        return placeholder("Emotions could not be measured: no face was detected.")
    marks = [(letter, each.seconds) for letter, each in labelled_frames(report.strongest)]
    kinds = colour_classes(emotions.names)
    legend = "".join(
        f'<li><i class="{kind}"></i>{escape(name)}</li>'
        for kind, name in zip(kinds, emotions.names, strict=True)
    )
    return (
        f"<figure>{timeline(emotions, report.seconds, marks)}"
        f'<ul class="legend" aria-label="Colours">{legend}</ul>'
        f"<figcaption>Probability of each emotion: the {role_label('performer')} upwards, the "
        f"{role_label('swap')} downwards. A perfect swap is a mirror image. "
        f"{'Letters mark the frames above. ' if marks else ''}"
        "Frames without a detected face are blank.</figcaption></figure>"
    )


def intensity_table(emotions: Emotions) -> str:
    """Mean probability of each class over the frames in which both faces were read."""
    both_read = np.isfinite(emotions.performer).all(axis=1) & np.isfinite(emotions.swap).all(axis=1)
    if not both_read.any():
        return placeholder("In no frame were both faces measured.")
    ours, theirs = emotions.swap[both_read].mean(axis=0), emotions.performer[both_read].mean(axis=0)
    maximum = max(float(np.concatenate([ours, theirs]).max()), 1e-9)
    rows = "".join(
        f'<tr><th scope="row">{escape(emotions.names[c])}</th>'
        f"<td>{bar_pair(float(theirs[c]), float(ours[c]), maximum)}</td>"
        f'<td class="pair">{number(float(theirs[c]))}<br>{number(float(ours[c]))}</td></tr>'
        for c in np.argsort(-theirs, kind="stable")
    )
    return (
        '<figure><table class="intensities"><colgroup><col><col><col></colgroup><thead><tr>'
        '<th scope="col">Emotion</th><th scope="col"><span class="unseen">bars</span></th>'
        f'<th scope="col">{role_label("performer")}<br>{role_label("swap")}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table><figcaption>Mean probability over the "
        f"{int(both_read.sum())} frames with both faces, sorted by the performer’s."
        "</figcaption></figure>"
    )


def affect_section(performer: Floats | None, swap: Floats | None) -> str:
    """The chart of valence and arousal."""
    if performer is None or swap is None:
        return placeholder("Valence and arousal were not measured.")
    if not np.isfinite(np.concatenate([performer, swap])).any():
        return placeholder("Valence and arousal could not be measured: no face was detected.")
    return (
        f"<figure>{affect_path(performer, swap)}<figcaption>Valence (across) and arousal (up) of "
        f"{role_label('performer')} and {role_label('swap')}. Rings mark the starts, discs the "
        "ends; the lines become more opaque with time.</figcaption></figure>"
    )


# --- units ----------------------------------------------------------------------------------------


def unit_section(report: Report) -> str:
    """The chart of gain and correlation of each unit."""
    units = report.units
    compared = [each for each in units if np.isfinite(each.gain) and np.isfinite(each.correlation)]
    if not compared:
        return placeholder("No expression unit could be compared.")
    num_outside = sum(is_outside(each) for each in compared)
    num_undetermined = len(units) - len(compared)
    notes = [
        f"{len(compared)} units, measured by {escape(report.unit_instrument) or DASH}; "
        "the area of a dot is proportional to the performer’s motion."
    ]
    if len(compared) > MAX_LABELS:
        notes.append(
            f"The {MAX_LABELS} units with the most motion are labelled where there is room."
        )
    if num_outside:
        notes.append(f"Arrows at the edge: {num_outside} outside the axes.")
    if num_undetermined:
        notes.append(f"{num_undetermined} undetermined.")
    return (
        f'<div class="columns"><figure>{following_plane(compared)}'
        f"<figcaption>{' '.join(notes)}</figcaption></figure>"
        '<div class="words">'
        "<p>Each dot is a part of the face, such as a brow or a lip corner.</p>"
        "<p>The <b>gain β</b> is the strength of its movement relative to the performer’s: at 0.5 "
        "a smile is half as wide, at 1 just as wide.</p>"
        "<p>The <b>correlation ρ</b> is the agreement in time: 1 is in step, 0 is unrelated.</p>"
        "<p>The cross at (1, 1) is the performer. Dots <b>left</b> of it are damped. Dots "
        "<b>below</b> it move independently of the performer, or jitter. Interpret the two numbers "
        "together only.</p></div></div>"
    )
