"""``affect=emotieff``: EmotiEffLib's ``enet_b0_8_va_mtl``, an EfficientNet-B0 on AffectNet.

Eight classes, valence and arousal, by Andrey Savchenko (https://github.com/sb-ai-lab/EmotiEffLib).
His code is Apache-2.0; the weights grew from AffectNet and VGGFace2, whose owners allow research
only, so swapper brings none: ``scripts/convert_weights.py emotieff`` fetches and converts them when
that has been accepted, once.

**Never tried with the real file**, which could not be had where this was written: tested on files
of the same layout with random values. The window is set after the loose boxes of his face detector,
unproven too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from swapper.errors import EstimatorError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.estimators.weights_file import load_converted

LABELS: Final = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""AffectNet's eight in the network's order, by swapper's names."""
SIZE: Final = 224
NETWORK: Final = "enet_b0_8_va_mtl"
METADATA: Final = {"network": NETWORK}


class EmotiEffNet(nn.Module):
    """timm's ``tf_efficientnet_b0``, whose last two outputs are valence and arousal.

    Raises:
        EstimatorError: timm is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise EstimatorError(
                "affect=emotieff: needs timm: pip install 'swapper[emotieff]'"
            ) from error
        self.net: Any = timm.create_model("tf_efficientnet_b0", num_classes=len(LABELS) + 2)

    def forward(self, x: Tensor) -> AffectBatch:
        """Read (N, 3, 224, 224), normalised as ImageNet."""
        features = self.net.forward_head(self.net.forward_features(x), pre_logits=True)
        outputs = self.net.get_classifier()(features)
        # Linear in the original, and a little beyond 1 for extremes.
        valence, arousal = outputs[:, len(LABELS) :].clamp(-1, 1).unbind(1)
        return AffectBatch(features, outputs[:, : len(LABELS)], valence, arousal)


def view() -> Preprocess:
    """Forehead to chin and cheek to cheek, squeezed into a square as a detector's box is."""
    return Preprocess(
        Window(-66, -60, 66, 110), (SIZE, SIZE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


def load(weights: str | Path | None = None) -> Estimator:
    """The estimator with its weights.

    Args:
        weights: safetensors that ``scripts/convert_weights.py emotieff`` made; None takes those in
            ``$SWAPPER_HOME/weights``.

    Raises:
        EstimatorError: The weights are missing or cannot be used, or timm is not installed.
    """
    net = load_converted(EmotiEffNet, "emotieff", weights, METADATA)
    return Estimator("emotieff", view(), net, labels=LABELS)
