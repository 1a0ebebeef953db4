"""The drawings: gaps stay gaps, long clips stay small, names do not cover each other."""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapper.report.charts import outline, timeline
from swapper.report.content import Emotions, Floats, Group, Measure, UnitAgreement, normalised_score
from swapper.report.labels import Dot, place_labels
from swapper.report.markup import DASH, TEMPLATES, clock, number, shorten
from swapper.report.palette import colour_classes
from swapper.report.planes import affect_path, following_plane, is_outside
from swapper.report.thinning import finite_runs, thinned

NAN = float("nan")
_tables: Any = TEMPLATES.get_template("tables.html.jinja").module
bar_pair, measure_tables, quantity, scale = (
    _tables.bar_pair, _tables.measure_tables, _tables.quantity, _tables.scale
)  # fmt: skip


def even(frames: int, classes: int = 2) -> Floats:
    return np.full((frames, classes), 1.0 / classes)


def points(data: str) -> list[tuple[int, int]]:
    """Of a path as `outline` writes it."""
    numbers = [int(each) for each in re.findall(r"-?\d+", data)]
    x, y, found = 0, 0, []
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        x, y = x + dx, y + dy
        found.append((x, y))
    return found


# --- thinning -------------------------------------------------------------------------------------


def test_short_traces_stay_as_they_are() -> None:
    values = np.arange(12.0).reshape(6, 2)
    assert np.array_equal(thinned(values, 6), values)


@given(st.integers(1, 60), st.integers(1, 20))
def test_long_traces_become_means(frames: int, columns: int) -> None:
    values = np.random.default_rng(frames).random((frames, 3))
    found = thinned(values, columns)
    assert len(found) == min(frames, columns)
    cuts = np.arange(len(found) + 1) * frames // len(found)
    wanted = [values[a:b].mean(axis=0) for a, b in itertools.pairwise(cuts)]
    assert np.allclose(found, wanted)


def test_a_column_is_unknown_only_where_all_its_frames_are() -> None:
    values = np.ones((100, 2))
    values[20:40] = NAN
    values[41, 1] = NAN
    found = thinned(values, 10)
    assert np.isnan(found[2:4]).all()
    assert np.array_equal(found[[0, 1, 4, 5, 6, 7, 8, 9]], np.ones((8, 2)))


def test_stretches_are_what_lies_between_gaps() -> None:
    values = np.zeros((7, 2))
    values[2, 0] = values[6, 1] = NAN
    assert list(finite_runs(values)) == [slice(0, 2), slice(3, 6)]
    assert list(finite_runs(np.full((3, 1), NAN))) == []


# --- the timeline ---------------------------------------------------------------------------------


def bands(drawn: str, kind: str) -> list[list[tuple[int, int]]]:
    """Outlines of one emotion in the performer's half."""
    half = drawn.split("</svg>")[0]
    return [points(each) for each in re.findall(rf'class="{kind}" d="([^"]*)z"', half)]


def test_a_lost_face_is_a_hole_and_not_a_zero() -> None:
    performer = even(40)
    performer[10:20] = NAN
    emotions = Emotions(("happy", "neutral"), performer, even(40))
    drawn = timeline(emotions, np.arange(40) / 25, [])
    found = bands(drawn, "e-happiness")
    assert len(found) == 2
    first, second = ([x for x, _ in each] for each in found)
    assert max(first) < 3200 * 11 / 39
    assert min(second) > 3200 * 19 / 39
    assert len(bands(timeline(Emotions(("happy", "neutral"), even(40), even(40)),
                              np.arange(40) / 25, []), "e-happiness")) == 1  # fmt: skip


def test_bands_are_as_high_as_their_sums_and_mirrored() -> None:
    traces = np.tile([0.2, 0.3, 0.5], (10, 1))
    emotions = Emotions(("neutral", "happy", "sad"), traces, traces)
    performer, swap = timeline(emotions, np.arange(10.0), []).split("</svg>")[:2]

    def heights(half: str, start: int) -> dict[str, int]:
        found = re.findall(r'class="(e-\w+)" d="([^"]*)z"', half)
        return {kind: max(abs(y - start) for _, y in points(data)) for kind, data in found}

    # Neutral lies outermost, wherever the reader puts it.
    assert heights(performer, 250) == {"e-happiness": 75, "e-sadness": 200, "e-neutral": 250}
    assert heights(swap, 0) == heights(performer, 250)


def test_frames_stand_at_their_times() -> None:
    seconds = np.array([0.0, 0.1, 0.2, 10.0])
    rising = np.array([[0.0], [0.5], [0.0], [1.0]])
    emotions = Emotions(("happy",), rising, rising)
    outline_of = bands(timeline(emotions, seconds, []), "e-happiness")[0]
    assert (32, 125) in outline_of  # a hundredth of the width, half the height


