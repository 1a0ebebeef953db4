"""The colours can be told apart by colour-blind eyes, and words can be read."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from swapper.report import palette

STYLE = (Path(palette.__file__).parent / "report.css").read_text(encoding="utf-8")
DARK = STYLE.index("prefers-color-scheme: dark")
# Full dichromats: Machado, Oliveira and Fernandes, 2009.
EYES = {
    "most": np.eye(3),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
}  # fmt: skip
EMOTIONS = ("happiness", "surprise", "sadness", "fear", "anger", "disgust", "contempt")


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def seen(colour: str, eyes: np.ndarray) -> np.ndarray:
    """CIELAB of what such eyes see."""
    light = np.clip(eyes @ linear(colour), 0, 1)
    shown = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(shown[None, None]))[0, 0]


def variable(name: str, dark: bool) -> str:
    found = re.search(rf"--{name}: (#\w{{6}})", STYLE[DARK:] if dark else STYLE)
    assert found is not None
    return found.group(1)


def band(name: str) -> str:
    found = re.search(rf"\.e-{name} {{ fill: (#\w{{6}})", STYLE)
    assert found is not None
    return found.group(1)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 counts it."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(linear(each) @ weights) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("dark", [False, True])
def test_emotions_stay_apart(eyes: str, dark: bool) -> None:
    shown = [*map(band, EMOTIONS), variable("neutral", dark)]
    for one, other in itertools.combinations(shown, 2):
        apart = deltaE_ciede2000(seen(one, EYES[eyes]), seen(other, EYES[eyes]))
        assert apart > 12, (one, other)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("dark", [False, True])
def test_performer_and_swap_stay_apart(eyes: str, dark: bool) -> None:
    one, other = (seen(variable(name, dark), EYES[eyes]) for name in ("performer", "swap"))
    assert deltaE_ciede2000(one, other) > 25


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read(dark: bool) -> None:
    paper = variable("paper", dark)
    for name in ("ink", "quiet", "performer", "swap", "truth"):
        assert contrast(variable(name, dark), paper) >= 4.5, name
    for name in EMOTIONS:
        assert contrast("#111111", band(name)) >= 4.4, name
