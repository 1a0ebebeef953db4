"""Public names of video reading and writing."""

from __future__ import annotations

from swapper.media.codecs import CODECS, PRESETS, SUFFIXES
from swapper.media.video_reader import Frame, VideoInfo, VideoReader
from swapper.media.video_writer import VideoWriter

__all__ = ["CODECS", "PRESETS", "SUFFIXES", "Frame", "VideoInfo", "VideoReader", "VideoWriter"]
