"""Measures of a faceset's pictures: exposure, clipping and near-duplicates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import transform_points
from swapper.faces.masks import face_mask
from swapper.facesets.faceset import Faceset
from swapper.progress import progress
from swapper.types import FaceRecord

_THREADS: Final = 8
_HASH_SIDE: Final = 64
_HASH_WAVES: Final = 16
# Of 255 bits. On two real clips a picture that was darkened, made noisy, scaled and saved as JPEG
# differs in at most 6, the face half a second later in 10 or more in 19 of 20 cases. The next frame
# of a face that hardly moves counts as a duplicate, as it should.
_MAX_BITS: Final = 8
_BLACK, _WHITE = 8, 247


@dataclass(frozen=True, slots=True, eq=False)
class PictureMeasures:
    """Of N pictures.

    Attributes:
        exposure: (N,) median brightness of the face, 0 to 1.
        clipped: (N,) share of the face that is black or white.
        hashes: (N, 32) uint8, see `perceptual_hash`.
    """

    exposure: NDArray[np.float64]
    clipped: NDArray[np.float64]
    hashes: NDArray[np.uint8]


def measure_pictures(faceset: Faceset) -> PictureMeasures:
    """Measure the pictures of a faceset, in the order of its records.

    Raises:
        FacesetError: A picture cannot be used.
    """
    count = len(faceset.records)
    exposure, clipped = np.zeros(count), np.zeros(count)
    hashes = np.zeros((count, _HASH_WAVES**2 // 8), np.uint8)

    def measure(record: FaceRecord) -> tuple[float, float, NDArray[np.uint8]]:
        grey = cv2.cvtColor(faceset.image(record), cv2.COLOR_RGB2GRAY)
        landmarks = transform_points(record.aligned_from_frame, record.landmarks)
        inside = grey[face_mask(landmarks, len(grey)) > 127]
        inside = inside if len(inside) else grey.ravel()
        share = float(np.mean((inside < _BLACK) | (inside > _WHITE)))
        return float(np.median(inside)) / 255, share, perceptual_hash(np.asarray(grey, np.uint8))

    bar = progress(count, f"measure {faceset.card.identity}", "face")
    with ThreadPoolExecutor(_THREADS) as pool:
        for row, found in enumerate(pool.map(measure, faceset.records)):
            exposure[row], clipped[row], hashes[row] = found
            bar.update(1)
    bar.close()
    return PictureMeasures(exposure, clipped, hashes)


def perceptual_hash(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 255 bits, (32,) uint8: which of the lowest 16 x 16 waves of a picture are strong.

    Source: pHash; Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions".
    """
    side = (_HASH_SIDE, _HASH_SIDE)
    small = cv2.resize(grey, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(small)[:_HASH_WAVES, :_HASH_WAVES].ravel()[1:]  # without the mean
    return np.packbits(waves > np.median(waves))


def duplicate_ranks(
    hashes: NDArray[np.uint8], sharpness: NDArray[np.float64], most: int = _MAX_BITS
) -> NDArray[np.int64]:
    """Rank faces among their near-duplicates: 0 for the sharpest, then 1, 2, ...

    Args:
        hashes: (N, 32), see `perceptual_hash`.
        sharpness: (N,).
        most: Bits by which duplicates may differ; fewer than the parts that hashes are split in.
    """
    ranks = np.zeros(len(hashes), np.int64)
    # Two hashes that differ in `most` bits are equal in at least one of `most` + 1 parts.
    parts = np.array_split(np.arange(hashes.shape[1]), most + 1)
    buckets: list[dict[bytes, list[int]]] = [{} for _ in parts]
    members: dict[int, int] = {}
    for row in np.argsort(-sharpness, kind="stable").tolist():
        keys = [hashes[row, part].tobytes() for part in parts]
        near = {
            kept for key, bucket in zip(keys, buckets, strict=True) for kept in bucket.get(key, ())
        }
        kept = np.array(sorted(near), np.int64)
        differing = np.unpackbits(hashes[kept] ^ hashes[row], axis=1).sum(axis=1)
        if len(kept) and differing.min() <= most:
            first = int(kept[differing.argmin()])
            members[first] = members.get(first, 0) + 1
            ranks[row] = members[first]
            continue
        for key, bucket in zip(keys, buckets, strict=True):
            bucket.setdefault(key, []).append(row)
    return ranks
