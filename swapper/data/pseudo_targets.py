"""Pseudo-targets: supervision for swaps, made from the identity's own faces.

Training with a decoder per identity has no target for the *swap*. A pseudo-target is the identity's
nearest face, warped so that its points deviate from its neutral as the performer's do. Its recipe
(`swapper.data.pseudo_recipes`) takes about 21 kB a face; recipes are computed once for each ordered
pair of identities, stored with the performer's faceset, and rendered on the device.

Source: effect on swaps in docs/affect.md, development in docs/LOG.md.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.data.cache import FaceCache, array_header, open_or_make
from swapper.data.pseudo_bases import Person
from swapper.data.pseudo_detail import DetailReader
from swapper.data.pseudo_recipes import REASONS, ROW, RecipeMaker, Table, WarpLimits
from swapper.faces.shape import Shapes
from swapper.facesets.faceset import Faceset
from swapper.files import PARTIAL, replacing
from swapper.options.fields import check_range

log = logging.getLogger(__name__)

_VERSION: Final = 5
"""To be raised when recipes change: old tables are then rebuilt."""
_PART: Final = 256
_MAX_TABLES: Final = 4
_MAX_MAGNITUDE: Final = 4.0
_EYE_LINE: Final = 0.42
"""Height between brows and forehead above, cheeks and chin below, as a share of the crop's side."""


class PseudoTargets:
    """Settings of pseudo-targets; the config group ``pseudo``.

    Args:
        weight: Of the swap's reconstruction loss, relative to that of own faces.
        faces: Share of each identity's faces in a batch that are swapped, in (0, 1].
        resolution: Largest side, in pixels, at which the loss is computed; larger pictures are
            downsampled to it, so finer detail is learnt from own faces only.
        move: Largest displacement, in eye distances, at which the confidence is halved.
        turn: Degrees between its pose and the performer's at which the confidence is halved.
        pose_share: Share of a difference in pose that the warp corrects, in [0, 1].
        most_turn: Largest correction in degrees.
        least_confidence: Below this there is no pseudo-target.
        detail: Whether movement of the brows and shading that the landmarks miss are transferred
            as well, such as frowns; see `swapper.data.pseudo_detail`.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        faces: float = 1.0,
        resolution: int = 64,
        move: float = 0.3,
        turn: float = 20.0,
        pose_share: float = 1.0,
        most_turn: float = 12.0,
        least_confidence: float = 0.1,
        detail: bool = True,
    ) -> None:
        check_range(0, 100, weight=weight)
        check_range(0.01, 1, faces=faces)
        check_range(8, 4096, resolution=resolution)
        check_range(0.01, 10, move=move)
        check_range(0.1, 180, turn=turn)
        check_range(0, 1, pose_share=pose_share)
        check_range(0, 45, most_turn=most_turn)
        check_range(0.001, 1, least_confidence=least_confidence)
        self.weight, self.faces, self.resolution = weight, faces, resolution
        self.detail = detail
        self.limits = WarpLimits(move, turn, pose_share, most_turn, least_confidence)

    def prepare(
        self,
        facesets: Sequence[Faceset],
        caches: Sequence[FaceCache],
        usable: Sequence[NDArray[np.int64]],
        shapes: Sequence[Shapes],
        rests: Sequence[NDArray[np.float64]],
        progress: Callable[[str, int, int], object] = lambda *_: None,
    ) -> dict[tuple[int, int], Table]:
        """Return the recipes of every ordered pair (performer, identity); compute missing ones.

        Args:
            facesets: Of each identity, all of one coverage.
            caches: Their faces.
            usable: Training rows of each; others are neither base nor donor.
            shapes: Of each, in the order of its records.
            rests: (P, 3) of each, see `swapper.affect.neutral`.
            progress: Called with a pair's name, and the number of faces done and in total.

        Raises:
            FacesetError: There is no room for them.
        """
        people = _people(facesets, caches, usable, shapes, rests)
        details = [
            DetailReader(person, cache.array, faceset.card.coverage) if self.detail else None
            for person, cache, faceset in zip(people, caches, facesets, strict=True)
        ]
        key = self._key(facesets, usable, shapes)
        tables = {}
        for performer, performer_faceset in enumerate(facesets):
            for identity, identity_faceset in enumerate(facesets):
                if performer == identity:
                    continue
                title = f"{performer_faceset.card.identity} as {identity_faceset.card.identity}"
                digest, count = _digest(key, performer, identity), len(performer_faceset)
                maker = RecipeMaker(
                    people[performer],
                    people[identity],
                    details[performer],
                    details[identity],
                    performer_faceset.card.size,
                    performer_faceset.card.coverage,
                    self.limits,
                )
                table = open_or_make(
                    performer_faceset,
                    f"pseudo_{identity_faceset.card.identity}_{digest}.npy",
                    f"pseudo-targets ({count * ROW.itemsize / 2**20:.0f} MiB)",
                    partial(_find, count=count, bases=len(identity_faceset)),
                    partial(_make, count=count, maker=maker, progress=partial(progress, title)),
                )
                tables[performer, identity] = table
                log.info("%s: %s", title, describe_pseudo_targets(table[usable[performer]]))
        return tables

    def _key(
        self,
        facesets: Sequence[Faceset],
        usable: Sequence[NDArray[np.int64]],
        shapes: Sequence[Shapes],
    ) -> str:
        """Return a key of everything that recipes depend on; neutrals depend on all people."""
        parts = [f"{_VERSION} {self.limits} {self.detail} {shapes[0].front.shape[1]}"]
        for faceset, rows in zip(facesets, usable, strict=True):
            parts.append(f"{faceset.content_hash} {_digest(rows.astype('<i8').tobytes())}")
        return "\n".join(parts)


def _people(
    facesets: Sequence[Faceset],
    caches: Sequence[FaceCache],
    usable: Sequence[NDArray[np.int64]],
    shapes: Sequence[Shapes],
    rests: Sequence[NDArray[np.float64]],
) -> list[Person]:
    """Gather what recipes need of each identity; arguments as of `PseudoTargets.prepare`."""
    return [
        Person(
            shapes=shape,
            rest=rest,
            usable=rows,
            sharpness=np.array([each.sharpness for each in faceset.records]),
            light=light,
            shading=shading,
        )
        for faceset, (light, shading), rows, shape, rest in zip(
            facesets, map(_measure_light, caches), usable, shapes, rests, strict=True
        )
    ]


def describe_pseudo_targets(table: Table) -> str:
    """Return one line: how many faces have a pseudo-target, and why the others have none."""
    has_target = table["base"] >= 0
    words = f"{int(has_target.sum())} of {len(table)} faces have a pseudo-target"
    if has_target.any():
        words += f" (confidence {table['confidence'][has_target].mean():.2f})"
    counts = {
        text: int((table["reason"][~has_target] == reason).sum())
        for reason, text in REASONS.items()
    }
    counted = [f"{count} {text}" for text, count in counts.items() if count]
    return f"{words}; of the others {', '.join(counted)}" if counted else words


def _find(path: Path, count: int, bases: int) -> Table | None:
    """Open the table of `count` faces at `path`; None if it is missing or not valid."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if table.dtype != ROW or table.shape != (count,) or not _sound(table, bases):
        log.warning("%s: damaged, rebuilding", path)
        return None
    plain: Table = table.view(np.ndarray)
    return plain


