"""Whatever stands in a faceset's files, opening it works or says in one line why it does not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swapper.errors import FacesetError
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import read_metadata
from swapper.facesets.index import journal_line
from swapper.facesets.writer import FacesetWriter
from tests.facesets.making import make_card, make_faceset, make_image, make_record

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FILES = ["faceset.json", "faces.parquet", "faces.journal"]

_opened: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_listen)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A faceset with faces in the index and in the journal."""
    path = make_faceset(tmp_path_factory.mktemp("fuzz"))
    with FacesetWriter(path, make_card()) as writer:
        late = [writer.add(make_record(frame), make_image(frame)) for frame in (5, 6, 7)]
    (path / "faces.journal").write_bytes(b"".join(map(journal_line, late)))
    return path


@pytest.fixture(scope="module")
def copy(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(original, tmp_path_factory.mktemp("copy") / "anna"))


@pytest.fixture
def spoiled(original: Path, copy: Path) -> Iterator[Path]:
    yield copy
    for name in FILES:
        shutil.copyfile(original / name, copy / name)


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
def test_damaged_parquet_footers(original: Path, spoiled: Path, choices: st.DataObject) -> None:
    """The footer decides what is read and how much; random places seldom hit its few bytes."""
    data = (original / "faces.parquet").read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = choices.draw(damage(data[-8 - length : -8]))
    size = len(footer).to_bytes(4, "little")
    (spoiled / "faces.parquet").write_bytes(data[: -8 - length] + footer + size + b"PAR1")
    before = pa.total_allocated_bytes()
    opens_or_says_why(spoiled)
    assert pa.total_allocated_bytes() - before < 1 << 20


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


@given(choices=st.data(), value=ANYTHING)
@QUICK
def test_journal_rows_with_any_values(
    original: Path, spoiled: Path, choices: st.DataObject, value: Any
) -> None:
    import zlib

    line = (original / "faces.journal").read_bytes().splitlines()[0]
    row = json.loads(line[9:])
    row[choices.draw(st.sampled_from(list(row)))] = value
    text = json.dumps(row).encode()
    (spoiled / "faces.journal").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
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
