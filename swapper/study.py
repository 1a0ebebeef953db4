"""User studies: write the page of a pairwise comparison, and analyse the answers."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Final

from swapper.errors import StudyError, UsageError
from swapper.files import check_output_folder, partial_folder
from swapper.options.verbs import StudyOptions
from swapper.user_study.answers import Exclusion, read_answers
from swapper.user_study.counts import StudyCounts, count_answers
from swapper.user_study.results import results_data, results_page
from swapper.user_study.stimuli import collect_study
from swapper.user_study.study_page import readme, study_page
from swapper.user_study.trials import Limits, Study, read_key

log = logging.getLogger(__name__)

KEY: Final = "key.json"
_OURS: Final = {"page", KEY, "README.txt", "results.json", "results.html"}


def study(options: StudyOptions) -> Path:
    """Write a study of the clips in ``clips=``, or analyse the answers in ``answers=``.

    Returns:
        Path of the study page, or of the results page.

    Raises:
        SwapperError: In one line; an existing study stays unchanged.
    """
    if bool(options.clips) == bool(options.answers):
        raise UsageError(
            "study: pass clips=FOLDER to write a study, or answers=FOLDER key=key.json to count "
            "one's answers"
        )
    if options.answers and not options.key:
        raise UsageError(
            "key is missing: pass key=STUDY/key.json, which the study was written with"
        )
    if options.clips and options.key:
        raise UsageError("key is written with clips=, not read; drop key=, or pass answers=")
    return _count(options) if options.answers else _write(options)


def _write(options: StudyOptions) -> Path:
    output = Path(options.output or "study")
    if Path(options.clips).resolve().is_relative_to(output.resolve()):
        raise UsageError(f"output={output}: holds the clips themselves; pass another output=")
    check_output_folder(output, _OURS.__contains__, "study", overwrite=options.overwrite)
    limits = Limits(options.pairs, options.checks, options.repeats)
    design, sources = collect_study(Path(options.clips), limits)
    try:
        with partial_folder(output) as partial:
            clips = partial / "page" / "clips"
            clips.mkdir(parents=True)
            for name, path in sources.items():
                # Bytes only: modification times and permissions would reveal the systems.
                shutil.copyfile(path, clips / f"{name}{design.kind}")
            (partial / "page" / "index.html").write_text(study_page(design), encoding="utf-8")
            (partial / "README.txt").write_text(readme(design), encoding="utf-8")
            (partial / KEY).write_text(_json(design.key_data()), encoding="utf-8")
    except OSError as error:
        raise _unwritable(output, error) from error
    page = output / "page" / "index.html"
    counts = (len(design.clips), len(design.systems), len(design.pairs))
    log.info("%s: %d clips, %d systems, %d pairs; open it, or serve its folder", page, *counts)
    log.info("%s: do not share it; it unblinds the study", output / KEY)
    return page


def _count(options: StudyOptions) -> Path:
    key = Path(options.key)
    design = read_key(key)
    participants, excluded = read_answers(Path(options.answers), design)
    for exclusion in excluded:
        log.warning("%s: excluded: %s", exclusion.name, exclusion.reason)
    try:
        counts = count_answers(participants, design, options.misses)
    except ValueError as error:
        reason = (
            f"all {len(participants)} missed more than {options.misses} checks; pass a larger "
            "misses=" if participants else "none of its files answers this study; pass its own key="
        )  # fmt: skip
        raise StudyError(f"answers={options.answers}: {reason}") from error
    output = Path(options.output) if options.output else key.parent
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "results.json").write_text(
            _json(results_data(design, counts, excluded)), encoding="utf-8"
        )
        page = output / "results.html"
        page.write_text(results_page(design, counts, excluded), encoding="utf-8")
    except OSError as error:
        raise _unwritable(output, error) from error
    print("\n".join(_lines(design, counts, excluded)))
    log.info("%s", page)
    return page


def _lines(design: Study, counts: StudyCounts, excluded: list[Exclusion]) -> list[str]:
    """Return the summary that is printed."""
    missed = [each for each in counts.attention if not each.counts]
    lines = [
        f"study {design.id}: {len(counts.attention) - len(missed)} participants, {counts.answers} "
        f"comparisons, {counts.ties} of them undecided (half a win each)"
    ]
    lines += [
        f"  {each.participant} excluded: missed {each.missed} of {each.checks} checks"
        for each in missed
    ]
    if excluded:
        lines.append(f"  {len(excluded)} files excluded")
    lines.append("strength (log-odds, mean 0):")
    width = max(len(each) for each in counts.systems)
    lines += [
        f"  {name:{width}}  {each}"
        for name, each in zip(counts.systems, counts.strengths, strict=True)
    ]
    lines.append("share of answers:")
    return lines + [
        f"  {first} over {second}: {rate.share:.2f} [{rate.low:.2f}, {rate.high:.2f}] of "
        f"{rate.answers}"
        for first, second, rate in counts.pairs
        if rate.answers
    ]


def _json(data: dict[str, object]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _unwritable(output: Path, error: OSError) -> StudyError:
    return StudyError(
        f"{output}: cannot be written ({error.strerror or error}); free space or check permissions"
    )
