"""Schedule of a participant's questions (order, left and right), a function of their seed.

The page computes it in the browser, and answers are validated against the schedule computed here,
so both must agree exactly: `pages/study.js` has the same functions under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
SEEDS = 2**32


@dataclass(frozen=True)
class Question:
    """One question of a schedule.

    Attributes:
        trial: Id of the trial.
        swapped: Whether the trial's second clip is on the left.
        repeat: Whether it repeats an earlier question with left and right exchanged.
    """

    trial: str
    swapped: bool
    repeat: bool = False


def schedule(
    seed: int, pairs: Sequence[str], checks: Sequence[str], limits: tuple[int, int, int]
) -> list[Question]:
    """Draw the questions of the participant with this seed.

    Args:
        seed: 0 to 2**32 - 1.
        pairs: Ids of the trials between two swaps.
        checks: Ids of the trials that have the performer's own clip on one side.
        limits: Most pairs, checks and repeats; repeats are also limited to the pairs in the first
            half.

    Returns:
        The questions in order; at least one lies between a trial and its repeat.
    """
    most_pairs, most_checks, most_repeats = limits
    draw = _below(seed)
    chosen = _shuffled(pairs, draw)[:most_pairs]
    chosen_checks = _shuffled(checks, draw)[:most_checks]
    compared = set(chosen)
    questions = [Question(each, draw(2) == 1) for each in _shuffled(chosen + chosen_checks, draw)]
    half = len(questions) // 2
    repeated = [each for each in questions[:half] if each.trial in compared][:most_repeats]
    for each in repeated:
        at = half + 1 + draw(len(questions) - half)
        questions.insert(at, Question(each.trial, not each.swapped, repeat=True))
    return questions


def _shuffled(items: Sequence[Item], draw: Callable[[int], int]) -> list[Item]:
    """Fisher-Yates shuffle, from the end."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = draw(last + 1)
        result[last], result[other] = result[other], result[last]
    return result


def _below(seed: int) -> Callable[[int], int]:
    """Return a generator of integers below its argument: mulberry32, 32 bits of state."""
    state = seed % SEEDS

    def draw(many: int) -> int:
        nonlocal state
        state = (state + 0x6D2B79F5) % SEEDS
        mixed = (state ^ (state >> 15)) * (state | 1) % SEEDS
        mixed ^= (mixed + (mixed ^ (mixed >> 7)) * (mixed | 61)) % SEEDS
        return (mixed ^ (mixed >> 14)) * many >> 32

    return draw
