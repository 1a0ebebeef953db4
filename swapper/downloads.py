"""Download third-party weights once into a cache and verify them by sha256."""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from swapper.errors import SwapperError
from swapper.files import sha256_of

FACE_LANDMARKER_URL: Final = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
FACE_LANDMARKER_SHA256: Final = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_TIMEOUT_S: Final = 30.0
_MAX_BYTES: Final = 1024**3
_CHUNK: Final = 1 << 20


def cache_folder() -> Path:
    """Return the cache folder: ``$SWAPPER_HOME/weights`` or ``~/.cache/swapper/weights``."""
    home = os.environ.get("SWAPPER_HOME")
    root = Path(home).expanduser() if home else Path.home() / ".cache" / "swapper"
    return root / "weights"


def download_cached(url: str, sha256: str, option: str, error: type[SwapperError]) -> Path:
    """Return a file with the given sha256, from the cache or else from the network.

    Args:
        url: Where it is published, https.
        sha256: Of its bytes, hex.
        option: The option that takes a path instead, named in errors.
        error: Error type to raise if the download fails or the hash differs.

    Raises:
        SwapperError: As `error` says.
        ValueError: The address is not https.
    """
    path = _cached_path(url, sha256)
    if path.is_file():
        if sha256_of(path) == sha256:
            return path
        path.unlink()
    return download(url, option, error, sha256)


def face_landmarker(path: str | Path | None, option: str, error: type[SwapperError]) -> Path:
    """Return the path of MediaPipe's ``face_landmarker.task``, for aligner and estimator alike.

    Args:
        path: Of the file; None takes ``$SWAPPER_HOME/weights/face_landmarker.task``, or else the
            pinned file from the cache or the network.
        option: The option that `path` comes from, named in errors.
        error: Error type to raise.

    Raises:
        SwapperError: As `error` says: there is no such file, or it cannot be downloaded.
    """
    placed = cache_folder() / "face_landmarker.task"
    if path:
        return require_file(path, option, error)
    if placed.is_file():
        return placed
    return download_cached(FACE_LANDMARKER_URL, FACE_LANDMARKER_SHA256, option, error)


def require_file(path: str | Path, option: str, error: type[SwapperError]) -> Path:
    """Return the file that an option names.

    Raises:
        SwapperError: There is no such file; of type `error`.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise error(f"{file}: no such file: pass {option}=PATH of the weights")
    return file


def _cached_path(url: str, sha256: str) -> Path:
    return cache_folder() / f"{sha256[:12]}-{Path(urlsplit(url).path).name}"


def download(url: str, option: str, error: type[SwapperError], sha256: str | None = None) -> Path:
    """Download a file into the cache, where `download_cached` will find it.

    Args:
        url: Where it is published, https.
        option: The option that takes a path instead, named in errors.
        error: Error type to raise if the download fails or the hash differs.
        sha256: Of its bytes, hex; None if it is unknown.

    Raises:
        SwapperError: As `error` says.
        ValueError: The address is not https.
    """
    if urlsplit(url).scheme != "https":
        raise ValueError(f"weights are fetched by https only, not {url}")
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return _download(url, sha256, option, error)
    except (OSError, http.client.HTTPException) as failure:
        reason = str(getattr(failure, "reason", failure)).splitlines()[0]
        name = Path(urlsplit(url).path).name
        raise error(
            f"{name}: could not be fetched ({reason}): download {url} and pass {option}=PATH"
        ) from failure


def _download(url: str, sha256: str | None, option: str, error: type[SwapperError]) -> Path:
    # A sibling file, so that a killed or second download never leaves half a file under the name.
    with tempfile.NamedTemporaryFile(
        dir=cache_folder(), prefix=".partial-", delete=False
    ) as partial:
        temporary = Path(partial.name)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (https above)
                if urlsplit(answer.url).scheme != "https":
                    raise urllib.error.URLError("redirected away from https")
                size = 0
                while chunk := answer.read(_CHUNK):
                    size += len(chunk)
                    if size > _MAX_BYTES:
                        raise urllib.error.URLError("larger than 1 GiB")
                    partial.write(chunk)
            partial.flush()
            os.fsync(partial.fileno())
            digest = sha256_of(temporary)
            if sha256 not in (None, digest):
                raise error(
                    f"{url}: holds an unknown file (sha256 differs): "
                    f"pass {option}=PATH of a file you trust"
                )
            return temporary.replace(_cached_path(url, digest))
        finally:
            temporary.unlink(missing_ok=True)
