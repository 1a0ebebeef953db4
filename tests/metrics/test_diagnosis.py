"""Planted faults are found and rightly named, on drawn traces and on actors', and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swapper.metrics.diagnosis import (
    UNDETERMINED_BRIEF,
    UNDETERMINED_EMOTIONS,
    UNDETERMINED_JITTER,
    UNDETERMINED_UNITS,
    Ceiling,
    Diagnosis,
    Fault,
    clip_figures,
    diagnose,
)
from tests.metrics import plants
from tests.metrics.plants import Plant, Take

PLANTS: dict[str, tuple[Plant, set[Fault]]] = {
    "a perfect copy": (plants.copy, set()),
    "damping 0.6": (plants.damping, {Fault.DAMPED}),
    "white jitter 0.4": (plants.jittering(0.4), {Fault.JITTERY}),
    "white jitter 0.8": (plants.jittering(0.8), {Fault.JITTERY}),
    "jitter at 5 Hz": (plants.jittering(0.6, 5.0), {Fault.JITTERY}),
    "3 frames late": (plants.lagging(3), {Fault.LATE}),
    "2 frames early": (plants.lagging(-2), {Fault.EARLY}),
    "half a frame late": (plants.between_frames, set()),
    "shuffled in time": (plants.shuffling, {Fault.UNRELATED, Fault.OTHER_EMOTION}),
    "emotions shuffled": (plants.renaming, {Fault.OTHER_EMOTION}),
    "no micro-expressions": (plants.without_brief, {Fault.BRIEF_LOST}),
    "damping 0.6, jitter 0.8": (plants.damped_jitter, {Fault.DAMPED, Fault.JITTERY}),
    "damping 0.6, 3 frames late": (
        plants.both(plants.damping, plants.lagging(3)), {Fault.DAMPED, Fault.LATE},
    ),
    "jitter 0.5, 2 frames late": (
        plants.both(plants.lagging(2), plants.jittering(0.5)), {Fault.JITTERY, Fault.LATE},
    ),
    "a frozen face": (plants.freezing, {Fault.FROZEN}),
    "1.5 of everything": (plants.overdoing, {Fault.EXAGGERATED}),
}  # fmt: skip
TAKES = {"drawn": plants.drawn, "acted": plants.acted}
SHOTS = [(8.0, 25.0, 0.02), (8.0, 30.0, 0.04), (20.0, 25.0, 0.04), (20.0, 30.0, 0.02)]


def diagnosed(
    take: Take, plant: Plant, seed: int, noise: float, ceiling: Ceiling | None = None
) -> Diagnosis:
    found = clip_figures(**plants.readings(take, plant, seed, noise))
    return diagnose(found) if ceiling is None else diagnose(found, ceiling)


@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_named_and_nothing_else_is(kind: str, name: str) -> None:
    plant, wanted = PLANTS[name]
    for seed in range(3):
        for seconds, fps, noise in SHOTS:
            # In eight seconds an actor may make fewer than two that are not talk or blinks.
            if wanted == {Fault.BRIEF_LOST} and kind == "acted" and seconds < 20:
                continue
            take = TAKES[kind](seed, seconds, fps)
            found = diagnosed(take, plant, seed, noise)
            assert found.faults == wanted, (seed, seconds, fps, noise, found.summary)


def test_perfect_copies_are_seldom_accused() -> None:
    accused = [
        (kind, seed, found.summary)
        for kind, make in TAKES.items()
        for seed in range(100, 130)
        for noise in (0.02, 0.04)
        if (found := diagnosed(make(seed, 8.0, 25.0), plants.copy, seed, noise)).findings
    ]
    assert len(accused) <= 2, accused  # of 120


def test_jitter_does_not_pass_for_liveliness() -> None:
    for seed in range(3):
        take = plants.drawn(seed, 8.0, 25.0)
        made = plants.readings(take, plants.damped_jitter, seed, 0.02)
        spread = [np.asarray(made[side]).std() for side in ("swap", "performer")]
        assert spread[0] > 0.9 * spread[1]
        assert not diagnosed(take, plants.damped_jitter, seed, 0.02).expressive
        assert diagnosed(take, plants.copy, seed, 0.02).expressive


def test_a_filter_against_flicker_takes_what_is_brief() -> None:
    for seed in range(3):
        for make in TAKES.values():
            found = diagnosed(make(seed, 20.0, 25.0), plants.smoothing, seed, 0.02)
            assert found.faults == {Fault.BRIEF_LOST}, found.summary


def test_a_face_may_show_less_by_nature() -> None:
    take = plants.acted(0, 8.0, 25.0)
    found = diagnosed(take, plants.damping, 0, 0.02, Ceiling(gain=0.6))
    assert found.faults == set()


def test_a_reader_may_be_less_keen_on_another_face() -> None:
    """Allowance is made for weakness alone: too much stays too much."""
    take = plants.acted(0, 8.0, 25.0)
    keen = Ceiling(other_face_gain=0.7)
    assert diagnosed(take, plants.damping, 0, 0.02).faults == {Fault.DAMPED}
    assert diagnosed(take, plants.damping, 0, 0.02, keen).faults == set()
    assert diagnosed(take, plants.overdoing, 0, 0.02, keen).faults == {Fault.EXAGGERATED}
    assert diagnosed(take, plants.copy, 0, 0.02, keen).faults == set()


def test_frames_without_a_face_are_no_fault() -> None:
    take = plants.acted(1, 12.0, 25.0)
    made = plants.readings(take, plants.copy, 1, 0.02)
    for side, holes in (("swap", [10, 11, 90, *range(150, 180)]), ("performer", [40, 41, 91])):
        made[side][holes] = np.nan
    found = diagnose(clip_figures(**made))
    assert found.faults == set()
    assert UNDETERMINED_UNITS not in found.undetermined


def test_an_unreadable_unit_is_left_out() -> None:
    made = plants.readings(plants.drawn(0, 8.0, 25.0), plants.damping, 0, 0.02)
    made["swap"][:, 2] = np.nan
    found = clip_figures(**made)
    assert found.units.gain == pytest.approx(0.6, abs=0.03)
    assert diagnose(found).faults == {Fault.DAMPED}


def test_what_a_clip_cannot_tell_is_said_and_is_no_finding() -> None:
    still = np.full((200, 4), 0.2)
    found = diagnose(clip_figures(still, still, 25.0))
    assert found.findings == ()
    assert not found.expressive
    assert {UNDETERMINED_UNITS, UNDETERMINED_EMOTIONS, UNDETERMINED_BRIEF} <= set(
        found.undetermined
    )
    assert found.summary.startswith("Undetermined: ")
    short = plants.readings(plants.drawn(0, 8.0, 25.0), plants.damping, 0, 0.02)
    cut = {k: short[k][:40] for k in ("swap", "performer")}
    assert diagnose(clip_figures(fps=25.0, **cut)).findings == ()


def test_too_low_a_frame_rate_tells_of_strength_but_not_of_jitter() -> None:
    take = plants.acted(0, 20.0, 8.0)
    found = diagnosed(take, plants.damping, 0, 0.02)
    assert found.faults == {Fault.DAMPED}
    assert UNDETERMINED_JITTER in found.undetermined


def test_a_finding_says_how_much() -> None:
    words = diagnosed(plants.drawn(0, 8.0, 25.0), plants.lagging(3), 0, 0.02).summary
    assert words.startswith("The expression is late by 3.")
    assert "12" in words  # milliseconds
    fine = diagnosed(plants.drawn(0, 20.0, 25.0), plants.copy, 0, 0.02)
    assert fine.summary == "No faults found."
    assert fine.undetermined == ()


def test_a_ceiling_has_bounds() -> None:
    with pytest.raises(ValueError, match="ceiling"):
        Ceiling(gain=0.0)
    with pytest.raises(ValueError, match="ceiling"):
        replace(Ceiling(), correlation=1.2)