@pytest.mark.parametrize("frames", [0, 1, 2, 5000])
def test_a_timeline_of_any_length(frames: int) -> None:
    emotions = Emotions(("happy", "neutral"), even(frames), even(frames))
    drawn = timeline(emotions, np.arange(frames) / 25, [("a", 0.0)] if frames else [])
    ElementTree.fromstring(drawn)
    assert "nan" not in drawn.lower().replace("nano", "")
    assert len(drawn) < 40_000
    if frames == 5000:
        assert max(map(len, bands(drawn, "e-happiness"))) <= 800 + 4


def test_letters_that_would_touch_stand_together() -> None:
    emotions = Emotions(("happy",), even(100, 1), even(100, 1))
    drawn = timeline(emotions, np.arange(100.0), [("b", 50.5), ("a", 50.0), ("c", 80.0)])
    assert re.findall(r'class="letter"[^>]*>(\w+)<', drawn) == ["ab", "c"]


def test_the_timeline_is_told_in_words() -> None:
    performer = np.tile([0.9, 0.1], (4, 1))
    drawn = timeline(
        Emotions(("happy", "sad"), performer, np.full((4, 2), NAN)), np.arange(4.0), []
    )
    assert "Most frequent emotions of the performer, by share of frames: happy 100%." in drawn
    assert "No readings of the swap." in drawn


def test_an_outline_can_be_followed() -> None:
    assert points(outline([0, 4, 8, 9], [7, 3, 3, 12])) == [(0, 7), (4, 3), (8, 3), (9, 12)]


# --- colours --------------------------------------------------------------------------------------


def test_an_emotion_has_its_colour_whatever_its_reader_calls_it() -> None:
    assert colour_classes(["Happy", "joy", "happiness"]) == ("e-happiness",) * 3
    strange = colour_classes(["pride", "sad", "envy", '"><script>'])
    assert strange == ("e-other-0", "e-sadness", "e-other-1", "e-other-2")


# --- labels and planes ----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(1, 12), st.integers(1, 20)),
        max_size=25,
    )
)
def test_no_name_covers_a_name_or_a_point(places: list[tuple[float, float, float, int]]) -> None:
    dots = [Dot(x, y, radius, "n" * length) for x, y, radius, length in places]
    labels = place_labels(dots, (0, 0, 300, 300), 12)
    boxes = [each.box for each in labels]
    for one, other in itertools.combinations(boxes, 2):
        assert not _meet(one, other)
    for label in labels:
        assert label.box[0] >= 0
        assert label.box[1] >= 0
        assert label.box[2] <= 300
        assert label.box[3] <= 300
    for box in boxes:
        covered = [d for d in dots if _meet(box, (d.x, d.y, d.x, d.y))]
        assert not covered


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_point_alone_is_named_at_its_right() -> None:
    (label,) = place_labels([Dot(50, 50, 5, "jawOpen")], (0, 0, 300, 300), 12)
    assert label.anchor == "start"
    assert label.x > 55


def test_units_beyond_the_axes_are_arrows_at_the_edge() -> None:
    inside = UnitAgreement("jawOpen", 0.5, 0.9, 1.0)
    beyond = UnitAgreement("tongueOut", 3.0, 0.4, 0.1)
    drawn = following_plane([inside, beyond, UnitAgreement("x", NAN, 0.3, 0.5)])
    assert not is_outside(inside)
    assert is_outside(beyond)
    assert drawn.count('<circle class="dot"') == 1
    assert drawn.count('<path class="dot"') == 1
    assert "translate(426 " in drawn
    assert "tongueOut: β 3.00, ρ 0.40" in drawn


def test_size_follows_motion() -> None:
    drawn = following_plane([
        UnitAgreement("a", 0.2, 0.2, 4.0), UnitAgreement("b", 0.8, 0.8, 1.0)
    ])  # fmt: skip
    large, small = (float(r) for r in re.findall(r'class="dot"[^>]* r="([\d.]+)"', drawn))
    assert large - 2.5 == pytest.approx(2 * (small - 2.5))


def test_the_way_through_affect_breaks_where_the_face_is_lost() -> None:
    way = np.linspace(-0.5, 0.5, 100)[:, None] * [1.0, 0.5]
    whole = affect_path(way, way)
    way[40:60] = NAN
    torn = affect_path(way, way)
    ElementTree.fromstring(torn)
    assert "nan" not in torn
    ends = r'<polyline[^>]*points="([^ "]+)[^"]* ([^ "]+)"'
    assert len(re.findall(ends, torn)) <= len(re.findall(ends, whole)) + 2
    # Each piece starts where the one before ends, but for one gap on each side.
    joints = [a[1] == b[0] for a, b in itertools.pairwise(re.findall(ends, torn))]
    assert joints.count(False) == 3


