"""From what was watched to a verdict: what is allowed for, and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.evaluation.clip_readings import ClipReadings, Traces
from swapper.evaluation.scorecard import GEOMETRY, OTHER_FACE_GAIN, PairReadings, diagnose_pair
from swapper.metrics.diagnosis import UNDETERMINED_BRIEF_ON_OTHER_FACE, Fault
from tests.metrics import plants

FRAMES, FPS = 300, 25.0


def watched(units: NDArray[np.float64], blendshapes: bool) -> ClipReadings:
    traces = Traces(tuple(f"unit{n}" for n in range(units.shape[1])), units)
    return ClipReadings(
        video=Path("clip.mp4"),
        fps=FPS,
        size=(64, 64),
        seconds=np.arange(len(units)) / FPS,
        landmarks=np.zeros((len(units), 68, 2)),
        pose=np.zeros((len(units), 3)),
        blendshapes=traces if blendshapes else None,
        probabilities=None,
        circumplex=None,
        units=None if blendshapes else traces,
    )


def sides(strength: float, blendshapes: bool) -> PairReadings:
    made = plants.readings(plants.drawn(0, 12.0, FPS), plants.copy, 0, 0.01)
    performer, swap = made["performer"], made["swap"]
    rest = np.median(swap, axis=0)
    return PairReadings(
        watched(rest + strength * (swap - rest), blendshapes),
        watched(performer, blendshapes),
        watched(performer, blendshapes),
    )


@pytest.mark.parametrize(
    ("strength", "blendshapes", "damped"),
    [(0.73, True, False), (0.6, True, True), (0.85, False, False), (0.7, False, True)],
)
def test_a_reader_less_keen_on_some_faces_accuses_less(
    strength: float, blendshapes: bool, damped: bool
) -> None:
    """0.73 of the strength is damped, but a perfect copy may read so to MediaPipe."""
    told = sides(strength, blendshapes)
    _, diagnosis = diagnose_pair(told)
    assert (Fault.DAMPED in diagnosis.faults) == damped
    # The exact answer is on the same face, so nothing is allowed for.
    _, strict = diagnose_pair(replace(told, has_truth=True))
    assert (Fault.DAMPED in strict.faults) == (strength < 0.78)
    _, alone = diagnose_pair(replace(told, ceiling=None))
    assert (Fault.DAMPED in alone.faults) == damped


@pytest.mark.parametrize("blendshapes", [True, False])
def test_what_is_brief_is_told_beside_the_exact_answer_alone(blendshapes: bool) -> None:
    """Another face shows brief movements at 0.3; beside the performer they would all seem gone."""
    take = plants.drawn(0, 20.0, FPS)
    random = np.random.default_rng(5)

    def face(units: NDArray[np.float64], brief: float) -> ClipReadings:
        shown = take.slow + brief * (units - take.slow)
        return watched(shown + random.normal(0, 0.01, shown.shape), blendshapes)

    performer, answer = face(take.units, 1.0), face(take.units, 0.3)
    for swap, gone in ((face(take.units, 0.3), False), (face(take.slow, 0.3), True)):
        _, beside_answer = diagnose_pair(PairReadings(swap, performer, answer, has_truth=True))
        assert beside_answer.faults == ({Fault.BRIEF_LOST} if gone else set())
        _, without = diagnose_pair(PairReadings(swap, performer, performer))
        assert without.faults == set()
        assert UNDETERMINED_BRIEF_ON_OTHER_FACE in without.undetermined
        assert UNDETERMINED_BRIEF_ON_OTHER_FACE not in beside_answer.undetermined


def test_every_reader_of_expression_has_its_allowance() -> None:
    readers = {sides(1.0, blendshapes).expression().instrument for blendshapes in (True, False)}
    assert readers | {GEOMETRY} == set(OTHER_FACE_GAIN)


def test_a_damped_self_swap_excuses_nothing() -> None:
    told = sides(0.6, True)
    _, diagnosis = diagnose_pair(replace(told, self_swap=told.swap))
    assert Fault.DAMPED in diagnosis.faults