def _sound(table: Table, bases: int) -> bool:
    donors = np.where(table["own_mouth"] > 0, bases, len(table))
    numbers = ("confidence", "donor_from_place", "gain", "move", "lips", "flow")
    return bool(
        (table["base"] >= -1).all()
        and (table["base"] < bases).all()
        and (table["donor"] >= -1).all()
        and (table["donor"] < donors).all()
        # Comparisons that NaN does not pass.
        and all((np.abs(table[name]) <= _MAX_MAGNITUDE).all() for name in numbers)
    )


def _make(
    path: Path, count: int, maker: RecipeMaker, progress: Callable[[int, int], object]
) -> None:
    """Compute the table in parts, so that an interrupted run can be resumed."""
    firsts = range(0, count, _PART)

    def part(first: int) -> Path:
        place = path.with_name(f".{path.stem}.{first:08d}{PARTIAL}")
        last = min(first + _PART, count)
        if not _is_whole(place, last - first):
            rows = maker.make(np.arange(first, last))
            with replacing(place, durable=False) as stream:
                stream.write(rows.tobytes())
        return place

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        places = []
        for done, place in enumerate(pool.map(part, firsts), start=1):
            places.append(place)
            progress(min(done * _PART, count), count)
    with replacing(path) as stream:
        stream.write(array_header(ROW, (count,)))
        for place in places:
            stream.write(place.read_bytes())
    for place in places:
        place.unlink(missing_ok=True)
    # A few of this pair are kept for other settings.
    tables = path.parent.glob(f"{path.stem.rpartition('_')[0]}_*.npy")
    for old in sorted(tables, key=lambda each: -each.stat().st_mtime)[_MAX_TABLES:]:
        old.unlink(missing_ok=True)


def _is_whole(place: Path, count: int) -> bool:
    return (
        not place.is_symlink()
        and place.is_file()
        and (place.stat().st_size == count * ROW.itemsize)
    )


def _measure_light(cache: FaceCache) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean colour (N, 3) of each face inside its mask, on [0, 1], and its shading (N, 2)."""
    light, shading = np.empty((len(cache), 3)), np.empty((len(cache), 2))
    ramp = np.arange(2, cache.size, 4) / cache.size
    left, upper = ramp[None, :] < 0.5, ramp[:, None] < _EYE_LINE
    for row, face in enumerate(cache.array):
        sampled = face[2::4, 2::4]
        inside = sampled[..., 3] > 127
        if not inside.any():
            inside = np.ones_like(inside)
        light[row] = sampled[inside, :3].mean(axis=0) / 255
        bright = sampled[..., :3].mean(axis=2)
        for column, half in enumerate((left, upper)):
            one, other = (_mean(bright, inside & each) for each in (half, ~half))
            shading[row, column] = np.log(one / other)
    return light, shading


def _mean(bright: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    """Mean brightness of a part of a face, at least one grey level."""
    return max(float(bright[where].mean()), 1.0) if where.any() else 1.0


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()[:16]
