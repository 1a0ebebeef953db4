"""Templates of the page, and how they format numbers and text: shortened, dashes for NaN."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from swapper.report.content import normalised_score

DASH: Final = "–"
"""Stands for NaN."""
MINUS: Final = "−"

# C0 and C1 controls, and bidirectional formatting marks.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Replace unencodable and invisible characters, which file names may contain."""
    return _INVISIBLE.sub("\ufffd", text.encode("utf-8", "replace").decode("utf-8"))


def shorten(text: str, length: int) -> str:
    """At most `length` characters, cleaned but not escaped."""
    text = clean(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number(value: float) -> str:
    """Format with two or three significant digits; a dash for NaN."""
    if not math.isfinite(value):
        return DASH
    size = abs(value)
    if size == 0:
        formatted = "0"
    elif size >= 1e5 or size < 5e-4:
        formatted = f"{value:.1e}"
    else:
        formatted = (
            f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.01 else 3}f}"
        )
    return formatted.replace("-", MINUS)


def clock(seconds: float) -> str:
    """Format a time of a clip: ``7.2 s`` or ``1:07.2``."""
    if not math.isfinite(seconds):
        return DASH
    tenths = round(seconds * 10)
    if abs(tenths) < 600:
        return f"{tenths / 10:.1f}\xa0s".replace("-", MINUS)
    minutes, rest = divmod(abs(tenths), 600)
    return f"{MINUS if tenths < 0 else ''}{minutes}:{rest / 10:04.1f}"


def coordinate(value: float) -> str:
    """Format a coordinate to a tenth, in its shortest form."""
    formatted = f"{value:.1f}".removesuffix(".0")
    return "0" if formatted == "-0" else formatted


def templates(package: str, **settings: Any) -> Environment:
    """The templates of a package: text is escaped as HTML, a missing value is an error."""
    environment = Environment(  # noqa: S701, escaping is a default here
        loader=PackageLoader(package, ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        **{"autoescape": True, **settings},
    )
    environment.tests["finite"] = math.isfinite
    return environment


def _cleaned(value: Any) -> Any:
    return clean(value) if type(value) is str else value  # not Markup: it is made of cleaned text


TEMPLATES: Final = templates("swapper.report", finalize=_cleaned)
"""All text is cleaned, then escaped."""
TEMPLATES.filters |= {
    "clock": clock,
    "coordinate": coordinate,
    "normalised_score": normalised_score,
    "number": number,
    "shorten": shorten,
}


def from_template(name: str, **values: Any) -> Markup:
    """Render a template of this package."""
    return Markup(TEMPLATES.get_template(name).render(values))  # noqa: S704, templates escape
