"""Options that verbs hold as groups, such as ``blend.erode`` and ``affect.valence``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swapper.options.fields import option


@dataclass
class BlendOptions:
    """How a swap is blended into the frame."""

    mask: str = option(
        "product",
        "the model's mask, the landmarks' hull, or their product",
        choices=("product", "model", "landmarks"),
    )
    erode: float = option(0.02, "shrink the mask, share of the crop's side", least=0, most=0.5)
    feather: float = option(0.06, "soften its edge, share of the crop's side", least=0, most=0.5)
    color: str = option(
        "mkl",
        "match the colours of skin to the frame's: covariance (mkl) or deviations (lab)",
        choices=("none", "lab", "mkl"),
    )
    exclude_hair: bool = option(True, "leave the identity's hair out of forehead and temples")
    cover_brows: bool = option(True, "fill what shows of the performer's brows with skin")


@dataclass
class CodecOptions:
    """How a video is written."""

    name: str = option(
        "auto",
        "auto keeps bit depth: h264, hevc for 10 bits, vp9 in webm",
        choices=("auto", "h264", "hevc", "vp9", "av1", "prores", "ffv1"),
    )
    crf: int = option(16, "quality; lower is better and larger", least=0, most=63)
    preset: str = option(
        "medium",
        "speed of x264 and x265",
        choices=(
            "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
            "veryslow",
        ),
    )  # fmt: skip


@dataclass
class RegionOptions:
    """How strongly each region of the face follows the performer; 0: neutral."""

    brows: float = option(1.0, "scale of the performer's deviation from neutral", least=0, most=2)
    eyes: float = option(1.0, "likewise, lids and gaze", least=0, most=2)
    cheeks: float = option(1.0, "likewise; needs aligner=mediapipe", least=0, most=2)
    lips: float = option(1.0, "likewise", least=0, most=2)
    jaw: float = option(1.0, "likewise", least=0, most=2)


@dataclass
class AffectOptions:
    """How the performer's affect conditions the decoder."""

    guidance_scale: float = option(
        1.0, "0: no affect code, 1: as trained, above 1: extrapolated", least=0, most=1.5
    )
    relative: float = option(
        1.0, "1: relative to the performer's neutral; 0: absolute", least=0, most=1
    )
    performer: str = option(
        "", "identity of the model that performs; empty: estimate the neutral from the clip"
    )
    concepts: dict[str, float] = option(
        {}, "amount of each concept to add, such as {tired: 0.5}", least=-1.5, most=1.5
    )
    concept_folder: str = option("concepts", "folder of the concepts")
    force: bool = option(False, "also accept rejected concepts")
    valence: float = option(0.0, "how much more pleasant the face looks", least=-1, most=1)
    arousal: float = option(0.0, "how much more excited the face looks", least=-1, most=1)
    regions: RegionOptions = field(default_factory=RegionOptions)


@dataclass
class FilmOptions:
    """Grain, lens and compression of an actor's picture."""

    grain: Any = option(None, "standard deviation of the grain, of full scale, 0 to 0.2")
    softness: Any = option(None, "sigma of the lens blur, of the picture's side, 0 to 0.02")
    shutter: Any = option(None, "share of the frame that the shutter stays open, 0 to 1")
    vignette: Any = option(None, "darkening of the corners, 0 to 1")
    crf: Any = option(None, "H.264's rate factor, 0 to 51")


@dataclass
class StageOptions:
    """An actor's camera and light; options not given are sampled from the seed."""

    focal: Any = option(None, "focal length in mm, 24 to 200")
    framing: Any = option(None, "head's height, of the picture's side, 0.3 to 0.95")
    camera_height: Any = option(None, "degrees by which the camera looks down, -30 to 30")
    distortion: Any = option(None, "radial distortion at the picture's edge, -0.2 to 0.2")
    key_azimuth: Any = option(None, "degrees of the key light to the picture's right, -90 to 90")
    key_elevation: Any = option(None, "degrees of the key light above the eyes, -20 to 80")
    key_strength: Any = option(None, "0 to 3; 1 exposes fair skin well")
    fill_strength: Any = option(None, "light from the side opposite the key, 0 to 2")
    rim_strength: Any = option(None, "light from behind, 0 to 3")
    ambient: Any = option(None, "light from everywhere, 0 to 1")
    warmth: Any = option(None, "key from cold to warm, -1 to 1")
    exposure: Any = option(None, "stops, -2 to 2")
    backdrop_hue: Any = option(None, "0 to 1")
    backdrop_light: Any = option(None, "0 to 1")
    seed: Any = option(None, "of the grain and the backdrop")
    film: FilmOptions = field(default_factory=FilmOptions)
