"""Rendered faces of random actors with ground truth: training data of the affect networks.

A set is a folder of shards. Each shard is a function of its split and number alone and is written
atomically, so that rendering can be resumed, in any number of processes.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from swapper.faces.crop import crop_face
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.head_renderer.units import MIDLINE, NUM_UNITS, UNITS
from swapper.synth.actor import Actor
from swapper.synth.anatomy import feasible
from swapper.synth.emotions import BASIC, NUM_EMOTIONS
from swapper.synth.performance import play
from swapper.synth.timeline import random_timeline

FIRST_SEEDS: Final = {"actors": 1_000_000, "judge": 2_000_000, "test": 3_000_000}
"""First seed of each split's identities, stages and timelines; splits share none."""
SIDE: Final = 112
"""Side of a stored crop: 1.7 millimetres a pixel, slightly finer than the networks' input."""
PLAYED, MIXED = 15, 9
"""Frames of an actor: from a performance, and with random units."""
SHOTS: Final = PLAYED + MIXED
ACTORS_A_SHARD: Final = 10
_DRAWN_AT: Final = 192
_SECONDS: Final = 30.0


@dataclass(frozen=True, eq=False)
class Faces:
    """N aligned crops with ground truth.

    Attributes:
        pictures: (N, 112, 112, 3) uint8 RGB, coverage "face".
        units: (N, 2, 19) float32, observed; rows are the person's left and right.
        emotion: (N, 11) float32 weights of `EMOTIONS`; zeros where no emotion was played.
        circumplex: (N, 2) float32 valence and arousal; NaN where no emotion was played.
    """

    pictures: NDArray[np.uint8]
    units: NDArray[np.float32]
    emotion: NDArray[np.float32]
    circumplex: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def classes(self) -> NDArray[np.float32]:
        """(N, 8) weights of `BASIC`; they sum to less than 1 for other emotions."""
        return self.emotion[:, : len(BASIC)]


def draw(folder: Path, split: str, images: int, workers: int) -> None:
    """Render the missing shards of a set.

    Args:
        folder: Parent of the splits' folders.
        split: One of `FIRST_SEEDS`.
        images: Least number of images.
        workers: Processes.
    """
    paths = _shards(folder, split, images)
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    # Spawn: forked processes inherit locks of threads that they do not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(_draw_shard, paths[number], split, number) for number in missing]
        for job in tqdm(as_completed(jobs), f"draw {split}", len(jobs), unit="shard"):
            job.result()


def read(folder: Path, split: str, images: int) -> Faces:
    """Read the set that `draw` wrote.

    Raises:
        FileNotFoundError: A shard is missing.
    """
    parts = []
    for path in _shards(folder, split, images):
        with np.load(path, allow_pickle=False) as shard:
            parts.append({name: shard[name] for name in shard.files})
    return Faces(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _shards(folder: Path, split: str, images: int) -> list[Path]:
    count = -(-images // (ACTORS_A_SHARD * SHOTS))
    return [folder / split / f"{number:05d}.npz" for number in range(count)]


def _draw_shard(path: Path, split: str, number: int) -> None:
    first = FIRST_SEEDS[split] + number * ACTORS_A_SHARD
    actors = [draw_actor(seed) for seed in range(first, first + ACTORS_A_SHARD)]
    names = [field.name for field in dataclasses.fields(Faces)]
    arrays = {name: np.concatenate([getattr(actor, name) for actor in actors]) for name in names}
    temporary = path.with_suffix(".partial.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def draw_actor(seed: int) -> Faces:
    """Render `SHOTS` faces of one actor on two stages."""
    random = np.random.default_rng([seed, 0xAFFEC7])
    actor = Actor(sample_identity(seed), detail=2)
    stages = [_place(random, 2 * seed + offset) for offset in (0, 1)]
    performance = play(random_timeline(seed, _SECONDS, strength=(0.3, 1.0)), seed=seed)
    shots = []
    for index in _balanced(random, performance.emotion):
        before = performance.head_state(index - 1) if index and random.random() < 0.3 else None
        state = performance.head_state(index)
        if random.random() < 0.5:
            before, state = None, _turned(random, state)
        circumplex = (performance.valence[index], performance.arousal[index])
        shots.append((state, before, performance.emotion[index], circumplex))
    nothing = np.zeros(NUM_EMOTIONS, np.float32)
    for _ in range(MIXED):
        state = _turned(random, HeadState(_mixture(random)))
        shots.append((state, None, nothing, (np.nan, np.nan)))
    rendered = []
    for index, (state, before, _, _) in enumerate(shots):
        stage = stages[index % 2]
        shot = actor.render(state, stage, _DRAWN_AT, before=before, index=index, supersample=1)
        crop, _ = crop_face(shot.image, shot.landmarks, SIDE)
        rendered.append((crop, shot.observed_units))
    return Faces(
        pictures=np.stack([picture for picture, _ in rendered]),
        units=np.stack([units for _, units in rendered]),
        emotion=np.stack([emotion for _, _, emotion, _ in shots]),
        circumplex=np.array([circumplex for _, _, _, circumplex in shots], np.float32),
    )


def _place(random: np.random.Generator, seed: int) -> Stage:
    """Sample a stage that shows the face about as large as it is stored, with the whole chin."""
    film = FilmStock(
        grain=float(random.uniform(0, 0.03)),
        softness=float(random.uniform(0, 0.004)),
        shutter=float(random.uniform(0.2, 0.8)),
    )
    framing = float(random.uniform(0.62, 0.78))
    return dataclasses.replace(sample_stage(seed, film), framing=framing)


def _balanced(random: np.random.Generator, emotion: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sample frames with balanced emotions; neutral twice as often."""
    leading = emotion.argmax(axis=1)
    frames = np.bincount(leading, minlength=NUM_EMOTIONS)
    odds = np.where(leading == 0, 2.0, 1.0) / frames[leading]
    return random.choice(len(emotion), PLAYED, replace=False, p=odds / odds.sum())


def _turned(random: np.random.Generator, state: HeadState) -> HeadState:
    """Return the state with another random pose and gaze, up to a three-quarter view."""
    yaw, pitch, roll = random.normal(0, (15, 8, 7)).clip((-38, -20, -20), (38, 20, 20))
    across, up = random.normal(0, (11, 7)).clip(-25, 25)
    return dataclasses.replace(
        state,
        pose=(float(yaw), float(pitch), float(roll)),
        gaze=(float(across), float(up)),
    )


def _mixture(random: np.random.Generator) -> NDArray[np.float32]:
    """Sample (2, 19) random units: a few strong ones, some of them one-sided."""
    active = random.random(NUM_UNITS) < random.uniform(0.05, 0.4)
    strength = np.where(active, random.beta(1.2, 1.2, NUM_UNITS), 0.0)
    units = np.stack([strength, strength])
    for column, unit in enumerate(UNITS):
        if unit not in MIDLINE and random.random() < 0.3:
            units[int(random.integers(2)), column] *= random.random()
    return feasible(units)
