"""Look through facesets and take faces out of them: ``swapper faceset``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.data.face_table import COLUMNS, Column, face_columns, names_in, select_faces
from swapper.errors import FacesetError, UsageError
from swapper.facesets.affect_store import (
    annotated_by,
    read_readings,
    read_stored,
    write_stored,
)
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_errors import damaged
from swapper.facesets.faceset_metadata import check_extends
from swapper.facesets.removal import remove_faces, undo_removal
from swapper.facesets.writer import FacesetWriter
from swapper.media.image_strip import draw_strip
from swapper.media.images import write_image
from swapper.options.verbs import FacesetOptions
from swapper.progress import progress
from swapper.types import Readings

_TILES: Final = 8
_ROWS: Final = 6
_TILE: Final = 112
_PAPER: Final = 250


def curate(options: FacesetOptions) -> int:
    """Run ``options.action`` on each faceset and print what it found.

    Returns:
        Exit status: 0, or 1 if ``verify`` found damaged pictures.

    Raises:
        UsageError: An option is missing, or ``where`` is no expression over the columns.
        FacesetError: In one line; nothing was removed from that faceset.
    """
    paths = [options.facesets] if isinstance(options.facesets, str) else list(options.facesets)
    if not paths:
        raise UsageError("facesets is empty: pass facesets=[facesets/NAME,...]")
    if options.action == "filter" and not options.where:
        raise UsageError("where is missing: pass where='sharpness < .02 or duplicate > 0'")
    if options.action == "sort" and names_in(options.by) != [options.by]:
        raise UsageError(f"by={options.by}: choose from {', '.join(COLUMNS)}, au1, au2 ...")
    if options.action == "split" and not (options.where and options.output):
        raise UsageError("where or output is missing: pass where='yaw > 20' output=facesets/NEW")
    if options.action == "merge" and not options.output:
        raise UsageError("output is missing: pass output=facesets/NEW")
    actions = {
        "stats": _stats, "filter": _filter, "sort": _sort, "merge": _copy, "split": _copy,
        "verify": _verify, "undo": _undo,
    }  # fmt: skip
    opened = [Faceset.open(path) for path in dict.fromkeys(Path(str(path)) for path in paths)]
    if options.action == "merge":
        for each in opened[1:]:
            check_extends(opened[0].path, opened[0].card, each.card)
    return max(actions[options.action](each, options) for each in opened)


def _stats(faceset: Faceset, options: FacesetOptions) -> int:
    columns = face_columns(faceset, _readings(faceset, options))
    print(f"{faceset.path}: {len(faceset)} faces of {len(faceset.card.sources)} files")
    if not len(faceset):
        return 0
    print(f"  {'':10} {'least':>9} {'5 %':>9} {'median':>9} {'95 %':>9} {'most':>9}")
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and name != "frame":
            cells = np.quantile(values, (0, 0.05, 0.5, 0.95, 1))
            print(f"  {name:10} " + " ".join(f"{cell:9.3g}" for cell in cells))
    for name in ("emotion", "file"):
        if name in columns:
            kinds, counts = np.unique(np.array(columns[name]), return_counts=True)
            order = np.argsort(-counts)
            print(
                f"  {name}: "
                + ", ".join(f"{kinds[k]} {counts[k] / len(faceset):.1%}" for k in order)
            )
    return 0


def _filter(faceset: Faceset, options: FacesetOptions) -> int:
    columns = face_columns(
        faceset, _readings(faceset, options), [*names_in(options.where), "file", "frame"]
    )
    rows = select_faces(columns, options.where)
    print(f"{faceset.path}: {len(rows)} of {len(faceset)} faces: {options.where}")
    _draw(faceset, rows, columns, names_in(options.where)[:1], options)
    if not len(rows):
        return 0
    if not options.apply:
        print(
            "  nothing was removed; apply=true removes them, and swapper faceset undo brings back"
        )
        return 0
    folder = remove_faces(faceset, [faceset.records[row] for row in rows])
    print(f"  removed; their pictures are in {folder}")
    return 0


def _copy(faceset: Faceset, options: FacesetOptions) -> int:
    """Copy all faces, or those that were asked for, with their readings."""
    records = faceset.records
    if options.where:
        names = [*names_in(options.where), "frame"]
        columns = face_columns(faceset, _readings(faceset, options), names)
        records = [records[row] for row in select_faces(columns, options.where)]
    output = Path(options.output)
    card = dataclasses.replace(faceset.card, sources=())
    with FacesetWriter(output, card) as writer:
        count = writer.copy(faceset, records)
    pictures = {record.id: record.sha256 for record in Faceset.open(output).records}
    for name in annotated_by(faceset.path):
        stored = read_stored(faceset.path, name)
        there = read_stored(output, name)
        if stored is None:
            continue
        if there is not None and not there.goes_with(stored):
            print(f"{faceset.path}: readings by {name} are of other weights and were not copied")
            continue
        pairs = zip(stored.ids, stored.pictures, strict=True)
        rows = [row for row, (face, picture) in enumerate(pairs) if pictures.get(face) == picture]
        if rows:
            write_stored(output, name, [stored.take(np.array(rows))], add=True)
    print(f"{faceset.path}: {count} of {len(faceset)} faces copied to {output}")
    return 0


def _sort(faceset: Faceset, options: FacesetOptions) -> int:
    columns = face_columns(faceset, _readings(faceset, options), [options.by, "file", "frame"])
    if options.by not in columns:
        raise UsageError(
            f"by={options.by}: no estimator has read it; run swapper annotate "
            f"facesets=[{faceset.path}] with one that does"
        )
    order = np.argsort(np.array(columns[options.by]), kind="stable")
    print(f"{faceset.path}: by {options.by}")
    for row in order:
        place = f"{columns['file'][row]} frame {int(columns['frame'][row])}"
        print(f"  {_text(columns[options.by][row]):>10}  {faceset.records[row].image}  {place}")
    spread = order[np.linspace(0, len(order) - 1, min(len(order), _TILES * _ROWS)).astype(int)]
    _draw(faceset, spread, columns, [options.by], options)
    return 0


def _verify(faceset: Faceset, _: FacesetOptions) -> int:
    broken = []
    bar = progress(len(faceset), f"verify {faceset.card.identity}", "face")
    for record in faceset.records:
        try:
            faceset.image(record)
        except FacesetError as error:
            broken.append(str(error))
        bar.update(1)
    bar.close()
    print(
        f"{faceset.path}: {len(faceset) - len(broken)} of {len(faceset)} pictures are intact, "
        f"{faceset.num_deleted} were deleted, {len(faceset.unindexed)} are not in the index"
    )
    for line in broken:
        print(f"  {line}")
    return 1 if broken else 0


def _undo(faceset: Faceset, _: FacesetOptions) -> int:
    count = undo_removal(faceset)
    print(
        f"{faceset.path}: {count} faces brought back" if count else f"{faceset.path}: none to undo"
    )
    return 0


def _readings(faceset: Faceset, options: FacesetOptions) -> Readings | None:
    """Readings of the estimator that was named, or of the only one."""
    names = annotated_by(faceset.path)
    if not options.readings:
        if len(names) != 1:
            return None
        try:
            return read_readings(faceset, names[0])
        except FacesetError:  # of earlier pictures; nobody asked for them
            return None
    if options.readings not in names:
        cure = f"choose from {', '.join(names)}" if names else "run swapper annotate"
        raise damaged(faceset.path, f"readings={options.readings}: not there", cure)
    return read_readings(faceset, options.readings)


def _draw(
    faceset: Faceset,
    rows: NDArray[np.int64],
    columns: Mapping[str, Column],
    named: list[str],
    options: FacesetOptions,
) -> None:
    """Draw at most a page of faces, each row with the value of its first face."""
    if not options.sheet or not len(rows):
        return
    page = rows[: _TILES * _ROWS]
    blank = np.full((_TILE, _TILE, 3), _PAPER, np.uint8)
    lines = []
    for first in range(0, len(page), _TILES):
        part = page[first : first + _TILES]
        pictures = [faceset.image(faceset.records[row]) for row in part]
        label = " ".join(
            f"{name} {_text(columns[name][part[0]])}" for name in named if name in columns
        )
        lines.append((label, pictures + [blank] * (_TILES - len(part))))
    path = Path(options.sheet)
    path = path.with_stem(f"{path.stem}-{faceset.card.identity}")
    write_image(path, draw_strip(lines, [""] * _TILES, _TILE))
    print(f"  {path}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
