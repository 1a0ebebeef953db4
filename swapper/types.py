"""Value types shared by all rooms.

Frozen dataclasses that check their own shapes. Pictures are RGB; points are (x, y) in pixels with
pixel centres at integers; a transform is named ``destination_from_source``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Coverage = Literal["face", "full", "head"]
COVERAGES: tuple[Coverage, ...] = ("face", "full", "head")
# Set by eye on real clips with raised brows and jaws wide open.
WINDOW_MM: Final[Mapping[Coverage, tuple[float, float]]] = {
    "face": (48.0, 96.0),
    "full": (30.0, 120.0),
    "head": (8.0, 165.0),
}
"""The square that each coverage shows, in millimetres of an average face: height of its centre
below the eyes, and half its side."""

NUM_LANDMARKS = 68
MESH_POINTS = 478
"""Of MediaPipe's face mesh, irises included."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face found in a frame.

    Attributes:
        landmarks: (68, 2) float32, x y in frame pixels, iBUG order.
        confidence: The aligner's own, in [0, 1].
        track: Which person in the shot, counted by the tracker; 0 before tracking.
        mesh: (478, 3) float32, MediaPipe's points where the aligner has them: x y in frame pixels,
            z on the same scale, growing away from the camera.
        blendshapes: Expression coefficients in [0, 1] by name, where the aligner has them.
    """

    landmarks: NDArray[np.float32]
    confidence: float = 1.0
    track: int = 0
    mesh: NDArray[np.float32] | None = None
    blendshapes: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.landmarks.shape != (NUM_LANDMARKS, 2):
            raise ValueError(f"landmarks must be (68, 2), got {self.landmarks.shape}")
        if not np.isfinite(self.landmarks).all():
            raise ValueError("landmarks must be finite")
        _check_mesh(self.mesh)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, in frame pixels."""
        left, top = self.landmarks.min(axis=0)
        right, bottom = self.landmarks.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def area(self) -> float:
        """Area of `box` in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def _check_mesh(mesh: NDArray[np.float32] | None) -> None:
    if mesh is None:
        return
    if mesh.shape != (MESH_POINTS, 3):
        raise ValueError(f"mesh must be ({MESH_POINTS}, 3), got {mesh.shape}")
    if not np.isfinite(mesh).all():
        raise ValueError("mesh must be finite")


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """One estimator's outputs for N faces as arrays; None for outputs that it does not have.

    Attributes:
        lineage: Of the estimator, "name:sha256 of its weights".
        labels: Names of its classes.
        units: Numbers of its action units.
        embedding: (N, D) float32, penultimate features.
        probabilities: (N, C) float32, each row summing to 1, in the order of `labels`.
        valence: (N,) float32 in [-1, 1], unpleasant to pleasant.
        arousal: (N,) float32 in [-1, 1], calm to excited.
        intensities: (N, U) float32 in [0, 1], in the order of `units`.
    """

    lineage: str
    labels: tuple[str, ...]
    units: tuple[int, ...]
    embedding: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None = None
    valence: NDArray[np.float32] | None = None
    arousal: NDArray[np.float32] | None = None
    intensities: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, rows: NDArray[np.int64]) -> Readings:
        """Return the readings of some faces, in the order of `rows`."""
        arrays = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("lineage", "labels", "units")
        }
        return replace(
            self, **{name: value[rows] for name, value in arrays.items() if value is not None}
        )


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """One row of a faceset's index.

    Attributes:
        id: Name of the picture without its suffix, unique in the faceset.
        image: File name in ``images/``.
        source: sha256 (hex) of the file it was cut from.
        frame_index: Frame number in that file, from 0.
        pts: Presentation timestamp there, in the stream's time base; -1 if it has none.
        landmarks: (68, 2) float32, x y in *frame* pixels.
        aligned_from_frame: (2, 3) float64 similarity.
        yaw, pitch, roll: Head pose in degrees.
        sharpness: Higher is sharper; comparable within one aligned size.
        confidence: The aligner's, in [0, 1].
        sha256: Of the picture file's bytes.
        mesh: As `Face.mesh`, or None.
    """

    id: str
    image: str
    source: str
    frame_index: int
    pts: int
    landmarks: NDArray[np.float32]
    aligned_from_frame: NDArray[np.float64]
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    confidence: float
    sha256: str
    mesh: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.landmarks.shape != (NUM_LANDMARKS, 2):
            raise ValueError(f"landmarks must be (68, 2), got {self.landmarks.shape}")
        if self.aligned_from_frame.shape != (2, 3):
            raise ValueError(
                f"aligned_from_frame must be (2, 3), got {self.aligned_from_frame.shape}"
            )
        _check_mesh(self.mesh)


@dataclass(frozen=True, slots=True, eq=False)
class PseudoBatch:
    """Pseudo-targets of M of a batch's samples, equally many of each block, rendered on the device.

    See `swapper.kernels.pseudo_target.draw_pseudo_targets`.

    Attributes:
        sample: (M,) int64, place in the batch.
        weight: (M,) float32 in [0, 1], confidence; 0 where there is none.
        base: (M,) int64, row of the batch's `faces`.
        flow: (M, G, G, 2) float16.
        donor: (M,) int64, row of `faces`, or -1.
        donor_from_place: (M, 2, 3) float32.
        lips: (M, L, 2) float16.
        gain: (M, 3, 2) float32.
        shade: (M, G, G) int8, logarithm of the factor of brightness times 128.
    """

    sample: Tensor
    weight: Tensor
    base: Tensor
    flow: Tensor
    donor: Tensor
    donor_from_place: Tensor
    lips: Tensor
    gain: Tensor
    shade: Tensor

    def map(self, move: Callable[[Tensor], Tensor]) -> PseudoBatch:
        """Apply `move` to every tensor."""
        return PseudoBatch(**{each.name: move(getattr(self, each.name)) for each in fields(self)})


@dataclass(frozen=True, slots=True, eq=False)
class FaceBatch:
    """One training step's faces and augmentation parameters; a function of (seed, step, rank).

    N = identities × batch size, in blocks of one identity each.

    Attributes:
        faces: (M, S, S, 5) uint8: red, green, blue, face mask, eyes-and-mouth mask. The batch's own
            N and what its pseudo-targets are drawn from, or all that the device holds; none on the
            way there.
        index: (N,) int64: the row of `faces` for each sample.
        degraded: (K, S, S, 3) uint8: pictures that inputs are made from instead of those faces,
            such as what an archive did to them.
        degraded_index: (N,) int64: the row of `degraded` for each sample, -1 for its own face.
        faces_from_target: (N, 2, 3) float32: target pixels to pixels of `faces`, shared by both.
        grid: (N, G, G, 2) float32: random warp of the input, (dx, dy) in target pixels.
        gain: (N, 3, 2) float32: per channel scale and shift of the input, on [0, 1].
        identity: (N,) int64, index into the identities.
        code: (N, K) float32: affect codes of the faces, each relative to its own identity; K = 0
            where nothing conditions the decoders.
        previous: (N,) int64: place in the batch of the previous frame of the same footage, or -1.
        step: Which batch this is, counted from 0 over the whole run.
        pseudo: Pseudo-targets of its swaps, or None.
    """

    faces: Tensor
    index: Tensor
    degraded: Tensor
    degraded_index: Tensor
    faces_from_target: Tensor
    grid: Tensor
    gain: Tensor
    identity: Tensor
    code: Tensor
    previous: Tensor
    step: int
    pseudo: PseudoBatch | None = None

    def _map(self, move: Callable[[Tensor], Tensor]) -> FaceBatch:
        names = (each.name for each in fields(self) if each.name not in ("step", "pseudo"))
        moved: dict[str, Any] = {name: move(getattr(self, name)) for name in names}
        pseudo = None if self.pseudo is None else self.pseudo.map(move)
        return replace(self, pseudo=pseudo, **moved)

    def to(self, device: torch.device) -> FaceBatch:
        """Return the batch on `device`, copied without waiting."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> FaceBatch:
        """Return the batch in page-locked memory (called by the data loader)."""
        return self._map(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, slots=True, eq=False)
class SwapOutput:
    """Output of a decoder.

    Attributes:
        image: (N, 3, R, R), RGB in [0, 1].
        mask: (N, 1, R, R) in [0, 1], 1 = face.
    """

    image: Tensor
    mask: Tensor
