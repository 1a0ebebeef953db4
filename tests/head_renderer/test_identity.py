from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.head_renderer.identity import Identity, sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.head_renderer.units import INDEX, LEFT, NUM_UNITS, RIGHT, rest, unit_values


def test_the_same_seed_gives_the_same_person() -> None:
    assert sample_identity(5) == sample_identity(5)
    assert sample_identity(5) != sample_identity(6)
    assert sample_stage(5) == sample_stage(5)


def test_every_sample_is_legal_and_the_space_is_wide() -> None:
    people = [sample_identity(seed) for seed in range(200)]
    spread = np.std([who.melanin for who in people]), np.std([who.jaw_width for who in people])
    assert min(spread) > 0.2
    assert len({who.hair_style for who in people}) == 9
    assert len({who.eye_colour for who in people}) == 6


def test_identities_and_stages_survive_json() -> None:
    who = sample_identity(8)
    assert Identity.from_dict(json.loads(json.dumps(who.to_dict()))) == who
    stage = sample_stage(8)
    assert Stage.from_dict(json.loads(json.dumps(stage.to_dict()))) == stage


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"jaw_width": 1.5}, r"identity\.jaw_width=1\.5: must be between -1 and 1"),
        ({"melanin": float("nan")}, r"identity\.melanin=nan: must be between 0 and 1"),
        ({"eye_colour": "pink"}, r"identity\.eye_colour=pink: choose from dark, brown"),
        ({"gain": (1.0,) * 3}, r"identity\.gain: needs 19 numbers, got 3"),
        ({"gain": (2.0,) * 19}, r"identity\.gain\[AU1\]=2\.0: must be a number from 0\.5 to 1\.3"),
        ({"jaw_widht": 0.5}, r"identity\.jaw_widht: no such field.*did you mean jaw_width"),
        ({"nose_size": "big"}, r"identity\.nose_size=big: must be a number"),
    ],
)
def test_bad_identities_name_field_and_range(values: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        Identity.from_dict(values)
    assert "\n" not in str(caught.value)


def test_bad_stages_and_moments_name_field_and_range() -> None:
    with pytest.raises(UsageError, match=r"stage\.focal=5: .*24 and 200"):
        Stage(focal=5)
    with pytest.raises(UsageError, match=r"film\.grain=0\.5: .*0 and 0\.2"):
        Stage.from_dict({"film": {"grain": 0.5}})
    with pytest.raises(UsageError, match=r"head_state\.pose=.*from -90 to 90"):
        HeadState(pose=(100.0, 0.0, 0.0))
    with pytest.raises(UsageError, match=r"head_state\.units:"):
        HeadState(units=np.full((2, NUM_UNITS), 1.5, np.float32))
    with pytest.raises(ValueError, match=r"units must be \(2, 19\)"):
        HeadState(units=np.zeros((19,), np.float32))


def test_units_by_name() -> None:
    units = unit_values(au12=0.5, au1_left=1.0)
    assert units[LEFT, INDEX[12]] == units[RIGHT, INDEX[12]] == 0.5
    assert units[LEFT, INDEX[1]] == 1
    assert units[RIGHT, INDEX[1]] == 0
    with pytest.raises(ValueError, match="au3 is no action unit"):
        unit_values(au3=1.0)
    assert not rest().any()


def test_every_slider_says_what_it_means() -> None:
    for field in dataclasses.fields(Identity):
        if field.name not in ("name", "gain", "asymmetry", "seed"):
            assert field.metadata["help"], field.name
    assert dataclasses.fields(FilmStock)
