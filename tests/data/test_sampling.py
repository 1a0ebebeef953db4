from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from swapper.data.sampling import face_indices, generator, rank_first


def test_a_generator_is_a_function_of_its_key() -> None:
    keys = list(itertools.product((0, 1, 2**40), (0, 1, 5), (0, 1), (0, 1, 63), (0, 1)))
    first = [tuple(generator(*key).integers(2**63, size=2).tolist()) for key in keys]
    assert len(set(first)) == len(keys)
    again = [tuple(generator(*key).integers(2**63, size=2).tolist()) for key in reversed(keys)]
    assert again[::-1] == first


def test_neighbouring_generators_do_not_overlap() -> None:
    draws = [generator(0, step, 0, sample).integers(2**63, size=500)
             for step in range(3) for sample in range(3)]  # fmt: skip
    assert len(np.unique(np.concatenate(draws))) == 9 * 500


def test_the_same_in_another_process() -> None:
    code = (
        "from swapper.data.sampling import *;"
        "print(generator(3, 4, 1, 2).random(), face_indices(3, 1, 5, 9, 7).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    want = f"{generator(3, 4, 1, 2).random()} {face_indices(3, 1, 5, 9, 7).tolist()}"
    assert done.stdout.strip() == want


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_every_face_once_an_epoch(n: int) -> None:
    drawn = face_indices(5, 2, 0, 6 * n, n).reshape(6, n)
    assert (np.sort(drawn, axis=1) == np.arange(n)).all()
    if n == 50:
        assert len({tuple(row) for row in drawn.tolist()}) == 6
        assert face_indices(5, 1, 0, n, n).tolist() != drawn[0].tolist()
        assert face_indices(6, 2, 0, n, n).tolist() != drawn[0].tolist()


def test_any_window_of_the_same_sequence() -> None:
    whole = face_indices(1, 0, 0, 100, 9)
    for first, count in ((0, 4), (7, 5), (8, 1), (9, 30), (99, 1), (50, 0)):
        part = face_indices(1, 0, first, count, 9)
        assert part.tolist() == whole[first : first + count].tolist()
        assert part.dtype == np.int64


def test_ranks_share_an_epoch_out() -> None:
    world, count, n = 3, 2, 12
    seen = [
        face_indices(0, 0, rank_first(step, rank, world, count), count, n)
        for step in range(2)
        for rank in range(world)
    ]
    assert sorted(np.concatenate(seen).tolist()) == list(range(n))


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="negative"):
        generator(0, -1, 0, 0)
    with pytest.raises(ValueError, match="n >= 1"):
        face_indices(0, 0, 0, 1, 0)
