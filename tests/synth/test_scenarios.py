from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.units import INDEX
from swapper.synth.emotions import EMOTIONS
from swapper.synth.scenarios import SCENARIOS, SHORTEST, Casting, Take, build_casting

PERFORMER, IDENTITY = sample_identity(1), sample_identity(2)


def weights(takes: tuple[Take, ...]) -> np.ndarray:
    return np.concatenate([take.performance.emotion for take in takes])


def shown(takes: tuple[Take, ...], threshold: float = 0.5) -> set[str]:
    peak = weights(takes).max(axis=0)
    return {name for name, most in zip(EMOTIONS, peak, strict=True) if most >= threshold}


@pytest.fixture(scope="module", params=SCENARIOS)
def casting(request: pytest.FixtureRequest) -> Casting:
    return build_casting(request.param, PERFORMER, IDENTITY, seed=3, seconds=60)


def test_whoever_performs_shows_everything(casting: Casting) -> None:
    assert shown(casting.performer) == set(EMOTIONS)
    for take in casting.held_out:
        assert shown((take,)) == set(EMOTIONS)


def test_truth_is_the_held_out_performance_by_the_identity(casting: Casting) -> None:
    assert len(casting.truth) == len(casting.held_out) == 2
    for asked, answer in zip(casting.held_out, casting.truth, strict=True):
        assert asked.name == answer.name
        assert (asked.identity, answer.identity) == (PERFORMER, IDENTITY)
        assert answer.stage == asked.stage
        assert answer.performance is asked.performance


def test_held_out_scores_are_unseen_but_sets_are_not(casting: Casting) -> None:
    trained = [take.performance.score for take in casting.performer]
    assert all(take.performance.score not in trained for take in casting.held_out)
    sets = [take.stage for take in casting.performer]
    assert all(take.stage in sets for take in casting.held_out)


def test_the_identity_has_its_own_light(casting: Casting) -> None:
    lights = {take.stage.key_azimuth for take in casting.performer}
    assert lights.isdisjoint(take.stage.key_azimuth for take in casting.identity)
    assert len(lights) == 2


def test_footage_is_as_long_as_asked(casting: Casting) -> None:
    for takes in (casting.performer, casting.identity):
        assert sum(len(take.performance) for take in takes) == pytest.approx(60 * 25, abs=3)


def test_what_is_unseen_never_shows(casting: Casting) -> None:
    unseen = [EMOTIONS.index(name) for name in casting.unseen]
    if unseen:
        assert weights(casting.identity)[:, unseen].max() < 1e-6
        assert not any(
            event.kind == "micro" for take in casting.identity for event in take.performance.events
        )
    seen = [i for i in range(len(EMOTIONS)) if i not in unseen]
    assert (weights(casting.identity)[:, seen].max(axis=0) > 0.1).all()


def test_rich_and_archive_show_everything() -> None:
    for scenario in ("rich", "archive"):
        casting = build_casting(scenario, PERFORMER, IDENTITY, seconds=40)
        assert casting.unseen == ()
        assert shown(casting.identity) == set(EMOTIONS)


def test_limited_is_nearly_all_neutral_with_small_smiles() -> None:
    casting = build_casting("limited", PERFORMER, IDENTITY, seconds=120)
    assert set(casting.unseen) == set(EMOTIONS) - {"neutral", "happy"}
    smiling = sum(
        beat.end - beat.start for take in casting.identity for beat in take.performance.score.beats
    )
    assert 0.03 * 120 < smiling < 0.07 * 120
    assert weights(casting.identity)[:, EMOTIONS.index("happy")].max() < 0.4
    corners = max(take.performance.units[..., INDEX[12]].max() for take in casting.identity)
    assert 0.05 < corners < 0.55


def test_rare_holds_one_angry_shot_and_no_more() -> None:
    casting = build_casting("rare", PERFORMER, IDENTITY, seconds=60)
    assert set(casting.unseen) == set(EMOTIONS) - {"neutral", "happy", "anger"}
    angry = [take for take in casting.identity if "anger" in shown((take,))]
    assert len(angry) == 1
    assert len(angry[0].performance) < 0.1 * 60 * 25


def test_archive_is_worn_on_the_identity_s_side_only() -> None:
    rich, worn = (build_casting(s, PERFORMER, IDENTITY, seed=3) for s in ("rich", "archive"))
    for sharp, soft in zip(rich.identity, worn.identity, strict=True):
        assert soft.stage.film.grain > 2 * sharp.stage.film.grain
        assert soft.stage.film.softness > 2 * sharp.stage.film.softness
        assert soft.stage.film.crf > sharp.stage.film.crf + 10
        assert replace(soft.stage, film=sharp.stage.film) == sharp.stage
    assert [t.stage for t in worn.performer] == [t.stage for t in rich.performer]
    assert [t.stage for t in worn.truth] == [t.stage for t in rich.truth]


def test_castings_follow_their_seed(casting: Casting) -> None:
    first, again = (build_casting("rare", PERFORMER, IDENTITY, seed=9) for _ in range(2))
    other = build_casting("rare", PERFORMER, IDENTITY, seed=10)
    for role in ("performer", "identity", "held_out", "truth"):
        takes = [getattr(each, role) for each in (first, again, other)]
        assert [t.to_dict() for t in takes[0]] == [t.to_dict() for t in takes[1]]
        assert [t.stage for t in takes[0]] != [t.stage for t in takes[2]]


def test_a_take_comes_back_from_json() -> None:
    take = build_casting("rich", PERFORMER, IDENTITY, seconds=10).performer[1]
    again = Take.from_dict(json.loads(json.dumps(take.to_dict())))
    assert (again.name, again.identity, again.stage) == (take.name, take.identity, take.stage)
    np.testing.assert_array_equal(again.performance.units, take.performance.units)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_shortest_footage_can_be_cast(scenario: str) -> None:
    casting = build_casting(scenario, PERFORMER, IDENTITY, seconds=SHORTEST, clips=3, held_out=1)
    assert casting.performer
    assert casting.identity
    assert len(casting.held_out) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scenario": "poor"}, "choose from rich"),
        ({"seconds": 1}, "seconds=1"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"held_out_seconds": 2}, "held_out_seconds=2"),
        ({"clips": 0}, "clips=0"),
        ({"held_out": 101}, "held_out=101"),
        ({"fps": 1000}, "fps=1000"),
    ],
)
def test_what_cannot_be_cast_is_named(settings: dict[str, object], said: str) -> None:
    scenario = settings.pop("scenario", "rich")
    with pytest.raises(UsageError, match=said):
        build_casting(scenario, PERFORMER, IDENTITY, **settings)  # type: ignore[arg-type]
