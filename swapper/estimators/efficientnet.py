"""EfficientNet-B0 as TensorFlow trained it, under timm's names (``tf_efficientnet_b0``).

torchvision's and timm's own variant takes the same weights without a word and answers wrongly: the
norms' epsilon is 1e-3 here, and strided convolutions pad as TensorFlow does.

Source: Tan and Le, "EfficientNet", 2019, arXiv:1905.11946; names after
https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from swapper.estimators.same_padding import pad_same

FEATURES: Final = 1280
# Expansion, kernel, stride, channels, repeats.
_STAGES: Final = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class ConvSame(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride), rounded up."""
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]))


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole picture shows.

    Args:
        channels: In and out.
        squeezed: Between.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        squeezed = F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        answer: Tensor = x * self.conv_expand(squeezed).sigmoid()
        return answer


class Separable(nn.Module):
    """The first stage's block: depthwise, then pointwise."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = ConvSame(inputs, inputs, kernel, groups=inputs)
        self.bn1 = _norm(inputs)
        self.se = SqueezeExcite(inputs, inputs // 4)
        self.conv_pw = ConvSame(inputs, outputs, 1)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        answer: Tensor = self.bn2(self.conv_pw(self.se(F.silu(self.bn1(self.conv_dw(x))))))
        return answer


class Inverted(nn.Module):
    """The other stages' block: widened, filtered, narrowed; around it where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.around = stride == 1 and inputs == outputs
        self.conv_pw = ConvSame(inputs, wide, 1)
        self.bn1 = _norm(wide)
        self.conv_dw = ConvSame(wide, wide, kernel, stride, groups=wide)
        self.bn2 = _norm(wide)
        self.se = SqueezeExcite(wide, inputs // 4)
        self.conv_pwl = ConvSame(wide, outputs, 1)
        self.bn3 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride), rounded up."""
        deep = F.silu(self.bn1(self.conv_pw(x)))
        deep = self.se(F.silu(self.bn2(self.conv_dw(deep))))
        answer: Tensor = self.bn3(self.conv_pwl(deep))
        return answer + x if self.around else answer


class EfficientNetB0(nn.Module):
    """From a picture to features and outputs.

    Args:
        outputs: Of the last linear layer.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv_stem = ConvSame(3, 32, 3, 2)
        self.bn1 = _norm(32)
        stages, inputs = [], 32
        for expansion, kernel, stride, channels, repeats in _STAGES:
            blocks = []
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(
                    Separable(inputs, channels, kernel)
                    if expansion == 1
                    else Inverted(inputs, channels, kernel, step, expansion)
                )
                inputs = channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = ConvSame(inputs, FEATURES, 1)
        self.bn2 = _norm(FEATURES)
        self.classifier = nn.Linear(FEATURES, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 224, 224), normalised, to (N, 1280) and (N, outputs)."""
        x = self.blocks(F.silu(self.bn1(self.conv_stem(x))))
        features = F.silu(self.bn2(self.conv_head(x))).mean((2, 3))
        return features, self.classifier(features)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
