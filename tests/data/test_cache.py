from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from swapper.data import cache as cache_module
from swapper.data.cache import FaceCache
from swapper.errors import FacesetError
from swapper.faces.geometry import transform_points
from swapper.faces.masks import eyes_mouth_mask, face_mask
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from tests.facesets.making import SIZE, SOURCE, make_card, make_faceset, make_image, make_record


def files(path: Path) -> list[Path]:
    return sorted((path / "cache").glob("*.npy"))


def test_pictures_and_masks_at_their_own_size(tmp_path: Path) -> None:
    faceset = Faceset.open(make_faceset(tmp_path))
    seen: list[tuple[int, int]] = []
    cache = FaceCache.open(faceset, SIZE, progress=lambda *at: seen.append(at))
    assert seen == [(done, 5) for done in range(1, 6)]
    assert cache.array.shape == (5, SIZE, SIZE, 5)
    assert len(cache) == 5
    assert cache.size == SIZE
    assert not cache.array.flags.writeable
    for face, record in zip(cache.array, faceset.records, strict=True):
        landmarks = transform_points(record.aligned_from_frame, record.landmarks)
        np.testing.assert_array_equal(face[..., :3], faceset.image(record))
        np.testing.assert_array_equal(face[..., 3], face_mask(landmarks, SIZE))
        np.testing.assert_array_equal(face[..., 4], eyes_mouth_mask(landmarks, SIZE))
        assert face[SIZE // 2, SIZE // 2, 3] == 255
        assert 0 < face[..., 4].mean() < face[..., 3].mean()
    assert np.array_equal(np.load(cache.path), cache.array)


def test_half_size_masks_lie_on_half_size_pictures(tmp_path: Path) -> None:
    faceset = Faceset.open(make_faceset(tmp_path))
    whole, half = FaceCache.open(faceset, SIZE), FaceCache.open(faceset, SIZE // 2)
    for large, small in zip(whole.array, half.array, strict=True):
        shrunk = cv2.resize(large, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk[..., :3].astype(int) - small[..., :3]).max() <= 1
        # The masks are drawn, not shrunk; a shift of one small pixel would cost far more.
        assert np.abs(shrunk[..., 3].astype(int) - small[..., 3]).mean() < 6
    assert FaceCache.open(faceset, SIZE * 2).array.shape == (5, SIZE * 2, SIZE * 2, 5)


def test_it_is_found_again_and_made_anew_when_the_faceset_changes(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    cache = FaceCache.open(Faceset.open(path), SIZE)

    def forbidden(*_: object) -> None:
        raise AssertionError("was made again")

    again = FaceCache.open(Faceset.open(path), SIZE, progress=forbidden)
    assert again.path == cache.path
    with FacesetWriter(path, make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        writer.add(make_record(8), make_image(8))
    more = FaceCache.open(Faceset.open(path), SIZE)
    assert len(more) == 6
    assert files(path) == [more.path]
    (path / "images" / Faceset.open(path).records[0].image).unlink()
    assert len(FaceCache.open(Faceset.open(path), SIZE)) == 5


@pytest.mark.parametrize("spoil", ["cut", "grow", "header", "pixel", "sum", "empty", "link"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, spoil: str) -> None:
    path = make_faceset(tmp_path)
    good = FaceCache.open(Faceset.open(path), SIZE)
    want, place = good.array.copy(), good.path
    data = bytearray(place.read_bytes())
    if spoil == "cut":
        data = data[:-1]
    elif spoil == "grow":
        data += b"\0"
    elif spoil == "header":
        data[60] ^= 1
    elif spoil == "pixel":
        data[3000] ^= 1
    elif spoil == "sum":
        data[-1] ^= 1
    elif spoil == "empty":
        data.clear()
    place.unlink()
    if spoil == "link":
        (tmp_path / "elsewhere.npy").write_bytes(data)
        place.symlink_to(tmp_path / "elsewhere.npy")
    else:
        place.write_bytes(data)
    anew = FaceCache.open(Faceset.open(path), SIZE)
    assert np.array_equal(anew.array, want)
    assert not anew.path.is_symlink()


def test_nowhere_to_put_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_faceset(tmp_path)
    for blocked in (path / "cache", tmp_path / "blocked"):
        blocked.write_text("a file where the folder should be: even root cannot write there")
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path / "blocked"))
    with pytest.raises(FacesetError, match=r"anna: .*SWAPPER_HOME"):
        FaceCache.open(Faceset.open(path), SIZE)


def test_a_read_only_faceset_is_cached_at_home(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_faceset(tmp_path)
    (path / "cache").write_text("a file where the folder should be: even root cannot write there")
    cache = FaceCache.open(Faceset.open(path), SIZE)
    assert cache.path.is_relative_to(Path(os.environ["SWAPPER_HOME"]))
    assert "cannot hold the cache" in caplog.text
    assert FaceCache.open(Faceset.open(path), SIZE).path == cache.path


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faceset = Faceset.open(make_faceset(tmp_path))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FacesetError, match=r"MiB .*No space left"):
        FaceCache.open(faceset, SIZE)
    assert [each.name for each in (faceset.path / "cache").iterdir()] == [".lock"]


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    faceset = Faceset.open(path)
    (path / "images" / faceset.records[3].image).write_bytes(b"broken")
    with pytest.raises(FacesetError, match=faceset.records[3].image):
        FaceCache.open(faceset, SIZE)
    assert files(path) == []


def test_pickling_carries_the_path_not_the_faces(tmp_path: Path) -> None:
    cache = FaceCache.open(Faceset.open(make_faceset(tmp_path)), SIZE)
    data = pickle.dumps(cache)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data).array, cache.array)


def test_processes_that_want_it_at_once_make_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_faceset(tmp_path)
    made: list[int] = []
    real = cache_module._faces
    monkeypatch.setattr(cache_module, "_faces", lambda *a: (made.append(1), real(*a))[1])
    found: list[FaceCache] = []
    workers = [
        threading.Thread(target=lambda: found.append(FaceCache.open(Faceset.open(path), SIZE)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert len(made) == 1


def test_an_empty_faceset_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        FaceCache.open(Faceset.open(make_faceset(tmp_path, count=0)), SIZE)


def test_a_disk_that_does_not_keep_what_is_written_is_one_line(tmp_path: Path) -> None:
    faceset = Faceset.open(make_faceset(tmp_path))
    with pytest.raises(FacesetError, match="reads back damaged"):
        cache_module.open_or_make(faceset, "lost.npy", "cache", lambda _: None, lambda _: None)
