from __future__ import annotations

import json

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.head_renderer.units import INDEX, LEFT, MIDLINE, RIGHT, UNITS
from swapper.synth.curves import bump, interpolate_keys, minimum_jerk, smooth_noise
from swapper.synth.emotions import EMOTION_BY_NAME, EMOTIONS
from swapper.synth.performance import Performance, play
from swapper.synth.timeline import Segment, Timeline, parse_timeline, random_timeline

LONG = random_timeline(3, 60)
MOUTH = [INDEX[unit] for unit in (25, 26)]


@pytest.fixture(scope="module")
def played() -> Performance:
    return play(LONG, seed=1)


def calm(text: str, **settings: float) -> Performance:
    """Prototypes on a still head, without flickers."""
    return play(parse_timeline(text), **({"variety": 0.0, "micro": 0.0} | settings))  # type: ignore[arg-type]


def events(performance: Performance, kind: str) -> list[tuple[float, float]]:
    return [(event.start, event.end) for event in performance.events if event.kind == kind]


def test_shapes_and_ranges(played: Performance) -> None:
    frames = 60 * 25
    assert len(played) == frames
    assert played.units.shape == (frames, 2, 19)
    assert played.units.dtype == np.float32
    assert played.units.min() >= 0
    assert played.units.max() <= 1
    assert played.emotion.shape == (frames, 11)
    np.testing.assert_allclose(played.emotion.sum(axis=1), 1, atol=1e-6)
    assert played.emotion.min() >= -1e-7
    for values, width in ((played.pose, 3), (played.shift, 3), (played.gaze, 2)):
        assert values.shape == (frames, width)
        assert np.isfinite(values).all()
    assert np.abs(played.valence).max() <= 1
    assert np.abs(played.arousal).max() <= 1


def test_every_moment_is_legal_and_out_of_range_is_none(played: Performance) -> None:
    for index in range(len(played)):
        played.head_state(index)  # Moment checks its own ranges
    np.testing.assert_array_equal(played.head_state(7).units, played.units[7])
    for index in (-1, len(played)):
        with pytest.raises(IndexError):
            played.head_state(index)


def test_the_same_seed_plays_the_same_and_another_does_not(played: Performance) -> None:
    again, other = play(LONG, seed=1), play(LONG, seed=2)
    for name in ("units", "gaze", "pose", "shift", "emotion"):
        np.testing.assert_array_equal(getattr(again, name), getattr(played, name))
    assert again.events == played.events
    assert np.abs(other.units - played.units).max() > 0.2


def test_another_frame_rate_samples_the_same_movement(played: Performance) -> None:
    fast = play(LONG, fps=50, seed=1)
    for name in ("units", "gaze", "pose", "shift", "emotion"):
        np.testing.assert_array_equal(getattr(fast, name)[::2], getattr(played, name))


def test_the_recipe_gives_the_performance_again(played: Performance) -> None:
    again = Performance.from_dict(json.loads(json.dumps(played.to_dict())))
    np.testing.assert_array_equal(again.units, played.units)
    np.testing.assert_array_equal(again.pose, played.pose)


def test_nothing_jumps_but_lids_and_eyes() -> None:
    # At 100 frames a second a jump stays as large as it is, and a movement gets small.
    fast = play(LONG, fps=100, seed=1, micro=0)
    steps = np.abs(np.diff(fast.units, axis=0)).max(axis=(0, 1))
    lids = [INDEX[5], INDEX[43]]
    assert np.delete(steps, lids).max() < 0.15
    assert steps[lids].max() < 0.35
    assert np.abs(np.diff(fast.pose, axis=0)).max() < 1.2
    assert np.abs(np.diff(fast.shift, axis=0)).max() < 2.0
    # Twice the rate, half the step: the movement is continuous.
    faster = play(LONG, fps=120, seed=1, micro=0)
    slower = play(LONG, fps=60, seed=1, micro=0)
    ratio = (
        np.abs(np.diff(faster.units, axis=0)).max() / np.abs(np.diff(slower.units, axis=0)).max()
    )
    assert 0.4 < ratio < 0.7


