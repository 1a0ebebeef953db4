"""Parameter space of identities, and random sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from swapper.errors import UsageError
from swapper.head_renderer.units import NUM_UNITS, UNITS
from swapper.options.fields import build_checked, check_option, option, ranged

EYE_COLOURS: Final = ("dark", "brown", "hazel", "green", "blue", "grey")
HAIR_COLOURS: Final = ("black", "dark brown", "brown", "auburn", "red", "blond", "grey", "white")
HAIR_STYLES: Final = ("shaved", "buzz", "crop", "side part", "swept", "curly", "bob", "long", "bun")
GAIN: Final = (0.5, 1.3)
ASYMMETRY: Final = (-0.4, 0.4)


def _slider(meaning: str) -> Any:
    return ranged(0.0, -1.0, 1.0, meaning)


@dataclass(frozen=True)
class Identity:
    """Parameters of one actor, constant over all performances.

    Sliders run from -1 to 1 with the average adult at 0. `gain` and `asymmetry` scale the intended
    intensities per unit and side.

    Attributes:
        gain: (19,) factor of each unit, in the order of `UNITS`, each in [0.5, 1.3].
        asymmetry: (19,) in [-0.4, 0.4]; positive is stronger on the actor's left side.
        seed: Seed of pores, freckles, strands and other details.

    Raises:
        UsageError: If a field is out of its range.
    """

    name: str = "actor"
    face_width: float = _slider("narrow to broad")
    face_length: float = _slider("short to long below the eyes")
    forehead: float = _slider("low to high")
    brow_ridge: float = _slider("smooth to heavy")
    cheekbones: float = _slider("flat to prominent")
    cheeks: float = _slider("hollow to full")
    jaw_width: float = _slider("tapered to square")
    chin_length: float = _slider("short to long")
    chin_forward: float = _slider("receding to jutting")
    eye_size: float = _slider("small to large")
    eye_spacing: float = _slider("close to wide")
    eye_tilt: float = _slider("outer corners low to high")
    eye_depth: float = _slider("shallow to deep-set")
    lid_hood: float = _slider("open fold to hooded")
    brow_height: float = _slider("low to high")
    brow_thickness: float = _slider("thin to thick")
    brow_arch: float = _slider("straight to arched")
    nose_length: float = _slider("short to long")
    nose_width: float = _slider("narrow to broad")
    nose_size: float = _slider("flat to projecting")
    nose_bridge: float = _slider("scooped to humped")
    nose_tip: float = _slider("drooping to upturned")
    mouth_width: float = _slider("narrow to wide")
    upper_lip: float = _slider("thin to full")
    lower_lip: float = _slider("thin to full")
    mouth_height: float = _slider("near the nose to near the chin")
    ear_size: float = _slider("small to large")
    ear_flare: float = _slider("flat to sticking out")
    neck_width: float = _slider("slender to thick")
    melanin: float = ranged(0.3, 0.0, 1.0, "skin from very fair to very dark")
    redness: float = ranged(0.4, 0.0, 1.0, "skin from sallow to ruddy")
    freckles: float = ranged(0.0, 0.0, 1.0, "none to many")
    age: float = ranged(0.3, 0.0, 1.0, "lines and folds at rest, about 20 to 70 years")
    stubble: float = ranged(0.0, 0.0, 1.0, "shaven or none to a short beard")
    lip_colour: float = ranged(0.4, 0.0, 1.0, "as pale as the skin to deep")
    lashes: float = ranged(0.5, 0.0, 1.0, "short to long")
    eye_colour: str = option("brown", "colour of the iris", choices=EYE_COLOURS)
    hair_colour: str = option("brown", "colour of hair, brows and beard", choices=HAIR_COLOURS)
    hair_style: str = option("crop", "cut of the hair", choices=HAIR_STYLES)
    gain: tuple[float, ...] = (1.0,) * NUM_UNITS
    asymmetry: tuple[float, ...] = (0.0,) * NUM_UNITS
    seed: int = 0

    def __post_init__(self) -> None:
        check_option(self, "identity.")
        for field, (least, most) in (("gain", GAIN), ("asymmetry", ASYMMETRY)):
            values = getattr(self, field)
            if len(values) != NUM_UNITS:
                raise UsageError(f"identity.{field}: needs {NUM_UNITS} numbers, got {len(values)}")
            for unit, value in zip(UNITS, values, strict=True):
                if not least <= value <= most:
                    raise UsageError(
                        f"identity.{field}[AU{unit}]={value!r}: must be a number from {least:g} to "
                        f"{most:g}"
                    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Identity:
        """The inverse of `to_dict`; absent fields take their defaults."""
        fields = dict(values)
        for field in ("gain", "asymmetry"):
            if field in fields:
                fields[field] = tuple(fields[field])
        return build_checked(cls, fields, "identity")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def sample_identity(seed: int) -> Identity:
    """Sample an identity; deterministic in the seed.

    Sliders follow a normal distribution (standard deviation 0.5) clipped to ±1. One latent number,
    masculinity, correlates brow ridge, jaw, brows, lips, stubble and hair; the colours of skin,
    hair and eyes are sampled jointly.
    """
    rng = np.random.default_rng([seed, 0xFACE])
    masculine = float(rng.uniform(-1, 1))
    traits = {
        "brow_ridge": 0.65, "jaw_width": 0.6, "face_width": 0.2, "chin_length": 0.3,
        "brow_thickness": 0.5, "brow_height": -0.35, "brow_arch": -0.4, "eye_size": -0.45,
        "nose_size": 0.4, "nose_width": 0.3, "upper_lip": -0.45, "lower_lip": -0.4,
        "neck_width": 0.8, "cheeks": -0.2, "face_length": 0.2,
    }  # fmt: skip
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Identity):
        if field.metadata.get("least") == -1.0:
            middle = traits.get(field.name, 0.0) * masculine
            values[field.name] = round(float(np.clip(rng.normal(middle, 0.45), -1, 1)), 3)
    values |= _colours(rng)
    values["age"] = round(float(rng.beta(1.3, 1.8)), 3)
    freckles = float(max(0.0, rng.normal(-0.1, 0.5)) * (values["melanin"] < 0.45))
    values["freckles"] = min(round(freckles, 3), 1.0)
    values["stubble"] = round(float(rng.uniform(0, 1) ** 1.5) if masculine > 0.15 else 0.0, 3)
    values["lip_colour"] = round(float(np.clip(rng.normal(0.45 - 0.25 * masculine, 0.2), 0, 1)), 3)
    values["lashes"] = round(float(np.clip(rng.normal(0.5 - 0.3 * masculine, 0.15), 0, 1)), 3)
    values["hair_style"] = _style(rng, masculine)
    if values["age"] > 0.62 and rng.random() < 0.7:
        values["hair_colour"] = "grey" if values["age"] < 0.8 else "white"
    values["gain"] = tuple(np.round(np.clip(rng.normal(0.95, 0.16, NUM_UNITS), *GAIN), 3).tolist())
    lean = np.clip(rng.normal(0, 0.1, NUM_UNITS), *ASYMMETRY)
    values["asymmetry"] = tuple(np.round(lean, 3).tolist())
    return Identity(name=f"actor{seed}", seed=seed, **values)


def _colours(rng: np.random.Generator) -> dict[str, Any]:
    tones = [rng.uniform(0.03, 0.3), rng.uniform(0.25, 0.6), rng.uniform(0.55, 0.97)]
    melanin = float(rng.choice(tones, p=[0.45, 0.3, 0.25]))
    if melanin < 0.3:
        hair = rng.choice(HAIR_COLOURS[:6], p=[0.08, 0.22, 0.27, 0.13, 0.1, 0.2])
        eyes = rng.choice(EYE_COLOURS, p=[0.05, 0.25, 0.15, 0.15, 0.27, 0.13])
    elif melanin < 0.55:
        hair = rng.choice(HAIR_COLOURS[:4], p=[0.45, 0.35, 0.17, 0.03])
        eyes = rng.choice(EYE_COLOURS, p=[0.35, 0.45, 0.12, 0.05, 0.02, 0.01])
    else:
        hair = rng.choice(HAIR_COLOURS[:2], p=[0.8, 0.2])
        eyes = rng.choice(EYE_COLOURS[:2], p=[0.75, 0.25])
    return {
        "melanin": round(melanin, 3),
        "redness": round(float(rng.uniform(0.1, 0.8)), 3),
        "hair_colour": str(hair),
        "eye_colour": str(eyes),
    }


def _style(rng: np.random.Generator, masculine: float) -> str:
    short = np.array([0.12, 0.16, 0.24, 0.18, 0.16, 0.14, 0.0, 0.0, 0.0])
    full = np.array([0.0, 0.02, 0.06, 0.08, 0.1, 0.16, 0.22, 0.22, 0.14])
    share = np.clip(0.5 + 0.9 * masculine, 0.0, 1.0)
    odds = share * short + (1 - share) * full
    return str(rng.choice(HAIR_STYLES, p=odds / odds.sum()))
