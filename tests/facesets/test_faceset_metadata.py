from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from swapper.errors import FacesetError
from swapper.facesets.faceset_metadata import Source, read_metadata, write_metadata
from tests.facesets.making import SOURCE, make_card


def test_round_trip(tmp_path: Path) -> None:
    card = make_card("anna_k.2", rights='release "7" – März').with_source(
        Source("clip.mp4", SOURCE, 100)
    )
    write_metadata(tmp_path, card)
    assert read_metadata(tmp_path) == card
    assert [each.name for each in tmp_path.iterdir()] == ["faceset.json"]


def test_a_source_is_listed_once_and_updated() -> None:
    card = make_card().with_source(Source("a.mp4", SOURCE)).with_source(Source("b.mp4", "0" * 64))
    card = card.with_source(Source("a.mp4", SOURCE, 9))
    assert [each.num_frames for each in card.sources] == [9, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": ""}, "identity must"),
        ({"identity": ".."}, "identity must"),
        ({"identity": "a/b"}, "identity must"),
        ({"identity": "a" * 65}, "identity must"),
        ({"identity": "a\n"}, "identity must"),
        ({"identity": 5}, "identity must be text"),
        ({"rights": " \n"}, "rights is empty"),
        ({"rights": None}, "rights must be text"),
        ({"rights": "\ud800"}, "half a character"),
        ({"size": 8}, "size must"),
        ({"size": 5000}, "size must"),
        ({"size": 64.0}, "size must"),
        ({"size": True}, "size must"),
        ({"coverage": "whole"}, "coverage must"),
        ({"coverage": ["face"]}, "coverage must"),
        ({"image_format": "bmp"}, "image_format must"),
        ({"sources": {}}, "sources must be a list"),
        ({"sources": [1]}, "sources must be a list"),
        ({"sources": [{"name": "a", "sha256": "xyz"}]}, "64 hex digits"),
        ({"sources": [{"name": "a"}]}, "'sha256' is missing"),
        ({"sources": [{"name": "a", "sha256": SOURCE, "num_frames": -1}]}, "num_frames must"),
        ({"sources": [{"name": "a", "sha256": SOURCE}] * 2}, "lists a file twice"),
        ({"schema": 2}, "upgrade swapper"),
        ({"schema": "1"}, "has schema"),
        ({"schema": True}, "has schema"),
    ],
)
def test_hostile_values_are_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_metadata(tmp_path, make_card())
    path = tmp_path / "faceset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FacesetError, match=words) as caught:
        read_metadata(tmp_path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1" * 5000, "[" * 100_000, '{"schema": 1}', "\x00"]
)
def test_hostile_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "faceset.json").write_text(text)
    with pytest.raises(FacesetError, match=r"faceset\.json"):
        read_metadata(tmp_path)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faceset.json"
    write_metadata(tmp_path, make_card())
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FacesetError, match="is a link"):
        read_metadata(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FacesetError, match="not a plain file"):
        read_metadata(tmp_path)
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate(1 << 34)  # sparse: 16 GB that are not there
    with pytest.raises(FacesetError, match="more than"):
        read_metadata(tmp_path)


def test_a_full_disk_leaves_the_old_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metadata(tmp_path, make_card())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FacesetError, match=r"No space left.*make room"):
        write_metadata(tmp_path, make_card(rights="other"))
    assert read_metadata(tmp_path) == make_card()
    assert [each.name for each in tmp_path.iterdir()] == ["faceset.json"]
