from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.data.near_duplicates import FootageIndex, near_copy_runs, next_frames
from swapper.data.pose_pairs import DEGREES, PosePairs
from swapper.data.sampling import generator
from swapper.types import FaceRecord
from tests.drawing import canonical
from tests.facesets.making import SOURCE, make_record

OTHER = "7a" * 32


def face(
    frame: int, source: str = SOURCE, mouth: float = 0.2, blink: float = 0.0, right: float = 0.0,
    yaw: float = 0.0, pitch: float = 0.0,
) -> FaceRecord:  # fmt: skip
    plain = make_record(frame, source)
    shape = canonical(mouth, blink, 1.0) * 60 + 100 + right
    return dataclasses.replace(
        plain,
        yaw=yaw,
        pitch=pitch,
        landmarks=shape.astype(np.float32),
        aligned_from_frame=np.array([[1.0, 0.0, -right], [0.0, 1.0, 0.0]]),
    )


def run_of(records: list[FaceRecord], codes: NDArray[np.float32] | None = None) -> list[int]:
    if codes is None:
        codes = np.zeros((len(records), 0), np.float32)
    found: list[int] = near_copy_runs(FootageIndex.of(records), codes).tolist()
    return found


def test_a_still_face_is_one_run_and_a_blink_another() -> None:
    assert run_of([face(frame) for frame in range(100)]) == [0] * 100
    blinking = [face(frame, blink=1.0 if 10 <= frame < 13 else 0.0) for frame in range(20)]
    assert run_of(blinking) == [0] * 10 + [1] * 3 + [2] * 7
    assert run_of([face(0), face(1, mouth=1.0), face(2, mouth=1.0)]) == [0, 1, 1]


def test_jitter_of_landmarks_breaks_no_run() -> None:
    random = np.random.default_rng(1)
    plain = [face(frame) for frame in range(50)]
    shaken = [
        dataclasses.replace(
            each,
            landmarks=each.landmarks + random.normal(0, 0.4, (68, 2)).astype(np.float32),
        )
        for each in plain
    ]
    assert len(set(run_of(shaken))) == 1


def test_runs_end_with_time_file_and_turn() -> None:
    assert run_of([face(0), face(14), face(29)]) == [0, 0, 1]
    assert run_of([face(0), face(1, OTHER), face(2)]) == [0, 1, 0]
    slow = [face(frame, yaw=0.2 * frame) for frame in range(60)]
    assert max(np.bincount(run_of(slow))) == 15


def test_order_of_the_faces_does_not_matter() -> None:
    records = [face(frame, blink=1.0 if frame % 9 < 2 else 0.0) for frame in range(40)]
    order = np.random.default_rng(0).permutation(40)
    mixed = run_of([records[place] for place in order])
    assert mixed == np.array(run_of(records))[order].tolist()


def test_the_next_frame_is_the_same_head_a_moment_later() -> None:
    records = [
        face(0), face(1), face(4), face(8), face(9, right=200.0), face(10, right=201.0),
        face(11, OTHER), face(12, OTHER),
    ]  # fmt: skip
    # 1 to 4 is a tenth of a second, 4 to 8 is more, 8 to 9 is a cut, 10 to 11 another file.
    assert next_frames(FootageIndex.of(records)).tolist() == [1, 2, -1, -1, 5, -1, 7, -1]


def test_two_heads_in_one_frame_are_not_confused() -> None:
    """A mirror, say: two faces of one person in each frame."""
    records = [face(frame, right=right) for frame in range(5) for right in (0.0, 300.0)]
    following = next_frames(FootageIndex.of(records)).tolist()
    assert following == [2, 3, 4, 5, 6, 7, 8, 9, -1, -1]


def test_a_change_of_size_is_a_cut() -> None:
    large = dataclasses.replace(face(1), landmarks=(face(1).landmarks - 100) * 1.5 + 100)
    assert next_frames(FootageIndex.of([face(0), large])).tolist() == [-1, -1]


def test_pairs_are_in_like_pose_and_of_another_moment() -> None:
    random = np.random.default_rng(2)
    records = [
        face(
            int(frame),
            SOURCE if frame % 2 else OTHER,
            yaw=float(random.uniform(-40, 40)),
            pitch=float(random.uniform(-20, 20)),
        )
        for frame in range(600)
    ]
    footage = FootageIndex.of(records)
    partners = PosePairs(footage, np.zeros((600, 0), np.float32))
    seen = []
    for sample in range(600):
        other = partners.draw_partner(generator(0, 0, 0, sample), sample)
        assert other is not None
        assert np.abs(footage.pose[other] - footage.pose[sample]).max() <= DEGREES
        moment = footage.source[other] == footage.source[sample]
        assert not moment or abs(footage.frame[other] - footage.frame[sample]) >= 15
        assert partners.draw_partner(generator(0, 0, 0, sample), sample) == other
        seen.append(other)
    assert len(set(seen)) > 250  # not always the same few


def test_pairs_prefer_another_feeling() -> None:
    records = [face(30 * frame) for frame in range(200)]
    codes = np.zeros((200, 3), np.float32)
    codes[100:] = 2.0
    partners = PosePairs(FootageIndex.of(records), codes)
    chosen = [partners.draw_partner(generator(1, 0, 0, sample), sample) for sample in range(100)]
    assert sum(each is not None and each >= 100 for each in chosen) > 85  # by chance: 50


def test_no_like_pose_is_no_pair() -> None:
    records = [face(0), face(5), face(100, yaw=9.0), face(200, yaw=9.0, pitch=8.5)]
    partners = PosePairs(FootageIndex.of(records), np.zeros((4, 0), np.float32))
    found = [partners.draw_partner(generator(0, 0, 0, row), row) for row in range(4)]
    assert found == [None, None, None, None]


def test_a_rare_pair_is_found() -> None:
    """One like-posed face among thousands of the same yaw."""
    records = [face(30 * frame) for frame in range(3000)]
    records += [face(100_000, pitch=40.0), face(200_000, pitch=40.0)]
    partners = PosePairs(FootageIndex.of(records), np.zeros((3002, 0), np.float32))
    assert partners.draw_partner(generator(0, 0, 0, 0), 3000) == 3001


@pytest.mark.parametrize("count", [1, 2])
def test_few_faces_are_safe(count: int) -> None:
    footage = FootageIndex.of([face(frame) for frame in range(count)])
    assert next_frames(footage).tolist() == [1, -1][2 - count :]
    assert PosePairs(footage, np.zeros((count, 2), np.float32)).draw_partner(
        generator(0, 0, 0, 0), 0
    ) is (None)