def test_a_small_way_is_drawn_large_and_says_so() -> None:
    small, large = np.full((5, 2), 0.2), np.full((5, 2), 0.9)
    assert ">0.5</text>" in affect_path(small, small)
    assert ">0.25</text>" in affect_path(small, small)
    assert ">1</text>" in affect_path(small, large)


# --- bars and scales ------------------------------------------------------------------------------


def test_bars_are_as_long_as_their_values() -> None:
    assert re.findall(r'width="([\d.]+)%" height="9"', bar_pair(0.5, 0.25, 0.5)) == ["100", "50"]
    assert bar_pair(NAN, 0.2, 0.5).count("<rect") == 1


@pytest.mark.parametrize(
    ("measure", "place"),
    [
        (Measure("m", "M", 0.5, 0.0, 1.0), 0.5),
        (Measure("m", "M", 0.3, 0.5, 0.1, "lower"), 0.5),
        (Measure("m", "M", 1.5, 0.0, 1.0, "one"), 1.5),
        (Measure("m", "M", -0.1, 0.0, 1.0), -0.1),
        (Measure("m", "M", 0.4, 1.0, 0.98, "one"), NAN),  # floor and ceiling alike
        (Measure("m", "M", 0.4, 0.9, 0.2, "higher"), NAN),  # a ceiling below its floor
        (Measure("m", "M", 0.4, NAN, 1.0), NAN),
        (Measure("m", "M", NAN, 0.0, 1.0), NAN),
        (Measure("m", "M", 0.0, 0.0, 0.0), NAN),
    ],
)
def test_where_a_value_stands(measure: Measure, place: float) -> None:
    assert normalised_score(measure) == pytest.approx(place, nan_ok=True)
    drawn = scale(measure)
    assert (drawn == "") == bool(np.isnan(place))
    if drawn:
        ElementTree.fromstring(drawn)


def test_far_beyond_the_ceiling_is_an_arrow() -> None:
    assert "polygon" in scale(Measure("m", "M", 4.0, 0.0, 1.0, "one"))
    assert 'x="99%"' in scale(Measure("m", "M", 4.0, 0.0, 1.0, "one"))
    assert 'x="1%"' in scale(Measure("m", "M", -4.0, 0.0, 1.0))
    assert "polygon" not in scale(Measure("m", "M", 0.9, 0.0, 1.0))


def test_a_self_swap_stands_beside_the_swap() -> None:
    measure = Measure("m", "M", 0.4, 0.0, 1.0, self_swap=0.5)
    drawn = scale(measure)
    ElementTree.fromstring(drawn)
    assert 'x="45%"' in drawn  # half way from the floor, at 14 %, to the ceiling, at 76 %
    page = measure_tables([Group("Emotion", "judge", (measure, Measure("n", "N", 0.3)))])
    assert page.count("self-swap 0.50") == 1


# --- words and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0"), (-0.0, "0"), (0.583, "0.58"), (-0.0121, "−0.01"), (0.0042, "0.004"),
     (12.34, "12.3"), (250.4, "250"), (1e-7, "1.0e−07"), (NAN, DASH), (float("inf"), DASH)],
)  # fmt: skip
def test_numbers_are_short(value: float, told: str) -> None:
    assert number(value) == told


def test_units_follow_their_numbers() -> None:
    assert quantity(1.2, "°") == "1.20°"
    assert quantity(1.2, "<b>") == '1.20 <span class="unit">&lt;b&gt;</span>'
    assert quantity(NAN, "frames") == DASH
    assert quantity(-0.001, "frames") == '0 <span class="unit">frames</span>'
    assert quantity(-0.001, "") == "−0.001"


def test_moments_are_told_by_the_clock() -> None:
    assert clock(7.25) == "7.2\xa0s"
    assert clock(59.99) == "1:00.0"
    assert clock(67.2) == "1:07.2"
    assert clock(NAN) == DASH


def test_what_is_escaped_can_be_encoded_and_is_what_it_seems() -> None:
    escape = TEMPLATES.from_string("{{ text }}").render
    assert escape(text="a<b>&\"'") == "a&lt;b&gt;&amp;&#34;&#39;"
    assert escape(text="\udcff.mp4").encode() == b"?.mp4"
    assert escape(text="\u202egpj.exe\x00") == "\ufffdgpj.exe\ufffd"
    assert shorten("abcdef", 4) == "abc…"
