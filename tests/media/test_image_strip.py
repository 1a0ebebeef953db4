from __future__ import annotations

import numpy as np
import pytest

from swapper.media.image_strip import draw_strip


def flat(value: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_every_picture_has_its_place() -> None:
    rows = [("performer", [flat(10), flat(20, 99)]), ("swap", [flat(30), flat(40, 7)])]
    sheet = draw_strip(rows, ["anger 1.2 s", "happy 3.0 s"], tile=50)
    values, counts = np.unique(sheet[..., 0], return_counts=True)
    areas = dict(zip(values.tolist(), counts.tolist(), strict=True))
    where = {value: np.argwhere(sheet[..., 0] == value).mean(axis=0) for value in (10, 20, 30, 40)}
    assert all(areas[value] >= 50 * 50 for value in where)
    assert where[10][0] == pytest.approx(where[20][0], abs=1)
    assert where[10][1] == pytest.approx(where[30][1], abs=1)
    assert where[20][1] > where[10][1] + 50
    assert where[30][0] > where[10][0] + 50


def test_labels_and_captions_are_written() -> None:
    bare = draw_strip([("", [flat(99)])], [""])
    named = draw_strip([("", [flat(99)])], ["anger"])
    assert (bare != named).any()
    assert (draw_strip([("truth", [flat(99)])], [""])[..., 0] < 90).any()


def test_rows_must_fit_their_captions() -> None:
    with pytest.raises(ValueError, match="each row needs 2"):
        draw_strip([("swap", [flat(1)])], ["one", "two"])
    with pytest.raises(ValueError, match="at least one"):
        draw_strip([], [])
