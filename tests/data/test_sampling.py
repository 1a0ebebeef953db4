from __future__ import annotations

import itertools

import numpy as np
import pytest

from swapper.data.sampling import FaceSampler, generator


def face_indices(seed: int, identity: int, first: int, count: int, n: int) -> np.ndarray:
    """Faces of draws `first` to `first + count - 1`, in blocks of one."""
    return FaceSampler(seed, identity, n, 1).blocks(first, count)[0][:, 0]


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
        face_indices(0, 0, (step * world + rank) * count, count, n)
        for step in range(2)
        for rank in range(world)
    ]
    assert sorted(np.concatenate(seen).tolist()) == list(range(n))


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="negative"):
        generator(0, -1, 0, 0)
    with pytest.raises(ValueError, match="need faces"):
        face_indices(0, 0, 0, 1, 0)


RATE = np.array([0.5] * 6 + [1.0] * 3 + [3.0, 0.75, 2.25])


def weighted(**changes: object) -> FaceSampler:
    settings: dict[str, object] = {"rate": RATE, "order": np.arange(12), "block": 4}
    return FaceSampler(3, 1, 12, **settings | changes)  # type: ignore[arg-type]


def test_without_rates_draws_are_face_indices() -> None:
    draws = FaceSampler(5, 2, 7, 4)
    faces, follows = draws.blocks(3, 6)
    assert faces.reshape(-1).tolist() == face_indices(5, 2, 12, 24, 7).tolist()
    assert (follows == -1).all()


def test_weighted_draws_keep_no_state() -> None:
    whole, _ = weighted().blocks(0, 60)
    draws = weighted()
    for block in (59, 0, 31, 30, 2, 59):
        assert draws.blocks(block, 1)[0].tolist() == whole[block : block + 1].tolist()
    assert weighted(order=np.arange(12)[::-1]).blocks(0, 60)[0].tolist() != whole.tolist()


def test_weighted_draws_round_the_rates_every_epoch_and_differ() -> None:
    faces, _ = weighted().blocks(0, 3 * 200)
    epochs = faces.reshape(200, 12)
    counts = np.stack([np.bincount(each, minlength=12) for each in epochs])
    assert (counts >= np.floor(RATE)).all()
    assert (counts <= np.ceil(RATE)).all()
    # Far closer than independent draws, which would stray by about 14 for a rate of 1.
    assert np.abs(counts.sum(axis=0) - 200 * RATE).max() < 3
    assert len({tuple(row) for row in epochs.tolist()}) == 200
    # Of two side by side with a half each, one is drawn.
    assert (counts[:, :6].reshape(200, 3, 2).sum(axis=2).mean(axis=0) == 1).all()


def test_ranks_share_weighted_epochs_out() -> None:
    one = weighted(block=12).blocks(0, 1)[0].reshape(-1).tolist()
    ranks = weighted(block=2)
    seen = [ranks.blocks(step * 3 + rank, 1)[0].tolist() for step in range(2) for rank in range(3)]
    assert np.concatenate(seen, axis=1).reshape(-1).tolist() == one


def test_counts_are_what_was_drawn() -> None:
    following = np.array([1, 2, 3, -1, 5, 6, 7, 8, 9, 10, 11, -1])
    draws = weighted(following=following, neighbours=1)
    want = np.zeros(12, np.int64)
    for block in range(50):
        want += np.bincount(draws.blocks(block, 1)[0][0], minlength=12)
    assert draws.counts(50).tolist() == want.tolist()
    assert draws.counts(20).sum() == 80
    assert draws.counts(50).tolist() == want.tolist()
    many = draws.counts(30_000)
    # Of a dozen faces, those of one block hang together a little.
    np.testing.assert_allclose(many / many.sum(), draws.expected(1) / 4, atol=5e-3)


def test_followers_are_the_next_frame_where_there_is_one() -> None:
    following = np.array([1, 2, 3, 4, 5, -1, 7, 8, -1, -1, -1, -1])
    plain = weighted(block=6)
    faces, follows = weighted(block=6, following=following, neighbours=2).blocks(0, 40)
    kept, _ = plain.blocks(0, 40)
    assert faces[:, [0, 2, 4, 5]].tolist() == kept[:, [0, 2, 4, 5]].tolist()
    assert (follows[:, [0, 2, 4, 5]] == -1).all()
    for leader in (0, 2):
        later = following[faces[:, leader]]
        assert 0 < (later < 0).sum() < 40
        assert (faces[:, leader + 1] == np.where(later < 0, kept[:, leader + 1], later)).all()
        assert (follows[:, leader + 1] == np.where(later < 0, -1, leader)).all()


def test_draws_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="half of a block of 4"):
        weighted(neighbours=3, following=np.arange(12))
    with pytest.raises(ValueError, match="need following"):
        weighted(neighbours=1)
    with pytest.raises(ValueError, match="rate needs order"):
        FaceSampler(0, 0, 12, 4, rate=RATE)
    with pytest.raises(ValueError, match="need faces"):
        FaceSampler(0, 0, 0, 4)
