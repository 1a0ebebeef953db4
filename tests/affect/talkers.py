"""People made by hand who talk: the average face with an anatomy of its own, from turning heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swapper.faces.shape import MEAN_FACE, Shapes
from swapper.types import NUM_LANDMARKS
from tests.faces.heads import in_crops, mesh_of, rotations, seen

Floats = NDArray[np.float64]

LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


@dataclass(frozen=True, eq=False)
class Talker:
    """Footage of one person.

    Attributes:
        points: (N, 68, 2) or (N, 478, 3) as aligned crops have them.
        truth: (P, 3) the same person at rest, turned to the front as the footage is.
    """

    points: Floats
    truth: Floats

    @property
    def shapes(self) -> Shapes:
        return Shapes.of(self.points)


def anatomy(seed: int) -> Floats:
    """(68, 3) a face at rest that is nobody else's: bent smoothly and alike on both sides."""
    random = np.random.default_rng(seed)
    face = MEAN_FACE.copy()
    for axis in (0, 1):
        for _ in range(3):
            along = random.normal(0, 2, 2) @ [np.abs(face[:, 0]), face[:, 1]]
            bend = 0.018 * random.normal() * np.cos(along + random.uniform(0, 6.3))
            face[:, axis] += bend * (np.sign(face[:, 0]) if axis == 0 else 1)
    face[:, 2] += random.normal(0, 0.007, NUM_LANDMARKS)
    return face


def slow(random: np.random.Generator, count: int, over: int) -> Floats:
    """(N,) of unit variance, changing over so many frames."""
    window = np.exp(-np.square(np.arange(-3 * over, 3 * over + 1) / over) / 2)
    noise = random.normal(size=count + len(window) - 1)
    return np.convolve(noise, window / np.sqrt(np.square(window).sum()), "valid")


def with_shut_eyes(face: Floats, rows: NDArray[np.bool_] | None = None) -> Floats:
    """Faces (..., 68, 3) with their eyes shut, all or those of `rows`."""
    shut = face.copy()
    for upper, lower in _LIDS:
        gap = face[..., lower, 1] - face[..., upper, 1]
        gap = gap if rows is None else gap * rows
        shut[..., upper, 1] += 0.75 * gap
        shut[..., lower, 1] -= 0.2 * gap
    return shut


def talking(
    rest: Floats, count: int, seed: int, *, least_opening: float = 0.0, pauses: float = 0.25
) -> Floats:
    """(N, 68, 3) somebody who talks, pauses, smiles, raises the brows and blinks.

    Args:
        rest: (68, 3) the face at rest.
        count: N.
        seed: Of everything drawn.
        least_opening: How far apart the lips are at least.
        pauses: Share of the footage in which the mouth is at rest.
    """
    random = np.random.default_rng(1000 + seed)
    said = slow(random, count, 20)
    speaks = said > np.quantile(said, pauses)
    opening = least_opening + 0.1 * speaks * np.abs(slow(random, count, 2))
    wider = 0.04 * speaks * slow(random, count, 4)
    wider += 0.15 * np.clip(slow(random, count, 30) - 1, 0, 1)
    raised = 0.09 * np.clip(slow(random, count, 25) - 0.6, 0, 1.2)
    faces = np.repeat(rest[None], count, axis=0)
    faces[:, LOWER_LIP, 1] += opening[:, None]
    faces[:, 6:11, 1] += 0.8 * opening[:, None]
    faces[:, [48, 60], 0] -= wider[:, None] / 2
    faces[:, [54, 64], 0] += wider[:, None] / 2
    faces[:, [48, 54, 60, 64], 1] -= wider[:, None].clip(0) / 3
    faces[:, 17:27, 1] -= raised[:, None]
    faces = with_shut_eyes(faces, np.arange(count) % 90 < 4)
    return np.asarray(faces + random.normal(0, 0.002, faces.shape))


def filmed(faces: Floats, rest: Floats, seed: int, *, mesh: bool = False) -> Talker:
    """Footage of faces (N, 68, 3) from heads that turn, and what their rest (68, 3) is there."""
    random = np.random.default_rng(2000 + seed)
    count = len(faces)
    views = np.stack([14 * slow(random, count, 40), 7 * slow(random, count, 40)], axis=1)
    heads = np.concatenate([faces, rest[None]])
    if mesh:
        heads = np.array([mesh_of(each) for each in heads])
    points = in_crops(seen(heads, rotations([*views, (0.0, 0.0)])))
    return Talker(points[:-1], Shapes.of(points).front[-1])


def talker(
    seed: int, count: int = 400, *, mesh: bool = False, least_opening: float = 0.0
) -> Talker:
    """Somebody who talks."""
    rest = anatomy(seed)
    faces = talking(rest, count, seed, least_opening=least_opening)
    return filmed(faces, rest, seed, mesh=mesh)
