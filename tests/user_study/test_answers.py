"""Answers from strangers: those that hold are read, the others are left out by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapper.errors import StudyError
from swapper.user_study.answers import read_answers
from swapper.user_study.counts import count_answers
from swapper.user_study.trials import read_key
from tests.user_study.asked import answered, drawn_study, prefers, save

ALL = prefers("good", "fair", "poor")


def test_answers_are_read(tmp_path: Path) -> None:
    study = drawn_study()
    for seed in (5, 6):
        save(tmp_path, answered(study, seed, ALL))
    people, left_out = read_answers(tmp_path, study)
    assert [each.id for each in people] == [f"{seed:016x}" for seed in (5, 6)]
    assert len(people[0].answers) == 12 + 3 + 2
    assert not left_out


def _choice(data: dict[str, Any]) -> None:
    data["answers"][0]["choice"] = "both"


def _sides(data: dict[str, Any]) -> None:
    one = data["answers"][0]
    one["left"], one["right"] = one["right"], one["left"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.update(schema=2), "schema must be 1"),
        (lambda data: data.update(study="0" * 32), "is for another study"),
        (lambda data: data.update(participant="<script>"), "participant is not 16 hex"),
        (lambda data: data.update(seed=-1), "seed is not an integer"),
        (lambda data: data.update(seed=True), "seed is not an integer"),
        (lambda data: data.update(seed=1234), "does not match the schedule of its seed"),
        (lambda data: data["answers"].pop(), "does not have an answer to each of its 17 questions"),
        (lambda data: data.update(answers="x" * 17), "does not have an answer to each of its 17"),
        (
            lambda data: data.update(answers=["x"] * 17),
            "answer 1 does not have the expected fields",
        ),
        (
            lambda data: data["answers"][0].update(more=1),
            "answer 1 does not have the expected fields",
        ),
        (lambda data: data["answers"][0].update(trial="f" * 16), "not in the study"),
        (lambda data: data["answers"][0].update(trial=[]), "not in the study"),
        (lambda data: data["answers"][0].update(seconds=-1), "an invalid time"),
        (lambda data: data["answers"][0].update(seconds=1e300), "an invalid time"),
        (lambda data: data["answers"][0].update(seconds="2"), "an invalid time"),
        (lambda data: data["answers"][0].update(choice=[]), "is none of"),
        (_choice, "is none of left, right, neither"),
        (_sides, "does not match the schedule of its seed"),
    ],
)
def test_what_does_not_hold_is_left_out(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    study = drawn_study()
    save(tmp_path, answered(study, 5, ALL))
    data = answered(study, 6, ALL)
    change(data)
    save(tmp_path, data, "odd")
    people, left_out = read_answers(tmp_path, study)
    assert [each.id for each in people] == [f"{5:016x}"]
    assert [each.name for each in left_out] == ["answers-odd.json"]
    assert why in left_out[0].reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"seed": NaN}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "is not JSON"),
        (b" " * (3 << 20), "more than"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: bytes, why: str) -> None:
    (tmp_path / "answers-\x1b[31m.json").write_bytes(text)
    people, left_out = read_answers(tmp_path, drawn_study())
    assert not people
    assert why in left_out[0].reason
    assert left_out[0].name.isprintable()


def test_links_are_not_followed(tmp_path: Path) -> None:
    study = drawn_study()
    real = save(tmp_path / "else", answered(study, 5, ALL))
    (tmp_path / "answers-link.json").symlink_to(real)
    people, left_out = read_answers(tmp_path, study)
    assert not people
    assert "is a link" in left_out[0].reason


def test_one_participant_counts_once(tmp_path: Path) -> None:
    study = drawn_study()
    save(tmp_path, answered(study, 5, ALL), "a")
    save(tmp_path, answered(study, 5, ALL), "a-copy")
    save(tmp_path, answered(study, 6, ALL), "b")
    save(tmp_path, answered(study, 6, prefers("poor", "fair", "good")), "b-other")
    people, left_out = read_answers(tmp_path, study)
    assert [each.id for each in people] == [f"{5:016x}"]
    assert [each.name for each in left_out] == [
        "answers-a.json",
        "answers-b-other.json",
        "answers-b.json",
    ]


def test_who_misses_checks_is_left_out_by_the_rule(tmp_path: Path) -> None:
    """Always the left: no check is sure to be caught, so take a seed where one is."""
    study = drawn_study()
    for seed in range(8):
        save(tmp_path, answered(study, seed, ALL))
    save(tmp_path, answered(study, 99, lambda left, right: "neither"))
    people, _ = read_answers(tmp_path, study)
    found = count_answers(people, study)
    (idle,) = (each for each in found.attention if not each.counts)
    assert (idle.participant, idle.checks, idle.missed) == (f"{99:016x}", 3, 3)
    assert (found.ties, found.answers) == (0, 8 * 12)
    assert found.systems == ("good", "fair", "poor")
    kept = count_answers(people, study, misses=3)
    assert (kept.ties, kept.answers) == (12, 9 * 12)
    share = {(first, second): rate.share for first, second, rate in kept.pairs}
    assert share["good", "fair"] == pytest.approx((8 * 4 + 4 / 2) / (9 * 4))
    assert all(each.same == each.repeats == 2 for each in kept.attention)


def test_sides_chosen_by_habit_cancel(tmp_path: Path) -> None:
    study = drawn_study()
    for seed in range(60):
        habit = answered(study, seed, lambda left, right: "left")
        save(tmp_path, habit)
    people, _ = read_answers(tmp_path, study)
    found = count_answers(people, study, misses=3)
    assert all(each.low < 0 < each.high for each in found.strengths)
    assert all(each.same == 0 for each in found.attention)


def test_the_key_is_read_back_and_guarded(tmp_path: Path) -> None:
    study = drawn_study()
    path = tmp_path / "key.json"
    path.write_text(json.dumps(study.key_data()))
    assert read_key(path).key_data() == study.key_data()
    for change in (
        lambda key: key.update(schema=9),
        lambda key: key.update(kind=[]),
        lambda key: key.update(study="0" * 32),
        lambda key: key.update(limits={"pairs": 1}),
        lambda key: key["limits"].update(pairs=10**9),
        lambda key: key["clips"]["c0"].update(performer="../../etc"),
        lambda key: key["clips"]["c0"]["systems"].update({"x\ny": "0" * 16}),
        lambda key: key["clips"]["c0"].update(systems={}),
        lambda key: key.update(clips={}),
    ):
        key = json.loads(json.dumps(study.key_data()))
        change(key)
        path.write_text(json.dumps(key))
        with pytest.raises(StudyError, match=r"key\.json: .*; pass the key"):
            read_key(path)
