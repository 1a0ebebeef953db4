"""The pages as files of text: what participants open, and the notes for whoever runs the study."""

from __future__ import annotations

import importlib.resources
import json

from swapper.user_study.trials import Study


def page_file(name: str) -> str:
    """Text of one of the files in ``pages``."""
    return (importlib.resources.files("swapper.user_study") / "pages" / name).read_text("utf-8")


def study_page(study: Study) -> str:
    """The page that asks, whole in one file; it knows neutral names and nothing else."""
    # Hex digits and numbers only, so that nothing in it can end the script element.
    data = json.dumps(study.page_data(), separators=(",", ":"))
    return (
        page_file("study.html")
        .replace("/*STYLE*/", page_file("paper.css") + page_file("study.css"))
        .replace("/*SCRIPT*/", page_file("study.js"))
        .replace("/*DATA*/", data)
    )


def readme(study: Study) -> str:
    """How to run the study, and whose eyes are blind."""
    limits = study.limits
    pairs, checks = min(limits.pairs, len(study.pairs)), min(limits.checks, len(study.checks))
    repeats = min(limits.repeats, pairs, (pairs + checks) // 2)
    return page_file("readme.txt").format(
        questions=pairs + checks + repeats,
        study=study.id,
        clips=len(study.clips),
        systems=len(study.systems),
    )
