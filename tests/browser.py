"""Pages in a headless Chromium: pictures of them, and whether they fit."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LIMIT: Final = 120
# An answer in the page's title would be cut; an element of its own is not.
_MEASURE: Final = """
<script>addEventListener("load", () => {
  const root = document.documentElement, pictures = [...document.images];
  const broken = pictures.filter((each) => !each.complete || !each.naturalWidth).length;
  const out = [...document.body.querySelectorAll("*")].filter(
    (each) => each.getBoundingClientRect().right > innerWidth + 0.5
      && each.getBoundingClientRect().width > 1 && getComputedStyle(each).display != "none");
  const told = [innerWidth, root.scrollWidth, root.scrollHeight, pictures.length, broken,
    getComputedStyle(document.body).backgroundColor, out.length && out[0].outerHTML.slice(0, 120)];
  parent.postMessage(told.join("|"), "*");
});</script>
"""
_FRAME: Final = """<!doctype html><meta charset="utf-8"><body style="margin:0"><p id="told"></p>
<script>addEventListener("message", (e) => {{ told.textContent = "told|" + e.data; }});</script>
<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>"""


def find_chromium() -> str | None:
    """Path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="no chromium here: apt-get install chromium to look at pages"
)


@dataclass(frozen=True)
class Fit:
    """What a page measured of itself.

    Attributes:
        window: Inner width in pixels.
        width, height: Of what there is to scroll.
        pictures, broken: How many there are, and how many did not load.
        background: Colour of the body.
        sticks_out: Start of the first element that reaches past the right edge, or "".
    """

    window: int
    width: int
    height: int
    pictures: int
    broken: int
    background: str
    sticks_out: str


def _run(profile: Path, dark: bool, *arguments: str) -> str:
    binary = find_chromium()
    assert binary is not None, "ask needs_chromium first"
    look = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else [
        "--blink-settings=preferredColorScheme=1"
    ]  # fmt: skip
    done = subprocess.run(
        [binary, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={profile}", "--virtual-time-budget=4000", *look, *arguments],
        capture_output=True, text=True, timeout=_LIMIT, check=True,
    )  # fmt: skip
    return done.stdout


def measure(page: str, width: int, folder: Path, *, dark: bool = False) -> Fit:
    """Open a page in a frame of a width that windows may not have, and let it measure itself.

    Args:
        page: HTML; a copy of it gets a script, and loses its policy against scripts.
        width: Of the frame in pixels.
        folder: For the copy and the browser's profile.
        dark: Whether the reader prefers dark pages.
    """
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    page = page.replace("</head>", f"{_MEASURE}</head>", 1)
    copy = folder / f"frame-{width}-{dark}.html"
    copy.write_text(_FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    dumped = _run(
        folder / "profile", dark, f"--window-size={max(width, 600)},1000", "--dump-dom",
        copy.as_uri(),
    )  # fmt: skip
    found = re.search(r'<p id="told">told\|([^<]*)</p>', dumped)
    assert found is not None, "the page did not tell how wide it is"
    parts = html.unescape(found.group(1)).split("|", 6)
    window, across, down, pictures, broken = map(int, parts[:5])
    return Fit(window, across, down, pictures, broken, parts[5], parts[6].removeprefix("0"))


def overflow(page: str, width: int, folder: Path) -> int:
    """By how many pixels a page is wider than a window of `width`."""
    fit = measure(page, width, folder)
    return max(0, fit.width - fit.window)


def screenshot(page: str, width: int, path: Path, *, dark: bool = False, height: int = 0) -> Path:
    """Write a PNG of a page, whole unless `height` is given.

    Args:
        page: HTML.
        width: Of the page in pixels, in a frame where a window could not be so narrow.
        path: Of the PNG; the browser's profile and the page are put beside it.
        dark: Whether the reader prefers dark pages.
        height: In pixels; 0 takes the page's own.
    """
    if not height:
        height = measure(page, width, path.parent, dark=dark).height
    framed = _FRAME.format(width=width, page=html.escape(page)).replace(
        'height="900"', f'height="{height}"'
    )
    copy = path.with_suffix(".frame.html")
    copy.write_text(framed.replace('<p id="told"></p>', ""), encoding="utf-8")
    _run(
        path.parent / "profile", dark, f"--window-size={max(width, 600)},{height}",
        f"--screenshot={path}", copy.as_uri(),
    )  # fmt: skip
    return path


def print_to_pdf(page: str, path: Path) -> Path:
    """Write a PDF of a page, as a reader would print it."""
    copy = path.with_suffix(".print.html")
    copy.write_text(page, encoding="utf-8")
    _run(
        path.parent / "profile", False, "--no-pdf-header-footer", f"--print-to-pdf={path}",
        copy.as_uri(),
    )  # fmt: skip
    return path
