"""Opening of untrusted video files, and detection of truncated ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from swapper.errors import MediaError

MAX_PIXELS = 16384 * 8192
"""Largest frame that is decoded; a malicious header may claim any size."""

# Playlists may refer to other files and hosts, and FFmpeg renders text files as video; only formats
# that contain the footage themselves are allowed.
_DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,gif,ogg,nut,ivf,dv,yuv4mpegpipe,"
    "h264,hevc,av1,obu,m4v,mjpeg,wav,aiff,mp3,aac,flac,ac3,w64"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_VIDEO = "pass a video such as MP4, MOV, MKV or WebM"


def open_container(path: Path) -> InputContainer:
    """Open a local media file.

    Raises:
        MediaError: Missing, a folder, empty, or not a known container.
    """
    if path.is_dir():
        raise MediaError(f"{path}: is a folder; {_VIDEO}")
    if not path.exists():
        raise MediaError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise MediaError(f"{path}: not a regular file; {_VIDEO}")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        return av.open(f"file:{path}", options=dict(_OPTIONS), metadata_errors="replace")
    except av.error.PermissionError as error:
        raise MediaError(f"{path}: may not be read; change its permissions") from error
    except (av.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path}: not a video that can be read, or it has lost its end; {_VIDEO}, "
            "or copy it again"
        ) from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the video stream of a file, ignoring cover art.

    Raises:
        MediaError: There is none, it has no decoder, or it is too large.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        holds = "only sound" if container.streams.audio else "no video stream"
        raise MediaError(f"{path}: holds {holds}; {_VIDEO}")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{path}: no decoder for its codec here; convert it to H.264 first")
    if context.width * context.height > MAX_PIXELS:
        raise MediaError(
            f"{path}: claims {context.width}x{context.height} pixels, more than {MAX_PIXELS}; "
            "scale it down first"
        )
    return stream


def timecode_of(container: InputContainer) -> str:
    """Return a clip's timecode, of the container or any of its tracks; or nothing."""
    places = [container.metadata, *(stream.metadata for stream in container.streams)]
    return next((each["timecode"] for each in places if each.get("timecode")), "")


def is_cut(path: Path) -> bool:
    """Return whether an MP4/MOV, Matroska/WebM or AVI is shorter than its headers claim."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        stream.seek(0)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _matroska_end(stream) > size
        if head[:4] == b"RIFF" and len(head) == 12:
            claimed = int(struct.unpack("<I", head[4:8])[0])
            return claimed != 0xFFFFFFFF and 8 + claimed > size + 1
        return _boxes_cut(stream, size)


def _boxes_cut(stream: BinaryIO, size: int) -> bool:
    """Return whether a top-level box (ISO 14496-12) extends past the end."""
    position = 0
    while position + 8 <= size:
        stream.seek(position)
        head = stream.read(16)
        length, kind = int(struct.unpack(">I", head[:4])[0]), head[4:8]
        if length == 1 and len(head) == 16:
            length = int(struct.unpack(">Q", head[8:])[0])
        if length < 8:  # 0 reaches to the end of the file; anything else is no box
            return False
        if position + length > size:
            return kind in (b"mdat", b"moof", b"moov")
        position += length
    return False


def _matroska_end(stream: BinaryIO) -> int:
    """Return the end of EBML header and Segment in bytes; 0 if unknown."""
    end = 0
    for identity in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        stream.seek(end)
        if stream.read(4) != identity:
            return 0
        first = stream.read(1)
        if not first or first == b"\x00":
            return 0
        extra = 8 - first[0].bit_length()
        raw = bytes([first[0] & (0x7F >> extra)]) + stream.read(extra)
        length = int.from_bytes(raw, "big")
        if length == 2 ** (7 * (extra + 1)) - 1:  # "unknown", as live streams write it
            return 0
        end = stream.tell() + length
    return end
