"""The page tells everything, whatever there is, and trusts nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import markupsafe
import numpy as np
import pytest

from swapper.report.content import Group, KeyFrame, Measure, Report
from swapper.report.html_page import render
from swapper.report.markup import clean, number
from tests.report.sample import NAN, bare, flat, sample

SECTIONS = (
    "verdict", "strongest", "emotions", "intensities", "units", "measures", "worst", "guide",
    "lineage",
)  # fmt: skip
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x00\udc80" + "w" * 300
VOID = {"meta", "img", "br", "col"}


def escape(text: str) -> str:
    return str(markupsafe.escape(clean(text)))


class _Strict(HTMLParser):
    """Every element is closed in its turn; gathers what could do harm or be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.alts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        given = dict(attrs)
        assert not [name for name, _ in attrs if name.startswith("on")], attrs
        self.links += [
            given[n] or "" for n in ("href", "src", "xlink:href", "action") if n in given
        ]
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "img":
            self.alts.append(given.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag


def read(page: str) -> _Strict:
    parser = _Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    return parser


REPORTS = {
    "whole": sample(),
    "with truth": sample(truth=True),
    "bare": bare(),
    "no affect": replace(
        sample(),
        emotions=replace(sample().emotions, affect_performer=None, affect_swap=None),  # type: ignore[type-var]
    ),
    "nobody": replace(
        sample(),
        emotions=replace(  # type: ignore[type-var]
            sample().emotions,
            performer=np.full((500, 8), NAN), swap=np.full((500, 8), NAN),
            affect_performer=np.full((500, 2), NAN), affect_swap=np.full((500, 2), NAN),
        ),
    ),
    "nothing": Report(
        "", "", None, (), (), np.zeros(0), (), (), None, (), "", (), (), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_every_section_stands_and_the_markup_is_sound(name: str) -> None:
    page = render(REPORTS[name])
    found = read(page)
    assert [each for each in found.ids if each in SECTIONS] == list(SECTIONS)
    assert not found.seen & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(each.startswith("data:image/jpeg;base64,") for each in found.links)
    assert not re.search(r"(?<![a-z])(nan|inf)(?![a-z])", page.lower())
    assert "http" not in page.replace("http-equiv", "")
    page.encode()


def test_everything_is_told() -> None:
    report = sample(truth=True)
    page = render(report)
    told = [
        report.title,
        report.verdict,
        report.unit_instrument,
        *report.findings,
        *report.undetermined,
    ]
    told += [*report.lineage, *report.facts, *report.facts.values()]
    told += [each.caption for each in (*report.strongest, *report.worst)]
    for text in told:
        assert escape(text) in page, text
    assert page.count(escape(report.verdict)) == 1, "the verdict is not said twice"
    for group in report.groups:
        assert escape(group.title) in page
        assert escape(group.instrument) in page
        for measure in group.measures:
            row = page[page.index(f'<th scope="row">{escape(measure.title)}') :]
            row = row[: row.index("</tr>")]
            assert number(measure.value) in row
            if np.isfinite(measure.value):
                assert f"<span>{number(measure.floor)}</span>" in row
                assert f"<span>{number(measure.ceiling)}</span>" in row
            else:
                assert escape(measure.why_not) in row
    assert report.emotions is not None
    assert all(f"</i>{name}</li>" in page for name in report.emotions.names)
    pictures = 3 * (len(report.strongest) + len(report.worst))
    assert read(page).alts.count(None) == 0
    assert len([alt for alt in read(page).alts if alt]) == pictures


@pytest.mark.parametrize(
    ("expressive", "words"),
    [(True, "The performance came through."), (False, "The performance did not come through."),
     (None, "Whether the performance came through is undetermined.")],
)  # fmt: skip
def test_whether_it_came_through_is_said(expressive: bool | None, words: str) -> None:
    assert words in render(replace(sample(), expressive=expressive))


def test_intensities_are_means_over_frames_with_both_faces() -> None:
    report = sample()
    assert report.emotions is not None
    performer = np.tile([1.0, 0.0], (4, 1))
    swap = np.tile([0.25, 0.75], (4, 1))
    performer[3] = [0.0, 1.0]
    swap[3] = NAN
    emotions = replace(report.emotions, names=("happy", "sad"), performer=performer, swap=swap,
                       affect_performer=None, affect_swap=None)  # fmt: skip
    page = render(replace(report, seconds=np.arange(4.0), emotions=emotions))
    assert "Mean probability over the 3 frames" in page
    assert '<td class="pair">1.00<br>0.25</td>' in page
    assert '<td class="pair">0<br>0.75</td>' in page


def hostile() -> Report:
    """Every text is what it should not be."""
    report = sample()
    assert report.emotions is not None
    names = tuple(f"{HOSTILE}{index}" for index in range(8))
    measure = Measure(HOSTILE, HOSTILE, 0.4, 0.0, 1.0, unit=HOSTILE)
    moments = tuple(KeyFrame(1, 2.0 + index, HOSTILE, *flat()[:2], flat()[2]) for index in range(3))
    return replace(
        report,
        title=HOSTILE, verdict=HOSTILE, findings=(HOSTILE, f"{HOSTILE}!"), undetermined=(HOSTILE,),
        strongest=moments, worst=moments, emotions=replace(report.emotions, names=names),
        units=tuple(replace(each, name=HOSTILE) for each in report.units), unit_instrument=HOSTILE,
        groups=(Group(HOSTILE, HOSTILE, (
            measure,
            replace(measure, name="gain", ceiling=NAN),
            replace(measure, value=NAN, why_not=HOSTILE),
        )),),
        lineage=(HOSTILE,), facts={HOSTILE: HOSTILE},
    )  # fmt: skip


def test_hostile_text_stays_text() -> None:
    page = render(hostile())
    assert "<script" not in page.lower()
    assert read(page).seen <= read(render(sample())).seen
    assert "\u202e" not in page
    assert "\x00" not in page
    page.encode()


@pytest.mark.parametrize("frames", [1, 2, 10_000])
def test_long_clips_make_no_long_pages(frames: int) -> None:
    report = sample(frames)
    page = render(replace(report, strongest=(), worst=()))
    read(page)
    assert len(page.encode()) < 400_000


def test_wild_traces_make_no_long_pages() -> None:
    report = sample(10_000)
    assert report.emotions is not None
    rng = np.random.default_rng(0)
    wild = rng.dirichlet(np.full(8, 0.3), (2, 10_000))
    wild[0, rng.random(10_000) < 0.5] = NAN
    affect = rng.uniform(-1, 1, (2, 10_000, 2))
    emotions = replace(
        report.emotions, performer=wild[0], swap=wild[1],
        affect_performer=affect[0], affect_swap=affect[1],
    )  # fmt: skip
    page = render(replace(report, emotions=emotions, strongest=(), worst=()))
    assert len(page.encode()) < 1_500_000


def test_a_moment_without_its_picture_says_so() -> None:
    moment = KeyFrame(3, 0.12, "happy 0.9", b"", flat()[1])
    page = render(replace(sample(), strongest=(moment,)))
    read(page)
    assert "<i>no picture</i>" in page


def test_traces_of_another_length_are_refused() -> None:
    report = sample()
    with pytest.raises(ValueError, match="emotions must be"):
        render(replace(report, seconds=np.arange(3.0)))
    assert report.emotions is not None
    with pytest.raises(ValueError, match="affect must be"):
        render(replace(report, emotions=replace(report.emotions, affect_swap=np.zeros((3, 2)))))
    with pytest.raises(ValueError, match="seconds must be finite"):
        render(replace(report, seconds=np.full(500, NAN)))


def test_each_emotion_class_has_its_colour_in_the_style_sheet() -> None:
    from swapper.report import palette

    style = (Path(palette.__file__).parent / "report.css").read_text(encoding="utf-8")
    kinds = [f"e-{kind}" for kind in palette._SYNONYMS]
    kinds += [f"e-other-{index}" for index in range(palette.NUM_OTHER_COLOURS)]
    assert all(f".{kind} {{ fill: " in style for kind in kinds)
