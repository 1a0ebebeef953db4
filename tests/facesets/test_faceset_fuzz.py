"""Whatever stands in a faceset's files, opening it works or says in one line why it does not."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swapper.errors import FacesetError
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import read_metadata
from swapper.types import FaceRecord
from tests.facesets.making import make_card, make_faceset

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FILES = ["faceset.json", "faceset.db"]

COLUMNS = [*(each.name for each in fields(FaceRecord))]

_opened: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_listen)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faceset(tmp_path_factory.mktemp("fuzz"), count=8)


@pytest.fixture(scope="module")
def copy(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(original, tmp_path_factory.mktemp("copy") / "anna"))


@pytest.fixture
def spoiled(original: Path, copy: Path) -> Iterator[Path]:
    yield copy
    for name in FILES:
        shutil.copyfile(original / name, copy / name)
    (copy / "faceset.db-journal").unlink(missing_ok=True)


def opens_or_says_why(path: Path) -> None:
    global _opened
    _opened = []
    try:
        faceset = Faceset.open(path)
        for record in faceset.records:
            try:
                faceset.image(record)
            except FacesetError as error:
                one_line(error)
    except FacesetError as error:
        one_line(error)
    finally:
        opened, _opened = _opened, None
    files = [each for each in opened if not each.endswith((".py", ".pyc", ".so"))]  # lazy imports
    assert all(Path(each).is_relative_to(path) for each in files), files


def one_line(error: FacesetError) -> None:
    text = str(error)
    assert text
    assert len(text.splitlines()) == 1
    assert len(text) < 1000


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` cut, overwritten, doubled or with bytes changed."""
    kind = draw(st.sampled_from(["flip", "flip", "cut", "insert", "replace", "splice"]))
    place = st.integers(0, max(0, len(data) - 1))
    if kind == "cut":
        return data[: draw(place)]
    if kind == "replace":
        return draw(st.binary(max_size=300))
    if kind == "insert":
        at = draw(place)
        return data[:at] + draw(st.binary(min_size=1, max_size=40)) + data[at:]
    if kind == "splice":
        first, second = sorted((draw(place), draw(place)))
        return data[:first] + data[second:] + data[first:second]
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(place)] = draw(st.integers(0, 255))
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
@given(choices=st.data())
@QUICK
def test_damaged_files(original: Path, spoiled: Path, name: str, choices: st.DataObject) -> None:
    data = (original / name).read_bytes()
    (spoiled / name).write_bytes(choices.draw(damage(data)))
    opens_or_says_why(spoiled)


@given(choices=st.data())
@QUICK
def test_damaged_pages(original: Path, spoiled: Path, choices: st.DataObject) -> None:
    """Behind a header that is sound, in the first page most of all: it holds the schema."""
    data = bytearray((original / "faceset.db").read_bytes())
    for _ in range(choices.draw(st.integers(1, 8))):
        last = choices.draw(st.sampled_from([4095, len(data) - 1]))
        data[choices.draw(st.integers(100, last))] = choices.draw(st.integers(0, 255))
    (spoiled / "faceset.db").write_bytes(data)
    opens_or_says_why(spoiled)


@given(choices=st.data())
@QUICK
def test_journals_with_anything(original: Path, spoiled: Path, choices: st.DataObject) -> None:
    magic = bytes.fromhex("d9d505f920a163d7")
    head = choices.draw(st.sampled_from([magic, b""]))
    (spoiled / "faceset.db-journal").write_bytes(head + choices.draw(st.binary(max_size=600)))
    opens_or_says_why(spoiled)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(choices=st.data(), value=ANYTHING)
@QUICK
def test_cards_with_any_values(
    original: Path, spoiled: Path, choices: st.DataObject, value: Any
) -> None:
    plain = json.loads((original / "faceset.json").read_text())
    name = choices.draw(st.sampled_from([*plain, "sources.0.name", "sources.0.num_frames"]))
    if name.startswith("sources."):
        plain["sources"][0][name.rpartition(".")[2]] = value
    else:
        plain[name] = value
    (spoiled / "faceset.json").write_text(json.dumps(plain))
    opens_or_says_why(spoiled)


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()


@given(value=VALUES, column=st.sampled_from(COLUMNS))
@QUICK
def test_rows_with_any_values(spoiled: Path, value: Any, column: str) -> None:
    with closing(sqlite3.connect(spoiled / "faceset.db")) as database:
        try:
            with database:
                database.execute(f"UPDATE OR REPLACE faces SET {column} = ?", [value])
        except (sqlite3.IntegrityError, UnicodeEncodeError):
            return  # the schema itself refuses it
    opens_or_says_why(spoiled)


@given(st.text(max_size=80))
@QUICK
def test_identities_are_safe_folder_names(name: str) -> None:
    try:
        card = make_card(name)
    except ValueError:
        return
    assert Path("facesets", card.identity).parent == Path("facesets")
    assert card.identity.isascii()


def test_the_original_opens(original: Path) -> None:
    assert read_metadata(original).identity == "anna"
    assert len(Faceset.open(original)) == 8
