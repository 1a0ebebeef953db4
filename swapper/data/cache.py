"""Cache of decoded faces and masks for training: built once per faceset, memory-mapped.

The file is a ``.npy`` of (N, size, size, 5) uint8, followed by the CRC-32 of each face.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import transform_points
from swapper.faces.masks import eyes_mouth_mask, face_mask
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_errors import damaged
from swapper.files import PARTIAL, replacing
from swapper.types import FaceRecord

log = logging.getLogger(__name__)

T = TypeVar("T")

CHANNELS = 5
"""Red, green, blue, face mask, eyes-and-mouth mask."""
_VERSION = 2
"""To be raised when masks or resampling change: old caches are then rebuilt."""
_CHECKED = 64
_AT_ONCE = 64


class FaceCache:
    """Faces of one faceset in the order of its records; use `open`.

    Unpickling reopens the file, so that workers share the memory.

    Args:
        path: Of the file, already validated.
        shape: (N, size, size, 5).
        offset: Of the first face in the file, in bytes.

    Attributes:
        array: (N, size, size, 5) uint8, read-only.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int], offset: int) -> None:
        self.path = path
        self._arguments = (path, shape, offset)
        # A plain array over the map: numpy's memmap class costs time at every slice.
        self.array: NDArray[np.uint8] = np.memmap(
            path, np.uint8, mode="r", offset=offset, shape=shape
        ).view(np.ndarray)

    def __reduce__(self) -> tuple[type[FaceCache], tuple[object, ...]]:
        return FaceCache, self._arguments

    def __len__(self) -> int:
        return len(self.array)

    @property
    def size(self) -> int:
        """Side of a face in pixels."""
        return int(self.array.shape[1])

    @classmethod
    def open(
        cls,
        faceset: Faceset,
        size: int,
        *,
        progress: Callable[[int, int], object] = lambda *_: None,
    ) -> FaceCache:
        """Open the cache of `faceset`; build it if it is missing, damaged or outdated.

        It is stored in the faceset's folder, or in ``SWAPPER_HOME`` if that is not writable.

        Args:
            faceset: Not empty.
            size: Side of the cached faces in pixels; pictures are resized.
            progress: Called with the number of faces done and in total.

        Raises:
            FacesetError: A picture is damaged, or there is no room.
        """
        if not len(faceset):
            raise ValueError("an empty faceset has no cache")
        shape = (len(faceset), size, size, CHANNELS)
        # All that the cached pixels depend on.
        key = f"{_VERSION} {faceset.content_hash} {size}"
        return open_or_make(
            faceset,
            f"faces_{size}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy",
            f"cache of {np.prod(shape, dtype=np.int64) / 2**20:.0f} MiB",
            partial(_find, shape=shape),
            partial(_make, faceset=faceset, shape=shape, progress=progress),
        )


def open_or_make(
    faceset: Faceset,
    name: str,
    what: str,
    find: Callable[[Path], T | None],
    make: Callable[[Path], None],
) -> T:
    """Open a file of the faceset's cache; make it in the first of its folders that allows it.

    Args:
        faceset: Whose cache.
        name: Of the file.
        what: It is, for the message.
        find: Opens a path; None if it is missing or not valid.
        make: Writes a path, while other processes that want to wait for it.

    Raises:
        FacesetError: There is no room.
    """
    folders = cache_folders(faceset)
    for folder in folders:
        if (found := find(folder / name)) is not None:
            return found
    refusals: list[str] = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with single_process(folder):
                found = find(folder / name)  # another process may have made it while we waited
                if found is None:
                    make(folder / name)
                    found = find(folder / name)
                if found is None:
                    raise OSError("what was written there reads back damaged")
                return found
        except OSError as error:
            refusals.append(error.strerror or str(error))
            log.warning("%s: cannot hold the cache (%s)", folder, refusals[-1])
    raise damaged(
        faceset.path,
        f"its {what} cannot be written ({', '.join(refusals)})",
        "make room there, or set SWAPPER_HOME to a folder with room",
    )


