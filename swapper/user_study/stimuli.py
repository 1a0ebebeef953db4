"""Collect the clips of a study: find them, check that they match, assign neutral names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapper.errors import MediaError, StudyError
from swapper.files import one_line, sha256_of
from swapper.media.codecs import SUFFIXES
from swapper.media.container import open_container, video_stream
from swapper.media.video_reader import VideoReader
from swapper.user_study.trials import KINDS, Limits, Study, StudyClip, neutral_name, system_name

PERFORMER: Final = "performer"
_LAYOUT: Final = "lay it out as CLIP/performer.mp4 and CLIP/SYSTEM.mp4"
_BROWSERS: Final = {".mp4": ("h264", "av1", "vp9"), ".webm": ("vp8", "vp9", "av1")}
_MAX_FRAME_DIFFERENCE: Final = 2
"""Frames by which the clips of a trial may differ in length; encoders may drop or repeat one."""


@dataclass(frozen=True)
class _Footage:
    """Properties of a clip that a participant could notice besides its picture."""

    path: Path
    sha256: str
    size: tuple[int, int]
    seconds: float
    rate: float


def collect_study(folder: Path, limits: Limits) -> tuple[Study, dict[str, Path]]:
    """Build a study of the clips in a folder.

    Args:
        folder: Has a folder for each clip, with ``performer.mp4`` and a file for each system.
        limits: Of one participant.

    Returns:
        The study, and the file behind each neutral name.

    Raises:
        StudyError: Something is missing, or would reveal the systems; names it.
        MediaError: A file is not a video that can be read.
    """
    if not folder.is_dir():
        raise StudyError(f"clips={folder}: no such folder; {_LAYOUT}")
    files_by_clip = {
        label.name: _clip_files(label)
        for label in sorted(folder.iterdir())
        if label.is_dir() and not label.name.startswith(".")
    }
    if not files_by_clip:
        raise StudyError(f"clips={folder}: holds no folder of clips; {_LAYOUT}")
    kinds = {path.suffix.lower() for files in files_by_clip.values() for path in files.values()}
    if len(kinds) > 1:
        raise StudyError(f"clips={folder}: holds .mp4 and .webm, which would reveal the systems; "
                         "convert them to one of the two")  # fmt: skip
    clips: dict[str, StudyClip] = {}
    sources: dict[str, Path] = {}
    first_paths: dict[str, Path] = {}
    for name, files in files_by_clip.items():
        footage = {label: _footage(path) for label, path in files.items()}
        _check_alike(footage)
        for label, shot in footage.items():
            # Several clips may share a performer's file; a swap belongs to one clip.
            if shot.sha256 in first_paths and not (
                label == PERFORMER == first_paths[shot.sha256].stem
            ):
                raise StudyError(f"{shot.path}: is the same file as {first_paths[shot.sha256]}; "
                                 "remove one")  # fmt: skip
            first_paths[shot.sha256] = shot.path
        performer = footage.pop(PERFORMER)
        neutral = {label: neutral_name("clip", shot.sha256) for label, shot in footage.items()}
        own = neutral_name("performer", performer.sha256)
        check = neutral_name("clip", performer.sha256)
        clips[name] = StudyClip(own, check, neutral)
        sources |= {neutral[label]: shot.path for label, shot in footage.items()}
        sources |= {own: performer.path, check: performer.path}
    return Study(clips, limits, kinds.pop()), dict(sorted(sources.items()))


def _clip_files(folder: Path) -> dict[str, Path]:
    """The videos of one clip by name; a StudyError if a name, format or number is not usable."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in (*SUFFIXES, *KINDS):
            continue
        if suffix not in KINDS:
            raise StudyError(f"{path}: browsers do not play {suffix}; convert it to .mp4 or .webm")
        if path.stem in files:
            raise StudyError(f"{path}: {files[path.stem].name} exists too; remove one")
        files[path.stem] = path
    try:
        for name in (folder.name, *files):
            system_name(name)
    except ValueError as error:
        raise StudyError(f"{one_line(folder)}: {error}; rename it") from error
    if PERFORMER not in files:
        raise StudyError(f"{folder}: holds no performer.mp4; {_LAYOUT}")
    if len(files) < 3:
        raise StudyError(f"{folder}: holds fewer than two swaps; {_LAYOUT}")
    return files


def _footage(path: Path) -> _Footage:
    """Decode a clip to its end; a MediaError or StudyError if that, or a browser, cannot."""
    with open_container(path) as container:
        codec = str(video_stream(container, path).codec_context.codec.canonical_name)
    reader = VideoReader(path)
    info = reader.info
    kind = path.suffix.lower()
    if codec not in _BROWSERS[kind] or (codec == "h264" and info.pix_fmt not in
                                        ("yuv420p", "yuvj420p")):  # fmt: skip
        raise StudyError(f"{path}: browsers do not play {codec} of {info.pix_fmt} in {kind}; "
                         "convert it to h264 of 8 bits, yuv420p")  # fmt: skip
    frames = sum(1 for _ in reader)
    if reader.stopped is not None:
        raise MediaError(f"{path}: is truncated at {reader.stopped:.1f} s; copy it again")
    rate = float(info.rate)
    return _Footage(path, sha256_of(path), (info.width, info.height), frames / rate, rate)


def _check_alike(footage: dict[str, _Footage]) -> None:
    """Raise a StudyError unless all clips of a trial have one size and one length."""
    performer = footage[PERFORMER]
    for shot in footage.values():
        if shot.size != performer.size:
            sizes = ["x".join(map(str, each.size)) for each in (shot, performer)]
            raise StudyError(f"{shot.path}: is {sizes[0]}, {performer.path.name} is {sizes[1]}; "
                             "scale it to the same")  # fmt: skip
        difference = abs(shot.seconds - performer.seconds)
        if difference > (_MAX_FRAME_DIFFERENCE + 0.5) / performer.rate:
            raise StudyError(
                f"{shot.path}: lasts {shot.seconds:.2f} s, {performer.path.name} "
                f"{performer.seconds:.2f} s; cut them to the same length"
            )
