"""The study page for participants, and the README for whoever runs the study."""

from __future__ import annotations

import importlib.resources
from typing import Final

from swapper.report.markup import templates
from swapper.user_study.trials import Study

TEMPLATES: Final = templates("swapper.user_study")


def page_file(name: str) -> str:
    """Read a file in ``pages``."""
    return (importlib.resources.files("swapper.user_study") / "pages" / name).read_text("utf-8")


def study_page(study: Study) -> str:
    """Render the study page as one file; it contains neutral names only."""
    return TEMPLATES.get_template("pages/study.html.jinja").render(
        study=study,
        style=page_file("paper.css") + page_file("study.css"),
        script=page_file("study.js"),
    )


def readme(study: Study) -> str:
    """Render the README: how to run the study, and who is blind."""
    limits = study.limits
    pairs, checks = min(limits.pairs, len(study.pairs)), min(limits.checks, len(study.checks))
    repeats = min(limits.repeats, pairs, (pairs + checks) // 2)
    return page_file("readme.txt").format(
        questions=pairs + checks + repeats,
        study=study.id,
        clips=len(study.clips),
        systems=len(study.systems),
    )