def cache_folders(faceset: Faceset) -> list[Path]:
    """Return the cache folders of a faceset: in it, else in ``SWAPPER_HOME``."""
    home = os.environ.get("SWAPPER_HOME")
    base = Path(home) / "cache" if home else Path.home() / ".cache" / "swapper"
    place = hashlib.sha256(str(faceset.path.resolve()).encode()).hexdigest()[:16]
    return [faceset.path / "cache", base / f"{faceset.card.identity}-{place}"]


def array_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the first bytes of a ``.npy`` file."""
    stream, descr = io.BytesIO(), np.lib.format.dtype_to_descr(dtype)
    description = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _find(path: Path, shape: tuple[int, int, int, int]) -> FaceCache | None:
    """Open the cache at `path`; None if it is missing or not valid."""
    header = array_header(np.dtype(np.uint8), shape)
    face_bytes = shape[1] * shape[2] * shape[3]
    expected = len(header) + shape[0] * (face_bytes + 4)
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size != expected:
            return None
        with path.open("rb") as stream:
            if stream.read(len(header)) != header:
                return None
            stream.seek(expected - 4 * shape[0])
            sums = np.frombuffer(stream.read(4 * shape[0]), "<u4")
        cache = FaceCache(path, shape, len(header))
        # All of them would mean reading gigabytes at every start.
        for index in np.unique(np.linspace(0, shape[0] - 1, _CHECKED).astype(np.int64)):
            if zlib.crc32(cache.array[index]) != sums[index]:
                log.warning("%s: damaged, rebuilding", path)
                return None
    except OSError:
        return None
    return cache


def _make(
    path: Path,
    faceset: Faceset,
    shape: tuple[int, int, int, int],
    progress: Callable[[int, int], object],
) -> None:
    for old in path.parent.glob(f"faces_{shape[1]}_*.npy"):
        old.unlink(missing_ok=True)
    for leftover in path.parent.glob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)
    log.info("%s: making the cache of %d faces at %d px", faceset.path, shape[0], shape[1])
    with replacing(path) as stream:
        stream.write(array_header(np.dtype(np.uint8), shape))
        sums = []
        for done, face in enumerate(_faces(faceset, shape[1]), start=1):
            data = face.tobytes()
            stream.write(data)
            sums.append(zlib.crc32(data))
            progress(done, shape[0])
        stream.write(np.array(sums, "<u4").tobytes())


@contextmanager
def single_process(folder: Path) -> Iterator[None]:
    """Lock `folder` so that only one process builds a cache; others wait and then open it."""
    with (folder / ".lock").open("w") as stream:
        # On a file system without locks each builds its own, and the last one stays.
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _faces(faceset: Faceset, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield each face, (size, size, 5); decoding runs ahead by at most `_AT_ONCE`."""
    records = faceset.records
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for first in range(0, len(records), _AT_ONCE):
            batch = records[first : first + _AT_ONCE]
            yield from pool.map(lambda record: _face(faceset, record, size), batch)


def _face(faceset: Faceset, record: FaceRecord, size: int) -> NDArray[np.uint8]:
    image = faceset.image(record)
    stored = image.shape[0]
    if stored != size:
        interpolation = cv2.INTER_AREA if size < stored else cv2.INTER_CUBIC
        image = cv2.resize(image, (size, size), interpolation=interpolation).astype(
            np.uint8, copy=False
        )
    landmarks = transform_points(record.aligned_from_frame, record.landmarks)
    # Pixel centres are at integers: scaling is about the picture's edge at -0.5.
    landmarks = ((landmarks + 0.5) * (size / stored) - 0.5).astype(np.float32)
    masks = [face_mask(landmarks, size), eyes_mouth_mask(landmarks, size)]
    return np.dstack([image, *masks])
