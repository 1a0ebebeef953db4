from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from swapper.errors import FacesetError, MediaError
from swapper.files import (
    one_line,
    open_regular,
    partial_path,
    read_json,
    read_regular,
    replacing,
    sha256_of,
    write_atomically,
)


def test_one_line_is_printable_short_and_never_empty_for_an_error() -> None:
    assert one_line(" a\nb\t c\x1b[31m") == "a b c?[31m"
    assert one_line(ValueError()) == "ValueError"
    long = one_line("x" * 500, 100)
    assert len(long) <= 100
    assert " ... " in long


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.bin"
    write_atomically(path, b"old")

    def stumble() -> None:
        with replacing(path) as stream:
            stream.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stumble()
    assert path.read_bytes() == b"old"
    assert sorted(path.parent.iterdir()) == [path]
    with partial_path(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert sorted(path.parent.iterdir()) == [path]


def test_what_a_library_wrote_is_as_readable_as_other_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    for name in ("new", "old"):
        path = tmp_path / name
        if name == "old":
            path.touch(mode=0o640)
        with partial_path(path) as partial:
            partial.touch(mode=0o600)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_what_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MediaError, match=r"file/a\.bin: cannot be written"):
        write_atomically(tmp_path / "file" / "a.bin", b"")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of(tmp_path / "empty") == expected


def test_only_plain_files_within_the_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"12345")
    assert read_regular(path, 5, MediaError) == b"12345"
    with pytest.raises(MediaError, match="plain: has 5 bytes, more than 4"):
        read_regular(path, 4, MediaError)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(MediaError), open_regular(tmp_path / name, 5, MediaError):
            pass
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 5, MediaError)


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b'{"a": NaN}', b'{"a": 1', b"[" * 100_000, "{}".encode("utf-16")]
)
def test_json_from_strangers_is_one_object_of_finite_numbers(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(FacesetError, match=r"a\.json: is not .*; mend it") as refused:
        read_json(path, 1 << 20, FacesetError, "mend it")
    assert "\n" not in str(refused.value)
    path.write_bytes(b'{"a": 1.5}')
    assert read_json(path, 1 << 20, FacesetError) == {"a": 1.5}
