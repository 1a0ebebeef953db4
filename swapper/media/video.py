"""Video in and out: the names that other rooms use."""

from __future__ import annotations

from swapper.media.codecs import CODECS, PRESETS, SUFFIXES
from swapper.media.reader import Frame, VideoInfo, VideoReader
from swapper.media.writer import VideoWriter

__all__ = ["CODECS", "PRESETS", "SUFFIXES", "Frame", "VideoInfo", "VideoReader", "VideoWriter"]
