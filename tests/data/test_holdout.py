from __future__ import annotations

import numpy as np
import pytest

from swapper.data.holdout import split_holdout
from swapper.types import FaceRecord
from tests.facesets.making import make_record

A, B = "aa" * 32, "bb" * 32


def clip(source: str, count: int) -> list[FaceRecord]:
    return [make_record(frame, source) for frame in range(count)]


def stretches(indices: np.ndarray) -> int:
    return int((np.diff(indices) != 1).sum()) + 1 if len(indices) else 0


@pytest.mark.parametrize("count", [20, 21, 100, 1000, 5000])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_blocks_with_a_gap(count: int, share: float) -> None:
    trained, held = split_holdout(clip(A, count), [A], share)
    assert len(held) == max(1, round(count * share))
    assert not set(trained) & set(held)
    assert stretches(held) <= 4
    unused = count - len(trained) - len(held)
    assert unused <= min(len(held), (count - len(held)) / 4)
    if len(held) >= 2:
        assert np.abs(trained[:, None] - held[None]).min() > 1


def test_time_is_the_frame_number_not_the_order_of_the_rows() -> None:
    records = clip(A, 100)
    order = np.random.default_rng(0).permutation(100)
    trained, held = split_holdout([records[i] for i in order], [A], 0.1)
    want_trained, want_held = split_holdout(records, [A], 0.1)
    assert order[held].tolist() == want_held.tolist()
    assert order[trained].tolist() == want_trained.tolist()


def test_every_long_source_is_held_out_from() -> None:
    records = clip(B, 200) + clip(A, 40)
    _, held = split_holdout(records, [B, A], 0.1)
    assert (held < 200).sum() == 20
    assert (held >= 200).sum() == 4


def test_single_pictures_are_one_timeline_in_the_order_of_the_card() -> None:
    sources = [f"{number:02x}" * 32 for number in (9, 3, 7, 1, 5)] + [
        f"{number:064x}" for number in range(45)
    ]
    records = [make_record(0, source) for source in sorted(sources)]
    trained, held = split_holdout(records, sources, 0.1)
    assert len(held) == 5
    places = [sources.index(records[i].source) for i in held]
    assert places == list(range(places[0], places[0] + 5))
    assert len(trained) >= 40


def test_too_few_or_not_asked_for() -> None:
    for records, share in ((clip(A, 19), 0.5), (clip(A, 100), 0.0)):
        trained, held = split_holdout(records, [A], share)
        assert len(trained) == len(records)
        assert len(held) == 0
