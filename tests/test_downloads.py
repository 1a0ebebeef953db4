from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from swapper import downloads
from swapper.errors import AlignerError

URL = "https://example.org/models/net.task"
BODY = b"some weights" * 1000
SHA = hashlib.sha256(BODY).hexdigest()


class Answer(io.BytesIO):
    def __init__(self, body: bytes, url: str = URL) -> None:
        super().__init__(body)
        self.url = url


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def urlopen(url: str, **_: Any) -> Answer:
        asked.append(url)
        return Answer(BODY)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_fetched_once_then_kept(fetched: list[str]) -> None:
    path = downloads.download_cached(URL, SHA, "aligner.model", AlignerError)
    assert path.read_bytes() == BODY
    assert path.parent == downloads.cache_folder()
    assert downloads.download_cached(URL, SHA, "aligner.model", AlignerError) == path
    assert fetched == [URL]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_damaged_copy_is_fetched_anew(fetched: list[str]) -> None:
    path = downloads.download_cached(URL, SHA, "aligner.model", AlignerError)
    path.write_bytes(b"half")
    assert downloads.download_cached(URL, SHA, "aligner.model", AlignerError).read_bytes() == BODY
    assert len(fetched) == 2


def test_another_file_is_refused_and_not_kept(fetched: list[str]) -> None:
    with pytest.raises(AlignerError, match=r"sha256 differs.*aligner\.model=PATH"):
        downloads.download_cached(URL, "0" * 64, "aligner.model", AlignerError)
    assert list(downloads.cache_folder().iterdir()) == []


def test_without_a_network_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def urlopen(url: str, **_: Any) -> Answer:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(AlignerError) as caught:
        downloads.download_cached(URL, SHA, "aligner.model", AlignerError)
    message = str(caught.value)
    assert f"download {URL} and pass aligner.model=PATH" in message
    assert "Name or service not known" in message
    assert "\n" not in message
    assert list(downloads.cache_folder().iterdir()) == []


def test_only_https_even_after_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="https"):
        downloads.download_cached(URL.replace("https", "http"), SHA, "aligner.model", AlignerError)
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, **_: Answer(BODY, "http://example.org/net.task")
    )
    with pytest.raises(AlignerError, match="redirected away from https"):
        downloads.download_cached(URL, SHA, "aligner.model", AlignerError)


def test_the_cache_follows_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path / "mine"))
    assert downloads.cache_folder() == tmp_path / "mine" / "weights"
    monkeypatch.delenv("SWAPPER_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert downloads.cache_folder() == tmp_path / ".cache" / "swapper" / "weights"


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(AlignerError, match=r"absent\.pth: .*aligner\.model=PATH"):
        downloads.require_file("absent.pth", "aligner.model", AlignerError)
