from __future__ import annotations

import json

import pytest

from swapper.errors import UsageError
from swapper.synth.emotions import EMOTIONS
from swapper.synth.timeline import SHORTEST_BEAT, Segment, Timeline, parse_timeline, random_timeline


def test_items_follow_each_other() -> None:
    score = parse_timeline("neutral:1.5, happy:2@0.8,anger:2+speech")
    assert score.beats == (
        Segment("neutral", 0.0, 1.5),
        Segment("happy", 1.5, 3.5, 0.8),
        Segment("anger", 3.5, 5.5),
    )
    assert score.duration == 5.5
    assert score.speech == ((3.5, 5.5),)
    assert score.emotions == ("neutral", "happy", "anger")


def test_mixtures_overlap_and_speech_that_touches_is_one() -> None:
    score = parse_timeline("sad+anger:1@0.5+speech,happy:1+speech,neutral:1,bored:1+speech")
    assert score.beats[:2] == (Segment("sad", 0, 1, 0.5), Segment("anger", 0, 1, 0.5))
    assert score.speech == ((0.0, 2.0), (3.0, 4.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("happy", "'happy' is not EMOTION"),
        ("happy:", "'happy:' is not EMOTION"),
        ("happy:2,,sad:1", "'' is not EMOTION"),
        ("Happy:2", "is not EMOTION"),
        ("happy:2@0.8+shout", "'happy:2@0.8+shout' is not"),
        ("hapy:2", "did you mean happy"),
        ("happy:two", "SECONDS is 'two'"),
        ("happy:nan", "SECONDS is 'nan'"),
        ("happy:inf", "SECONDS is 'inf'"),
        ("happy:-1", "at least 0.4"),
        ("happy:0.1", "at least 0.4"),
        ("happy:2@0", "above 0 and at most 1"),
        ("happy:2@1.5", "above 0 and at most 1"),
        ("happy:2@x", "STRENGTH is 'x'"),
        ("happy:4000", "to 3600 seconds"),
    ],
)
def test_a_wrong_score_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_timeline(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_beats_and_speech_must_lie_within_the_score() -> None:
    with pytest.raises(UsageError, match="ends at 3 s"):
        Timeline((Segment("sad", 0, 3),), 2.0)
    for speech in (((1.0, 3.0),), ((1.0, 1.5), (1.2, 1.8)), ((1.5, 1.0),)):
        with pytest.raises(UsageError, match="speech from"):
            Timeline((), 2.0, speech)


def test_json_round_trip() -> None:
    score = random_timeline(5, 30)
    assert Timeline.from_dict(json.loads(json.dumps(score.to_dict()))) == score


@pytest.mark.parametrize("duration", [11 * SHORTEST_BEAT, 11.0, 30.0, 120.0])
@pytest.mark.parametrize("seed", range(4))
def test_random_scores_play_everything_and_fill_the_time(seed: int, duration: float) -> None:
    score = random_timeline(seed, duration)
    assert score.emotions == EMOTIONS
    assert score.duration == duration
    assert score.beats[0].start == 0
    assert score.beats[-1].end == duration
    for before, after in zip(score.beats[:-1], score.beats[1:], strict=True):
        assert before.end == after.start


def test_random_scores_follow_their_seed() -> None:
    assert random_timeline(1, 20) == random_timeline(1, 20)
    assert random_timeline(1, 20) != random_timeline(2, 20)


def test_too_little_time_is_refused() -> None:
    with pytest.raises(UsageError, match=r"4\.4 are needed"):
        random_timeline(0, 4.0)