def test_an_emotion_rises_holds_and_fades() -> None:
    smile = calm("neutral:1,happy:3,neutral:3", fps=50).units[:, LEFT, INDEX[12]]
    apex = smile[150:190].mean()
    assert smile[:50].max() == 0
    assert apex > 0.5
    rising = int(np.argmax(smile > 0.9 * apex)) - int(np.argmax(smile > 0.1 * apex))
    after = smile[200:]
    falling = int(np.argmax(after < 0.1 * apex)) - int(np.argmax(after < 0.9 * apex))
    assert 5 < rising < falling < 60  # faces fall slower than they rise
    assert smile[-1] < 0.01


def test_surprise_is_quick_and_sadness_slow() -> None:
    def half(name: str, unit: int) -> float:
        curve = calm(f"neutral:1,{name}:4", fps=100).units[:, LEFT, INDEX[unit]]
        return float(np.argmax(curve > curve[150:300].max() / 2)) / 100 - 1

    assert half("surprise", 1) < 0.25 < half("sad", 1)


def test_strength_scales_the_face_and_the_weights() -> None:
    full, half = calm("anger:4"), calm("anger:4@0.5")
    column = INDEX[4]
    assert half.units[60, LEFT, column] == pytest.approx(full.units[60, LEFT, column] / 2, abs=0.03)
    anger = EMOTIONS.index("anger")
    assert full.emotion[60, anger] == pytest.approx(1, abs=1e-4)
    assert half.emotion[60, anger] == pytest.approx(0.5, abs=1e-4)
    assert half.emotion[60, 0] == pytest.approx(0.5, abs=1e-4)
    assert full.valence[60] == pytest.approx(EMOTION_BY_NAME["anger"].valence, abs=1e-4)
    assert full.arousal[60] == pytest.approx(EMOTION_BY_NAME["anger"].arousal, abs=1e-4)


def test_mixtures_show_both_and_share_the_weight() -> None:
    mixed = calm("sad+anger:4")
    assert mixed.emotion[60, [EMOTIONS.index("sad"), EMOTIONS.index("anger")]] == pytest.approx(
        [0.5, 0.5], abs=1e-4
    )
    both = mixed.units[60, LEFT]
    assert both[INDEX[1]] > 0.3  # of sadness
    assert both[INDEX[4]] > 0.6  # of both
    assert both[INDEX[7]] > 0.2  # of anger


def test_a_gap_in_the_score_is_neutral() -> None:
    gap = play(Timeline((Segment("happy", 0, 1.5), Segment("sad", 4.5, 6)), 6.0), micro=0)
    assert gap.emotion[80, 0] > 0.99


@pytest.mark.parametrize("name", ["neutral", "tired", "anger", "seductive"])
def test_people_blink_at_their_emotion_s_rate(name: str) -> None:
    score = Timeline(tuple(Segment(name, 30.0 * i, 30.0 * (i + 1)) for i in range(10)), 300.0)
    performance = play(score, seed=4)
    a_minute = len(events(performance, "blink")) / 5
    wanted = EMOTION_BY_NAME[name].dynamics.blinks
    assert 0.6 * wanted < a_minute < 1.8 * wanted


def test_a_blink_shuts_the_eyes_and_lasts_as_long_as_blinks_do(played: Performance) -> None:
    found = events(played, "blink")
    assert len(found) > 8
    for start, end in found:
        assert 0.15 <= end - start <= 0.4
        frames = (played.times > start) & (played.times < end)
        if frames.any():
            assert played.units[frames][:, :, INDEX[43]].max() > 0.8
    awake = np.ones(len(played), bool)
    for kind in ("blink", "closure", "yawn"):
        for start, end in events(played, kind):
            awake &= (played.times < start) | (played.times > end)
    assert played.units[awake][:, :, INDEX[43]].max() < 0.75


def test_tired_eyes_are_often_shut() -> None:
    def shut(name: str) -> float:
        score = Timeline(tuple(Segment(name, 20.0 * i, 20.0 * (i + 1)) for i in range(6)), 120.0)
        closed = play(score, seed=0).units[:, :, INDEX[43]].mean(axis=1) > 0.8
        return float(closed.mean())

    assert 0.08 < shut("tired") < 0.35
    assert shut("neutral") < 0.08


