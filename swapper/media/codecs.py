"""Codecs, their containers, and encoder options."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av

from swapper.errors import MediaError
from swapper.media.colorspace import Layout, layout_of


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """A video codec.

    Attributes:
        encoder: FFmpeg's name.
        suffixes: Containers that players support it in.
        max_crf: Largest crf; -1 if it takes none.
        even: Whether sides must be divisible by the chroma subsampling.
        alpha: Whether players support its transparency.
    """

    encoder: str
    suffixes: tuple[str, ...]
    max_crf: int
    even: bool = False
    alpha: bool = False


CODECS = {
    "h264": VideoCodec("libx264", (".mp4", ".mov", ".mkv"), 51, even=True),
    "hevc": VideoCodec("libx265", (".mp4", ".mov", ".mkv"), 51, even=True),
    "vp9": VideoCodec("libvpx-vp9", (".webm", ".mkv", ".mp4"), 63),
    "av1": VideoCodec("libsvtav1", (".mp4", ".mkv", ".webm"), 63),
    "prores": VideoCodec("prores_ks", (".mov", ".mkv"), -1, alpha=True),
    "ffv1": VideoCodec("ffv1", (".mkv",), -1, alpha=True),
}
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
PRESETS = (
    "ultrafast superfast veryfast faster fast medium slow slower veryslow".split()  # noqa: SIM905
)
# SVT-AV1's presets run from 13 (fast) to 0.
_AV1_PRESETS = dict(zip(PRESETS, (12, 11, 10, 9, 8, 7, 5, 4, 3), strict=True))
_VP9_SPEEDS = dict(zip(PRESETS, (8, 7, 6, 5, 4, 3, 2, 1, 0), strict=True))


def choose_codec(path: Path, name: str, bit_depth: int, *, alpha: bool = False) -> str:
    """Choose the codec of an output file.

    Args:
        path: Output; its suffix names the container.
        name: A key of `CODECS`, or "auto": H.264, HEVC above 8 bits; in WebM VP9, AV1 above 8.
        bit_depth: Of the footage.
        alpha: Whether it has an alpha channel, which "auto" keeps in .mov (ProRes) and .mkv (FFV1).

    Raises:
        MediaError: Unknown suffix, or one that cannot hold the codec.
        ValueError: Unknown codec.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MediaError(f"{path}: unknown suffix {suffix!r}; use one of {', '.join(SUFFIXES)}")
    if name == "auto" and alpha and suffix in (".mov", ".mkv"):
        return "prores" if suffix == ".mov" else "ffv1"
    if name == "auto":
        standard, deep = ("vp9", "av1") if suffix == ".webm" else ("h264", "hevc")
        return deep if bit_depth > 8 else standard
    if name not in CODECS:
        raise ValueError(f"unknown codec {name!r}; choose auto or one of {', '.join(CODECS)}")
    if suffix not in CODECS[name].suffixes:
        legal = ", ".join(CODECS[name].suffixes)
        raise MediaError(f"{path}: {name} does not go into {suffix}; use {legal}, or codec auto")
    return name


def encoder_options(path: Path, name: str, crf: int, preset: str, layout: Layout) -> dict[str, str]:
    """Return encoder options of codec `name`; crf 0 is lossless where the encoder can.

    Raises:
        MediaError: crf is out of the codec's range.
        ValueError: Unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    most = CODECS[name].max_crf
    if most >= 0 and not 0 <= crf <= most:
        raise MediaError(f"{path}: crf {crf} is out of range; {name} takes 0 to {most}")
    lossless = crf == 0
    if name == "h264":
        return {"preset": preset, **({"qp": "0"} if lossless else {"crf": str(crf)})}
    if name == "hevc":
        quality = "lossless=1:" if lossless else ""
        return {"preset": preset, "crf": str(crf), "x265-params": f"{quality}log-level=none"}
    if name == "vp9":
        speed = {"deadline": "good", "cpu-used": str(min(5, _VP9_SPEEDS[preset]))}
        quality_of = {"lossless": "1"} if lossless else {"crf": str(crf), "b": "0"}
        return {"row-mt": "1", **speed, **quality_of}
    if name == "av1":
        return {"preset": str(_AV1_PRESETS[preset]), "crf": str(max(1, crf))}
    if name == "prores":
        best = 4 if layout.chroma_shift == (0, 0) else 3
        return {"profile": str(best), "vendor": "apl0"}
    return {"level": "3", "slicecrc": "1"}


@lru_cache(maxsize=64)
def choose_pixel_format(name: str, pix_fmt: str, width: int, height: int) -> str:
    """Choose the format of codec `name` that loses the least of the footage's `pix_fmt`.

    Odd sizes (coded, in pixels) exclude some subsamplings.
    """
    codec = CODECS[name]

    def is_legal(layout: Layout) -> bool:
        across, down = (1 << shift for shift in layout.chroma_shift)
        return (
            (codec.alpha or not layout.alpha)
            # Players support RGB in FFV1 only.
            and (name == "ffv1" or layout.family != "rgb")
            and not (codec.even and (width % across or height % down))
        )

    offered = [each.name for each in av.codec.Codec(codec.encoder, "w").video_formats or ()]
    legal = [each for each in offered if _is_paintable(each) and is_legal(layout_of(each))]
    assert legal, f"{codec.encoder} offers no planar format"
    return min(legal, key=lambda each: _loss(layout_of(pix_fmt), layout_of(each)))


def _is_paintable(pix_fmt: str) -> bool:
    """Return whether a format is planar, integer, little-endian, and not a full-range yuvj one."""
    described = av.video.format.VideoFormat(pix_fmt, 64, 64)
    parts = [part.plane for part in described.components]
    layout = layout_of(pix_fmt)
    return (
        len(set(parts)) == len(parts)
        and not described.is_big_endian
        and not pix_fmt.startswith("yuvj")
        and "f16" not in pix_fmt
        and "f32" not in pix_fmt
        and layout.bits >= 8
    )


def _loss(have: Layout, offer: Layout) -> float:
    """Return the cost of a format: lost bits weigh most, then colour, alpha, wasted bits."""
    loss = 0.0
    if offer.family != have.family:
        loss += {"rgb": 500.0, "yuv": 10.0, "grey": 5000.0}[offer.family]
    loss += 100.0 * max(0, have.bits - offer.bits) + max(0, offer.bits - have.bits)
    for had, gets in zip(have.chroma_shift, offer.chroma_shift, strict=True):
        loss += 50.0 * max(0, gets - had) + 2.0 * max(0, had - gets)
    if have.alpha != offer.alpha:
        loss += 30.0 if have.alpha else 3.0
    return loss
