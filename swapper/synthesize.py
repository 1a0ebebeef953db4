"""Render takes of synthetic actors to clips with their ground truth."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.errors import UsageError
from swapper.files import write_atomically
from swapper.head_renderer.identity import Identity, sample_identity
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.media.clip_writer import ClipWriter
from swapper.media.image_strip import draw_strip
from swapper.media.images import IMAGE_SUFFIXES, write_image
from swapper.options.groups import StageOptions
from swapper.options.verbs import SynthesizeOptions
from swapper.progress import progress
from swapper.synth.actor import Actor
from swapper.synth.emotions import BASIC, EMOTION_BY_NAME
from swapper.synth.performance import play
from swapper.synth.scenarios import Casting, Take, build_casting
from swapper.synth.timeline import parse_timeline, random_timeline
from swapper.synth.truth import OPENFACE_COLUMNS, TRUTH_COLUMNS, csv_table, openface_row, truth_row

ROLES: Final = ("performer", "identity", "held_out", "truth")
"""Folders of a scenario, as the fields of `Casting`."""
SIZES: Final = (32, 2048)
SHEET_SEEDS: Final = (47, 15, 19, 49, 31, 9, 44, 12)
_SHEET_YAWS: Final = (0.0, -24.0, 14.0, 0.0, -12.0, 8.0, 30.0, -16.0)
"""Head yaw of each column in degrees."""


@dataclass(frozen=True)
class ClipFiles:
    """The files of one take.

    Attributes:
        video: H.264, without sound.
        landmarks: CSV in OpenFace 2's layout.
        truth: CSV with the ground truth of each frame; `synth.truth.read_truth` reads it.
        masks: Face masks, 8 bits, lossless; `media.clip_writer.read_masks` reads them.
        record: JSON with everything needed to render it again; written last, so if it exists, all
            files do.
    """

    video: Path
    landmarks: Path
    truth: Path
    masks: Path
    record: Path

    @classmethod
    def at(cls, folder: Path, name: str) -> ClipFiles:
        """Return the files of a take called `name`."""
        suffixes = (".mp4", ".openface.csv", ".truth.csv", ".masks.mkv", ".json")
        return cls(*(folder / f"{name}{suffix}" for suffix in suffixes))

    def is_complete(self) -> bool:
        """Return whether all files exist."""
        return all(path.is_file() for path in vars(self).values())


@lru_cache(maxsize=4)
def _actor(identity: Identity) -> Actor:
    return Actor(identity)


def render_take(
    take: Take,
    folder: str | Path,
    size: int = 256,
    *,
    workers: int = 2,
    supersample: int = 2,
    make_actor: Callable[[Identity], Actor] = _actor,
) -> ClipFiles:
    """Render one take, unless its files exist and would be identical.

    Args:
        take: Take to render.
        folder: Output folder; created if missing.
        size: Side of the frame in pixels, 32 to 2048, even.
        workers: Render threads, 1 to 256.
        supersample: Samples per pixel and side, 1 to 4.
        make_actor: Returns the actor of an identity; rendered from several threads at once.

    Returns:
        Its complete files; an interrupted run leaves no partial file.

    Raises:
        UsageError: If an argument is out of its range.
        MediaError: If the files cannot be written.
    """
    _check(take.name, size, workers)
    files = ClipFiles.at(Path(folder), take.name)
    record = _record(take, size, supersample)
    if files.is_complete() and files.record.read_bytes() == record:
        return files
    renderer = make_actor(take.identity)
    files.record.unlink(missing_ok=True)
    performance, stage = take.performance, take.stage
    landmarks: list[list[str]] = []
    truth: list[list[str]] = []
    with ExitStack() as stack:
        square = (size, size)
        video = stack.enter_context(
            ClipWriter(files.video, square, performance.fps, crf=int(stage.film.crf))
        )
        masks = stack.enter_context(ClipWriter(files.masks, square, performance.fps))
        bar = stack.enter_context(progress(len(performance), f"film {take.name}", "frame"))
        for i, rendered in enumerate(_rendered_frames(renderer, take, size, workers, supersample)):
            video.write(rendered.image)
            masks.write(np.rint(rendered.face_mask * 255).astype(np.uint8))
            state = performance.head_state(i)
            landmarks.append(openface_row(i, performance.fps, state, rendered, stage, size))
            truth.append(truth_row(i, performance, rendered))
            bar.update(1)
    write_atomically(files.landmarks, csv_table(OPENFACE_COLUMNS, landmarks))
    write_atomically(files.truth, csv_table(TRUTH_COLUMNS, truth))
    write_atomically(files.record, record)
    return files


def _check(name: str, size: int, workers: int) -> None:
    if not name or name.startswith(".") or Path(name).name != name:
        raise UsageError(f"name={name!r}: must be a plain name for files, without folders")
    least, most = SIZES
    if not least <= size <= most or size % 2:
        raise UsageError(f"size={size}: must be an even number from {least} to {most}")
    if not 1 <= workers <= 256:
        raise UsageError(f"workers={workers}: must be from 1 to 256")


def _rendered_frames(
    renderer: Actor, take: Take, size: int, workers: int, supersample: int
) -> Iterator[RenderedFrame]:
    """Yield frames in order; several threads render up to 2 * workers frames ahead."""
    performance, stage = take.performance, take.stage

    def draw(index: int) -> RenderedFrame:
        return renderer.render(
            performance.head_state(index),
            stage,
            size,
            before=performance.head_state(index - 1) if index else None,
            index=index,
            supersample=supersample,
        )

    waiting: deque[Future[RenderedFrame]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for index in range(len(performance)):
                waiting.append(pool.submit(draw, index))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _record(take: Take, size: int, supersample: int) -> bytes:
    record = {
        "swapper": __version__,
        "drawn_by": renderer_hash(),
        "size": size,
        "supersample": supersample,
        **take.to_dict(),
        "events": [vars(event) for event in take.performance.events],
    }
    return json.dumps(record, indent=2).encode()


@cache
def renderer_hash() -> str:
    """Return the sha256 of the rendering code; clips of other code are rendered again."""
    digest = hashlib.sha256()
    sources = [
        source
        for room in ("swapper.head_renderer", "swapper.synth")
        for source in importlib.resources.files(room).iterdir()
        if source.name.endswith(".py")
    ]
    for source in sorted(sources, key=lambda source: source.name):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def render_casting(
    casting: Casting, folder: str | Path, size: int = 256, **settings: Any
) -> dict[str, tuple[ClipFiles, ...]]:
    """Render a scenario into ``performer/``, ``identity/``, ``held_out/`` and ``truth/``.

    `size` and `settings` are those of `render_take`. Returns the files by role, in the order of
    the casting.
    """
    return {
        role: tuple(
            render_take(take, Path(folder) / role, size, **settings)
            for take in getattr(casting, role)
        )
        for role in ROLES
    }


def draw_actor_sheet(
    path: str | Path, seeds: tuple[int, ...] = SHEET_SEEDS, tile: int = 176, workers: int = 2
) -> None:
    """Write a picture with one row per actor (a seed each) and one column per basic emotion.

    Its suffix names the format; tiles are `tile` pixels wide and rendered by `workers` threads.

    Raises:
        UsageError: If the suffix is not an image suffix.
        MediaError: If it cannot be written.
    """
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"sheet={path}: must end in one of {', '.join(IMAGE_SUFFIXES)}")
    states = [
        HeadState(units=EMOTION_BY_NAME[name].variants[0].intensities(), pose=(yaw, 0.0, 0.0))
        for name, yaw in zip(BASIC, _SHEET_YAWS, strict=True)
    ]

    def row(seed: int) -> tuple[str, list[NDArray[np.uint8]]]:
        actor = Actor(sample_identity(seed))
        stage = dataclasses.replace(sample_stage(seed, FilmStock()), framing=0.8, camera_height=0.0)
        return "", [actor.render(state, stage, tile).image for state in states]

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(row, seeds))
    write_image(path, draw_strip(rows, BASIC, tile))


def synthesize(options: SynthesizeOptions) -> None:
    """Run ``swapper synthesize``: render a sheet, one clip, or all clips of a scenario.

    Raises:
        UsageError: No output is given, or options exclude each other.
    """
    if not options.output and not options.sheet:
        raise UsageError("output is missing: pass output=FOLDER for clips, or sheet=FILE.png")
    if options.sheet:
        draw_actor_sheet(options.sheet, workers=options.workers)
    if not options.output:
        return
    changes = _set_fields(options.stage)
    if options.scenario == "none":
        render_take(_one_take(options, changes), options.output, options.size,
                  workers=options.workers)  # fmt: skip
        return
    for name, value in (("score", options.score), ("stage", changes)):
        if value:
            raise UsageError(f"{name} does not go with scenario={options.scenario}: leave one out")
    casting = build_casting(
        options.scenario, sample_identity(options.performer), sample_identity(options.identity),
        options.seed, options.seconds, fps=options.fps,
    )  # fmt: skip
    render_casting(casting, options.output, options.size, workers=options.workers)


def _one_take(options: SynthesizeOptions, changes: dict[str, Any]) -> Take:
    score = (
        parse_timeline(options.score)
        if options.score
        else random_timeline(options.seed, options.seconds)
    )
    performance = play(score, options.fps, options.seed)
    sampled = sample_stage(options.seed).to_dict()
    changes["film"] = sampled["film"] | changes.get("film", {})
    stage = Stage.from_dict(sampled | changes)
    return Take(options.name, sample_identity(options.identity), performance, stage)


def _set_fields(options: StageOptions) -> dict[str, Any]:
    """Return the stage fields that were set on the command line."""
    fields = {name: value for name, value in vars(options).items() if value is not None}
    film = {name: value for name, value in vars(fields.pop("film")).items() if value is not None}
    return fields | ({"film": film} if film else {})
