"""The page in a real browser: it fits wide and narrow windows, dark and light, and prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapper.report.content import Report
from swapper.report.html_page import render
from tests.browser import measure, needs_chromium, print_to_pdf, screenshot
from tests.report.sample import bare, sample
from tests.report.test_html_page import hostile

pytestmark = needs_chromium
REPORTS = {"whole": sample(truth=True), "bare": bare(), "hostile": hostile()}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", REPORTS)
def test_it_fits_and_all_pictures_load(name: str, width: int, tmp_path: Path) -> None:
    report = REPORTS[name]
    fit = measure(render(report), width, tmp_path)
    assert fit.window == width
    assert fit.width <= width, fit.sticks_out
    assert fit.sticks_out == ""
    assert fit.broken == 0
    assert fit.pictures == pictures(report)


def pictures(report: Report) -> int:
    return sum(2 + (each.truth is not None) for each in (*report.strongest, *report.worst))


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_dark_for_those_who_want_it(width: int, tmp_path: Path) -> None:
    page = render(sample())
    light, dark = (measure(page, width, tmp_path, dark=dark) for dark in (False, True))
    assert light.background == "rgb(251, 250, 247)"
    assert dark.background == "rgb(22, 23, 26)"
    assert (dark.width, dark.height) == (light.width, light.height)


def test_a_page_that_is_too_wide_is_caught(tmp_path: Path) -> None:
    page = render(sample()).replace("<main>", '<main><p style="width:2000px">wide</p>')
    fit = measure(page, 390, tmp_path)
    assert fit.width >= 2000
    assert "wide" in fit.sticks_out


def test_it_prints_on_few_pages(tmp_path: Path) -> None:
    printed = print_to_pdf(render(sample(truth=True)), tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert 4 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 10


def test_a_picture_of_it_can_be_taken(tmp_path: Path) -> None:
    path = screenshot(render(bare()), 390, tmp_path / "bare.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