def test_micro_expressions_last_40_to_200_ms_and_show_another_feeling() -> None:
    score = Timeline((), 60.0)
    many, none = play(score, seed=2, micro=30), play(score, seed=2, micro=0)
    found = [event for event in many.events if event.kind == "micro"]
    assert 15 < len(found) < 50
    assert not events(none, "micro")
    for event in found:
        assert 0.04 <= event.end - event.start <= 0.2
        assert event.emotion in EMOTIONS[1:8]
    # They add to the face, and only while they last.
    apart = np.abs(many.units - none.units).max(axis=(1, 2))
    during = np.zeros(len(many), bool)
    for event in found:
        during |= (many.times >= event.start - 1e-3) & (many.times <= event.end + 1e-3)
    assert apart[during].max() > 0.2
    assert apart[~during].max() < 1e-6


def test_talk_moves_the_mouth_at_the_pace_of_syllables() -> None:
    talking = play(parse_timeline("neutral:2,neutral:10+speech,neutral:2"), fps=50, micro=0)
    mouth = talking.units[:, LEFT, MOUTH].sum(axis=1)
    assert mouth[:90].max() < 0.35
    spoken = mouth[125:575]
    assert spoken.std() > 0.15
    power = np.abs(np.fft.rfft(spoken - spoken.mean())) ** 2
    hertz = np.fft.rfftfreq(len(spoken), 1 / 50)
    assert power[(hertz > 2) & (hertz < 8)].sum() > 0.5 * power.sum()


def test_an_angry_speaker_stays_angry() -> None:
    talking = calm("anger:6+speech")
    assert talking.units[75, LEFT, INDEX[4]] > 0.6
    assert talking.emotion[75, EMOTIONS.index("anger")] > 0.99


def test_sides_differ_a_little_but_never_on_the_midline(played: Performance) -> None:
    apart = np.abs(played.units[:, LEFT] - played.units[:, RIGHT]).max(axis=0)
    for unit in UNITS:
        if unit in MIDLINE:
            assert apart[INDEX[unit]] < 1e-6
    assert apart[INDEX[12]] > 0.2  # contempt and the crooked smile


def test_eyes_stay_on_the_camera_while_the_head_turns() -> None:
    performance = play(Timeline((Segment("anger", 0, 60),), 60.0), seed=1)
    ahead = performance.gaze[:, 0] + performance.pose[:, 0]
    assert np.abs(performance.pose[:, 0]).std() > 2
    assert np.median(np.abs(ahead)) < 4


def test_heads_are_never_still_and_never_far() -> None:
    neutral = play(Timeline((), 60.0), seed=0)
    assert (neutral.pose.std(axis=0) > (2, 0.8, 0.8)).all()
    assert (np.abs(neutral.pose).max(axis=0) < (40, 25, 22)).all()
    assert np.abs(neutral.shift).max() < 30
    still = play(Timeline((), 60.0), seed=0, variety=0, micro=0)
    assert np.abs(still.pose).max() < 6  # nods and the way after the eyes


@pytest.mark.parametrize("seed", range(3))
def test_shortest_beats_and_one_frame_play(seed: int) -> None:
    performance = play(random_timeline(seed, 4.4), seed=seed)
    assert len(performance) == 110
    assert np.isfinite(performance.units).all()
    shown = performance.emotion.max(axis=0)
    assert (shown > 0.3).all()  # each is seen, however short
    assert len(play(Timeline((), 0.4), fps=1)) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fps": 0}, "fps=0"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"fps": 121}, "from 1 to 120"),
        ({"variety": 3}, "variety=3"),
        ({"micro": -1}, "micro=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        play(LONG, **settings)  # type: ignore[arg-type]


def test_curves() -> None:
    times = np.linspace(0, 1, 1001)
    rising = minimum_jerk(times)
    assert rising[0] == 0
    assert rising[-1] == 1
    assert (np.diff(rising) >= 0).all()
    assert np.diff(rising)[[0, -1]].max() < 1e-7
    assert bump(np.array([0.0, 0.5, 1.0]), 0, 0.4, 0.2, 0.4) == pytest.approx([0, 1, 0])
    keys, values = np.array([0.0, 0.5, 1.0]), np.array([[0.0], [2.0], [-1.0]])
    assert interpolate_keys(np.array([-1, 0, 0.5, 1, 2]), keys, values).ravel().tolist() == [
        0,
        0,
        2,
        -1,
        -1,
    ]
    noise = smooth_noise(np.arange(0, 200, 0.1), 0.5, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.2)
    assert abs(noise.mean()) < 0.1
