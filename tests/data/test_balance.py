from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.data.balance import Balance, Rates, cell_name, k_means
from swapper.data.near_duplicates import FootageIndex
from swapper.data.sampling import FaceSampler
from swapper.types import FaceRecord
from tests.facesets.making import SOURCE, make_record

STILL = make_record()


def turned(yaw: float, frame: int, pitch: float = 0.0, source: str = SOURCE) -> FaceRecord:
    return dataclasses.replace(STILL, yaw=yaw, pitch=pitch, frame_index=frame, source=source)


def without_codes(count: int) -> NDArray[np.float32]:
    return np.zeros((count, 0), np.float32)


def rates(records: Sequence[FaceRecord], balance: Balance | None = None) -> Rates:
    return (balance or Balance()).rates(FootageIndex.of(records), without_codes(len(records)))


def apart(count: int, yaw: float = 0.0, first: int = 0) -> list[FaceRecord]:
    """Faces a second apart, so that none is a copy of another."""
    return [turned(yaw, first + 30 * number) for number in range(count)]


def test_a_rare_pose_is_drawn_more_and_bounded() -> None:
    records = [*apart(4997), *apart(3, yaw=30.0, first=200_000)]
    found = rates(records)
    assert found.rate.sum() == pytest.approx(5000)
    assert found.rate.max() <= 8 + 1e-9
    assert found.rate.min() >= 0.3
    np.testing.assert_allclose(found.rate[-3:], 8)  # 41 times as often as others without the cap
    loose = rates(records, Balance(cap=1000.0, uniform=0.0))
    assert loose.rate[-1] / loose.rate[0] == pytest.approx((4997 / 3) ** 0.5)
    even = rates(records, Balance(temper=1.0, cap=1000.0, uniform=0.0)).rate
    assert even[-3:].sum() == pytest.approx(even[:-3].sum()) == pytest.approx(2500)


def test_common_faces_hardly_notice() -> None:
    found = rates([*apart(4997), *apart(3, yaw=30.0, first=200_000)])
    assert found.rate[:4997].min() > 0.99


def test_uniform_draws_are_a_floor() -> None:
    records = [*apart(100), *apart(10, yaw=30.0, first=9000), turned(60.0, 20_000)]
    for share in (0.0, 0.3, 0.9, 1.0):
        found = rates(records, Balance(uniform=share))
        assert found.rate.min() >= share
        assert found.rate.sum() == pytest.approx(len(records))
    assert (rates(records, Balance(uniform=1.0)).rate == 1).all()
    assert (rates(records, Balance(cap=1.0)).rate == 1).all()


def test_near_copies_share_one_weight() -> None:
    still = [turned(0.0, 900_000 + frame) for frame in range(200)]
    found = rates([*apart(4800), *still], Balance(uniform=0.0))
    assert len(set(found.run[-200:].tolist())) == 1
    assert found.rate[-200:].sum() == pytest.approx(found.rate[0])
    floor = rates([*apart(4800), *still]).rate
    assert floor[-200:].sum() == pytest.approx(0.3 * 200 + 0.7 * found.rate[0])


def test_temper_0_is_plain() -> None:
    still = [turned(0.0, 100_000 + frame) for frame in range(50)]
    assert (rates([*apart(40), *still], Balance(temper=0.0)).rate == 1).all()


