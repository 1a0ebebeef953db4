"""Scene parameters: camera, light, backdrop and film."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from swapper.options.fields import build_checked, check_option, ranged


@dataclass(frozen=True)
class FilmStock:
    """Effects of lens, sensor and compression. All zero gives the plain rendering.

    Raises:
        UsageError: If a field is out of its range.
    """

    grain: float = ranged(0.0, 0.0, 0.2, "standard deviation of grain, of full scale")
    softness: float = ranged(0.0, 0.0, 0.02, "sigma of the lens blur, of the picture's side")
    shutter: float = ranged(0.0, 0.0, 1.0, "share of the frame for which the shutter stays open")
    vignette: float = ranged(0.15, 0.0, 1.0, "darkening of the corners")
    crf: int = ranged(14, 0, 51, "H.264's constant rate factor")

    def __post_init__(self) -> None:
        check_option(self, "film.")


@dataclass(frozen=True)
class Stage:
    """Camera, three-point light and backdrop. Shared by a performance and its ground truth.

    Angles of lights are relative to the actor: azimuth > 0 is to the image's right, elevation > 0
    above the eyes. Colours are linear RGB factors.

    Raises:
        UsageError: If a field is out of its range.
    """

    focal: float = ranged(85.0, 24.0, 200.0, "focal length in mm on 36 mm of picture width")
    framing: float = ranged(0.62, 0.3, 0.95, "head's height, of the picture's side")
    camera_height: float = ranged(0.0, -30.0, 30.0, "degrees by which the camera looks down")
    distortion: float = ranged(0.0, -0.2, 0.2, "radial distortion k1 at the picture's edge")
    key_azimuth: float = ranged(35.0, -90.0, 90.0, "degrees")
    key_elevation: float = ranged(35.0, -20.0, 80.0, "degrees")
    key_strength: float = ranged(1.0, 0.0, 3.0, "1 exposes fair skin well")
    fill_strength: float = ranged(0.35, 0.0, 2.0, "light from the side opposite the key")
    rim_strength: float = ranged(0.6, 0.0, 3.0, "light from behind")
    ambient: float = ranged(0.25, 0.0, 1.0, "light from everywhere")
    warmth: float = ranged(0.0, -1.0, 1.0, "key from cold to warm; the fill goes the other way")
    exposure: float = ranged(0.0, -2.0, 2.0, "stops")
    backdrop_hue: float = ranged(0.6, 0.0, 1.0, "hue of the backdrop")
    backdrop_light: float = ranged(0.3, 0.0, 1.0, "brightness of the backdrop")
    seed: int = 0
    film: FilmStock = field(default_factory=FilmStock)

    def __post_init__(self) -> None:
        check_option(self, "stage.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stage:
        """The inverse of `to_dict`; absent fields take their defaults."""
        fields = dict(values)
        if isinstance(fields.get("film"), Mapping):
            fields["film"] = build_checked(FilmStock, fields["film"], "film")
        return build_checked(cls, fields, "stage")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def sample_stage(seed: int, film: FilmStock | None = None) -> Stage:
    """Sample a camera and light as in interviews and dramas; deterministic in the seed."""
    rng = np.random.default_rng([seed, 0x57A6E])
    side = 1.0 if rng.random() < 0.5 else -1.0
    return Stage(
        focal=round(float(rng.uniform(50, 120)), 1),
        framing=round(float(rng.uniform(0.58, 0.72)), 3),
        camera_height=round(float(rng.normal(0, 4)), 2),
        key_azimuth=round(side * float(rng.uniform(10, 60)), 1),
        key_elevation=round(float(rng.uniform(15, 50)), 1),
        key_strength=round(float(rng.uniform(0.8, 1.15)), 3),
        fill_strength=round(float(rng.uniform(0.2, 0.5)), 3),
        rim_strength=round(float(rng.uniform(0.2, 1.0)), 3),
        ambient=round(float(rng.uniform(0.18, 0.35)), 3),
        warmth=round(float(rng.uniform(-0.6, 0.7)), 3),
        exposure=round(float(rng.normal(0, 0.15)), 3),
        backdrop_hue=round(float(rng.uniform(0, 1)), 3),
        backdrop_light=round(float(rng.uniform(0.08, 0.6)), 3),
        seed=seed,
        film=film or FilmStock(grain=0.012, softness=0.0015, shutter=0.4),
    )
