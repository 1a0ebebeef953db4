"""Augmentation: affine for input and target; warp, colour gain and degradation of the input.

Numbers of the affine and the warp follow the field's habit (DeepFaceLab's sample processor:
rotation 10 degrees, scale about 0.87 to 1.15, shift 5 %; interior nodes of a grid moved by a normal
cut at 2.5 deviations, which is 0.24 of a cell; the grid 2, 4 or 8 cells wide).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.options.fields import check_range

_MAX_RATIO = 2.5
_CUT = 2.5
_MAX_CELLS = 32


@dataclass(frozen=True, slots=True, eq=False)
class AugmentParams:
    """Augmentation parameters of one sample; see `swapper.kernels.warp.warp_pair`.

    Attributes:
        faces_from_target: (2, 3) float32.
        grid: (G, G, 2) float32, (dx, dy) in target pixels.
        gain: (3, 2) float32, scale and shift of each colour on [0, 1].
    """

    faces_from_target: NDArray[np.float32]
    grid: NDArray[np.float32]
    gain: NDArray[np.float32]


class Augment:
    """Draws augmentations; with every strength at 0 a face stays exactly as it is.

    Args:
        rotation: Largest turn in degrees, input and target alike.
        scale: Largest zoom: the face's size changes by a factor between ``1 / (1 + scale)`` and
            ``1 + scale``.
        shift: Largest move along each axis, as a share of the side.
        flip: Chance of mirroring. 0 by default: faces are not symmetric, least of all in feeling.
        warp: Largest displacement of a control point along each axis, as a share of a cell of its
            grid; input only.
        cells: Cells along a side of the warp's grid; one of these is drawn for each sample.
        gain: Largest relative change of the light's strength, the same for all colours; input only.
        tint: Largest relative change of one colour alone; input only.
        bias: Largest change of brightness, on [0, 1]; input only.
        borrow: Probability of matching the input, to a random degree, to the light of another
            identity's face: mean and deviation of each colour. It keeps the encoder from
            identifying people by their light, which would split the latent space; input only.
        degrade: Probability that the input is degraded: some of blur, low resolution,
            grain and JPEG, by the strengths below.
        blur: Largest deviation of a Gaussian, or half the length of a motion's streak, as a share
            of the side.
        downscale: Smallest resolution, as a share of the side.
        noise: Largest deviation of grain, on [0, 1].
        jpeg: Worst JPEG quality, 1 to 100.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        rotation: float = 10.0,
        scale: float = 0.1,
        shift: float = 0.05,
        flip: float = 0.0,
        warp: float = 0.24,
        cells: Sequence[int] = (2, 4, 8),
        gain: float = 0.08,
        tint: float = 0.03,
        bias: float = 0.03,
        borrow: float = 0.5,
        degrade: float = 0.25,
        blur: float = 0.008,
        downscale: float = 0.4,
        noise: float = 0.04,
        jpeg: int = 35,
    ) -> None:
        check_range(0, 180, rotation=rotation)
        check_range(0, 4, scale=scale)
        check_range(0, 1, shift=shift, flip=flip, borrow=borrow, degrade=degrade, noise=noise)
        # Beyond half a cell neighbouring points could pass each other and fold the face.
        check_range(0, 0.5, warp=warp)
        check_range(0, 0.9, gain=gain, tint=tint, bias=bias)
        check_range(0, 0.1, blur=blur)
        check_range(0.05, 1, downscale=downscale)
        check_range(1, 100, jpeg=jpeg)
        if not cells or min(cells) < 2 or math.lcm(*cells) > _MAX_CELLS:
            raise ValueError(
                f"cells must list numbers from 2 on whose least common multiple is at most "
                f"{_MAX_CELLS}, got {list(cells)}"
            )
        self.rotation, self.scale, self.shift, self.flip = rotation, scale, shift, flip
        self.warp, self.cells = warp, tuple(cells)
        self.gain, self.tint, self.bias = gain, tint, bias
        self.borrowing = borrow
        self.degrading = degrade
        self.blur, self.downscale, self.noise, self.jpeg = blur, downscale, noise, jpeg
        self._archives: dict[int, list[list[Any]]] = {}

    @classmethod
    def none(cls) -> Augment:
        """Return the augmentation that leaves faces unchanged."""
        return cls(
            rotation=0, scale=0, shift=0, warp=0, cells=(2,), gain=0, tint=0, bias=0, borrow=0,
            degrade=0,
        )  # fmt: skip

    @property
    def points(self) -> int:
        """G, control points along a side of the grids drawn: enough to hold each of `cells`."""
        return math.lcm(*self.cells) + 1

    def draw(self, random: np.random.Generator, stored: int, size: int) -> AugmentParams:
        """Draw the parameters of `warp_pair` for one sample.

        Args:
            random: The sample's own generator.
            stored: Side of the stored face in pixels.
            size: Side of the target in pixels.
        """
        return AugmentParams(
            faces_from_target=self._affine(random, stored, size),
            grid=self._grid(random, size),
            gain=self._gain(random),
        )

    def _affine(self, random: np.random.Generator, stored: int, size: int) -> NDArray[np.float32]:
        turn, zoom, right, down, chance = random.random(5) * (2, 2, 2, 2, 1) - (1, 1, 1, 1, 0)
        angle = math.radians(self.rotation * turn)
        factor = stored / size * (1 + self.scale) ** zoom
        mirror = -1.0 if chance < self.flip else 1.0
        cosine, sine = math.cos(angle) * factor, math.sin(angle) * factor
        # About the middles of both squares, so that no rotation and no zoom is edge to edge.
        old, new = (stored - 1) / 2, (size - 1) / 2
        a, b, c, d = cosine * mirror, -sine, sine * mirror, cosine
        move = self.shift * stored
        return np.array(
            [
                [a, b, old - (a + b) * new + move * right],
                [c, d, old - (c + d) * new + move * down],
            ],
            dtype=np.float32,
        )

    def _grid(self, random: np.random.Generator, size: int) -> NDArray[np.float32]:
        cells = self.cells[int(random.integers(len(self.cells)))]
        field = np.zeros((cells + 1, cells + 1, 2))
        normal = random.standard_normal((cells - 1, cells - 1, 2)).clip(-_CUT, _CUT) / _CUT
        field[1:-1, 1:-1] = normal * (self.warp * (size - 1) / cells)
        # A coarse grid is exactly a finer one whose points it interpolates.
        fine = self.points - 1
        return _refine(_refine(field, fine // cells), fine // cells).astype(np.float32)

    def _gain(self, random: np.random.Generator) -> NDArray[np.float32]:
        both, shift, *tints = random.random(5) * 2 - 1
        scale = (1 + self.gain * both) * (1 + self.tint * np.array(tints))
        # Scaled about mid grey: a stronger light is not only a brighter picture.
        offset = (1 - scale) / 2 + self.bias * shift
        return np.stack([scale, offset], axis=1).astype(np.float32)

    def borrows(self, random: np.random.Generator) -> bool:
        """Draw whether the input is matched to the light of another face."""
        return random.random() < self.borrowing

    def borrow(
        self,
        random: np.random.Generator,
        draw: AugmentParams,
        light: NDArray[np.float64],
        goal: NDArray[np.float64],
    ) -> AugmentParams:
        """Match the input to the light of another face to a random degree, before its own gain.

        Args:
            random: The sample's own generator.
            draw: Drawn for the sample.
            light: Of the face that the input is made from, see `light_of`.
            goal: Of a face of another identity.
        """
        degree = random.random()
        (mean, deviation), (goal_mean, goal_deviation) = light, goal
        ratio = np.clip(goal_deviation / deviation, 1 / _MAX_RATIO, _MAX_RATIO)
        scale = 1 + degree * (ratio - 1)
        shift = degree * (goal_mean - mean * ratio)
        drawn_scale, drawn_shift = draw.gain.T
        gain = np.stack([drawn_scale * scale, drawn_scale * shift + drawn_shift], axis=1)
        return dataclasses.replace(draw, gain=gain.astype(np.float32))

    def degrades(self, random: np.random.Generator) -> bool:
        """Draw whether the input is degraded."""
        return random.random() < self.degrading

    def degrade(self, random: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Degrade a picture (S, S, 3) uint8 RGB by the sample's own generator; not in place."""
        side = image.shape[0]
        if side not in self._archives:
            self._archives[side] = self._archive(side)
        treated = np.ascontiguousarray(image)
        for stage in self._archives[side]:
            if random.random() < 0.5:
                transform = stage[int(random.integers(len(stage)))]
                # Chosen and seeded one by one: a Compose gives all its parts the same seed, so
                # their chances and strengths would rise and fall together.
                transform.set_random_seed(int(random.integers(2**31)))
                treated = transform(image=treated)["image"]
        return treated

    def _archive(self, side: int) -> list[list[Any]]:
        """Stages in the order of lens, edit, film and codec; a stage is a choice of transforms."""
        a, sigma = albumentations, self.blur * side
        streak = max(3, 4 * round(sigma) + 1)
        shrink = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
        stages: list[list[Any]] = []
        if sigma > 0:
            gauss = a.GaussianBlur(blur_limit=0, sigma_limit=(0.2 * sigma, sigma), p=1)
            motion = a.MotionBlur(blur_limit=(3, streak), allow_shifted=False, p=1)
            stages.append([gauss, motion])
        if self.downscale < 1:
            scale = (self.downscale, 1)
            stages.append([a.Downscale(scale_range=scale, interpolation_pair=shrink, p=1)])
        if self.noise > 0:
            grain = a.GaussNoise(std_range=(0.1 * self.noise, self.noise), p=1)
            # Intensity 0.5 came out as a deviation of 0.016 on soft faces; more looks like dirt.
            iso = a.ISONoise(color_shift=(0.005, 0.03), intensity=(0.05, 12 * self.noise), p=1)
            stages.append([grain, iso])
        if self.jpeg < 100:
            stages.append([a.ImageCompression(quality_range=(self.jpeg, max(self.jpeg, 95)), p=1)])
        return stages

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archives": {}}


def light_of(face: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and deviation of each colour inside the face mask.

    Args:
        face: (S, S, 5) uint8: red, green, blue, face mask, eyes-and-mouth mask.

    Returns:
        (2, 3), on [0, 1]; the deviation is at least one grey level.
    """
    # Every fourth pixel is accurate enough, at a fraction of the cost.
    sampled = face[::4, ::4].reshape(-1, face.shape[2])
    inside = sampled[sampled[:, 3] > 127, :3]
    pixels = (inside if len(inside) else sampled[:, :3]) / 255.0
    return np.stack([pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1 / 255)])


def _refine(field: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Each cell along the first axis as `factor` cells, linearly; then the two axes are swapped."""
    part = np.arange(factor)[None, :, None, None] / factor
    between = field[:-1, None] + (field[1:, None] - field[:-1, None]) * part
    rows = np.concatenate([between.reshape(-1, *field.shape[1:]), field[-1:]])
    return rows.swapaxes(0, 1)