def test_what_is_cut_off_at_the_cap_goes_to_the_others_and_may_fill_them_too() -> None:
    balance = Balance(cap=2.0, uniform=0.0)
    found = balance._bounded(np.array([1000.0, 100.0, 10.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, [2, 2, 2, 0.4, 0.4, 0.4, 0.4, 0.4])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_faces_are_safe(count: int) -> None:
    records = [turned(20.0 * number - 40, 100 * number) for number in range(count)]
    found = Balance().rates(FootageIndex.of(records), np.ones((count, 4), np.float32))
    assert found.rate.sum() == pytest.approx(count)
    assert sorted(found.order.tolist()) == list(range(count))
    assert np.isfinite(found.rate).all()


def test_a_part_of_a_run_makes_no_cell_rare() -> None:
    """One near-copy across a border is not worth more than a whole face that is alone."""
    still = [turned(9.5, frame) for frame in range(20)]
    over = [turned(10.5, 20)]
    alone = [turned(50.0, 90_000)]
    records = [*still, *over, *apart(50, first=1000), *alone]
    found = rates(records, Balance(uniform=0.0, cap=100.0))
    assert found.run[20] == found.run[0]
    assert found.rate[20] == pytest.approx(found.rate[-1] / 21)


def test_rare_feelings_are_drawn_more() -> None:
    random = np.random.default_rng(3)
    codes = random.normal(0, 0.3, (1000, 6)).astype(np.float32)
    codes[:15, 0] += 6.0
    footage = FootageIndex.of(apart(1000))
    found = Balance(clusters=8).rates(footage, codes)
    rare = found.rate[:15].mean()
    assert 2 < rare <= 8
    assert set(found.cell[:15, 2]).isdisjoint(set(found.cell[15:, 2]))
    assert (found.cell[:, 2] < 8).all()


def test_copies_in_pose_but_not_in_feeling_are_no_copies() -> None:
    records = [turned(0.0, frame) for frame in range(40)]
    codes = np.zeros((40, 4), np.float32)
    codes[20:] = 1.0
    found = Balance().rates(FootageIndex.of(records), codes)
    assert found.run.tolist() == [0] * 20 + [1] * 20


def test_k_means_finds_clusters_and_repeats_itself() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(0, 10, (5, 3))
    truth = random.integers(5, size=400)
    points = (centres[truth] + random.normal(0, 0.1, (400, 3))).astype(np.float32)
    found = k_means(points, 5)
    assert len({(a, b) for a, b in zip(truth.tolist(), found.tolist(), strict=True)}) == 5
    assert (k_means(points, 5) == found).all()
    assert (k_means(points[:1], 16) == 0).all()
    assert (k_means(np.ones((9, 3), np.float32), 16) == 0).all()
    assert len(set(k_means(np.eye(3, dtype=np.float32), 16).tolist())) == 3


def test_draws_follow_the_rates() -> None:
    """Over a few epochs, not only in the long run, and nobody is forgotten."""
    records = [*apart(400), *apart(20, yaw=20.0, first=50_000), turned(60.0, 99_000)]
    records += [turned(-30.0, 70_000 + frame) for frame in range(30)]
    found = rates(records)
    draws = FaceSampler(4, 1, len(records), 8, rate=found.rate, order=found.order)
    blocks = 10 * len(records) // 8
    counts, expected = draws.counts(blocks), draws.expected(blocks)
    assert counts.sum() == 8 * blocks
    assert np.abs(counts - expected).max() < 3
    assert (counts >= 2).all()
    assert counts.max() <= 8 * 10 + 2


def test_one_epoch_rounds_each_rate() -> None:
    records = [*apart(90), *apart(4, yaw=30.0, first=9000), *apart(2, yaw=-30.0, first=20_000)]
    found = rates(records)
    draws = FaceSampler(0, 0, len(records), 12, rate=found.rate, order=found.order)
    for epoch in range(4):
        faces, _ = draws.blocks(8 * epoch, 8)
        counts = np.bincount(faces.reshape(-1), minlength=96)
        assert (counts >= np.floor(found.rate - 1e-9)).all()
        assert (counts <= np.ceil(found.rate + 1e-9)).all()


def test_cells_have_names() -> None:
    names = [cell_name(np.array(cell)) for cell in ((0, 0, 0), (3, 1, 5), (6, 2, 15))]
    assert names == [
        "yaw ..-45 pitch ..-12 affect 0",
        "yaw -10..10 pitch -12..12 affect 5",
        "yaw 45.. pitch 12.. affect 15",
    ]


@pytest.mark.parametrize("bad", [{"temper": -0.1}, {"cap": 0.9}, {"uniform": 1.1}, {"clusters": 0}])
def test_refuses_bad_numbers(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Balance(**bad)  # type: ignore[arg-type]
