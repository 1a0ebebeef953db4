"""``affect=emotieff``: EmotiEffLib's ``enet_b0_8_va_mtl``, recommended for real faces.

Eight classes, valence and arousal, by Andrey Savchenko (https://github.com/sb-ai-lab/EmotiEffLib).
His code is Apache-2.0; the weights were trained on AffectNet and VGGFace2, whose owners allow
research only, so swapper does not bundle them: it downloads them once that has been accepted.

**Not tested with the real file.** It was not available during development: the network, the names
and the harvest are tested on files of the same layout with random values, and no hash of the real
file is known. So swapper prints the hash of what it downloaded and continues when that has been
confirmed. The window imitates the loose boxes of his face detector, also untested. A wrong file can
give wrong readings, but runs no code (`swapper.estimators.harvest`).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from swapper.downloads import cache_folder, existing, fetched, is_kept, pinned, sha256_of
from swapper.errors import EstimatorError, UsageError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.efficientnet import EfficientNetB0
from swapper.estimators.harvest import harvest
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.weights_file import blank, fill, load_weights, save_weights

log = logging.getLogger(__name__)

LABELS: Final = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""AffectNet's eight in the network's order, by swapper's names."""
URL: Final = (
    "https://github.com/sb-ai-lab/EmotiEffLib/blob/main/models/affectnet_emotions/"
    "enet_b0_8_va_mtl.pt?raw=true"
)
LICENCE: Final = "research-only"
"""Required value of `affect.licence`."""
SIZE: Final = 224
_NETWORK: Final = "enet_b0_8_va_mtl"
_OPTION: Final = "affect.weights"


class EmotiEffNet(EfficientNetB0):
    """EfficientNet-B0 whose last two outputs are valence and arousal."""

    def __init__(self) -> None:
        super().__init__(len(LABELS) + 2)

    def forward(self, x: Tensor) -> AffectBatch:  # type: ignore[override]
        """Predict from (N, 3, 224, 224), normalised as ImageNet."""
        features, outputs = super().forward(x)
        # Linear in the original, and a little beyond 1 for extremes.
        valence, arousal = outputs[:, len(LABELS) :].clamp(-1, 1).unbind(1)
        return AffectBatch(features, outputs[:, : len(LABELS)], valence, arousal)


def view() -> Preprocess:
    """Forehead to chin and cheek to cheek, squeezed into a square as a detector's box is."""
    return Preprocess(
        Window(-66, -60, 66, 110), (SIZE, SIZE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


def load(
    weights: str | Path | None = None, licence: str | None = None, sha256: str | None = None
) -> Estimator:
    """Load the estimator with its weights.

    Args:
        weights: Path of ``enet_b0_8_va_mtl.pt``, which the user trusts; None downloads it.
        licence: ``research-only`` accepts the notice; needed once, then remembered.
        sha256: Confirms the hash of the file; needed once where it was downloaded.

    Raises:
        UsageError: The licence has not been accepted.
        EstimatorError: The weights are not available, not confirmed or not usable.
    """
    _accept(licence)
    path = _file(weights, sha256)
    digest = sha256_of(path)
    net = blank(EmotiEffNet)
    cached = cache_folder() / f"{digest[:12]}-{_NETWORK}.safetensors"
    metadata = {"network": _NETWORK, "sha256": digest}
    if not _loaded(net, cached, metadata):
        log.info("%s: sha256 %s, taking its tensors to %s", path, digest, cached)
        # A head of one layer may have been wrapped in a Sequential.
        tensors = {
            name.replace("classifier.0.", "classifier."): value
            for name, value in harvest(path).items()
        }
        fill(net, tensors, path, _NETWORK)
        save_weights(net, cached, metadata, torch.float32)
    return Estimator("emotieff", view(), net, labels=LABELS)


def is_available() -> bool:
    """Whether its licence was accepted, its file confirmed, and the file is in the cache."""
    accepted = _accepted()
    return accepted.get("licence") == LICENCE and is_kept(URL, accepted.get("sha256", ""))


def _accept(licence: str | None) -> None:
    accepted = _accepted()
    if licence is None and accepted.get("licence") == LICENCE:
        return
    if licence != LICENCE:
        raise UsageError(
            "affect=emotieff: its weights were trained on AffectNet and VGGFace2, whose owners "
            f"allow non-commercial research only: pass affect.licence={LICENCE} to accept that"
        )
    _remember(licence=licence)


def _file(weights: str | Path | None, sha256: str | None) -> Path:
    """Path of the weights, given or confirmed by the user."""
    if weights:
        path = existing(weights, _OPTION, EstimatorError)
        if sha256 and (actual := sha256_of(path)) != sha256.lower():
            raise EstimatorError(f"{path}: its sha256 is {actual}, not affect.sha256={sha256}")
        return path
    confirmed = sha256 or _accepted().get("sha256")
    if not confirmed:
        path = fetched(URL, _OPTION, EstimatorError)
        raise EstimatorError(
            f"{path}: fetched from {URL}, but swapper knows no hash to hold it to: if you trust "
            f"it, pass affect.sha256={sha256_of(path)}"
        )
    if len(confirmed) != 64 or not set(confirmed.lower()) <= set("0123456789abcdef"):
        raise UsageError(f"affect.sha256={confirmed[:80]}: must be 64 hex digits")
    path = pinned(URL, confirmed.lower(), _OPTION, EstimatorError)
    _remember(sha256=confirmed.lower())
    return path


def _accepted() -> dict[str, str]:
    """Licence and hash accepted on this machine."""
    try:
        entries = json.loads((cache_folder() / "emotieff.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in entries.items()} if isinstance(entries, dict) else {}


def _remember(**entries: str) -> None:
    path = cache_folder() / "emotieff.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps({**_accepted(), **entries}), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise EstimatorError(f"{path}: cannot be written ({error.strerror})") from error


def _loaded(net: torch.nn.Module, cached: Path, metadata: dict[str, str]) -> bool:
    """Load the network from the converted file in the cache, if that is valid."""
    if not cached.is_file():
        return False
    try:
        load_weights(net, cached, metadata)
    except EstimatorError as error:
        log.warning("%s: harvested anew", error)
        return False
    return True
