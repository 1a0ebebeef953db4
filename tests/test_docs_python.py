"""docs/python.md runs unchanged, from top to bottom, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "python.md"


@pytest.mark.slow
def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path / "home"))
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    told = capsys.readouterr().out
    assert "Model(df, 64 px, performer, identity, on cpu)" in told
    assert "affect=actors: the swap's model was trained with it" in told
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 10_000
