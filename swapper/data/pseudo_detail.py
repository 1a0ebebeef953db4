"""What a face's points miss of its expression: movement and shading, measured in its pictures.

A tracker's points hardly follow a frown: they move by a hundredth of the eye distance, and wrinkles
are shading. So each face is compared with faces of the same person near rest, warped by the points
to its shape. What optical flow finds between the two around the brows is residual movement; the
logarithm of the ratio of their brightness is shading.

Sources: expression ratio images, Liu, Shan and Zhang 2001, doi:10.1145/383259.383289; dense inverse
search, Kroeger et al. 2016, doi:10.1007/978-3-319-46493-0_29.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.data.pseudo_bases import Person
from swapper.data.pseudo_warp import CropPlaces, Pixels, sampled, visible, warp_points
from swapper.faces.masks import brow_zone, face_mask, region_masks
from swapper.faces.shape import landmarks_of
from swapper.types import Coverage

_SIDE: Final = 128
_WARP_NODES: Final = 16
_CACHED: Final = 4096
_REFERENCES: Final = 5
_APART: Final = 100
_POOL: Final = 0.1
_MIN_POOL: Final = 24
_POSE_TOLERANCE: Final = 8.0
_POSE_STEP: Final = 8.0
# References this far from rest, in tolerances squared, or turned by so many degrees against the
# face, halve what is taken down.
_REST_COST: Final = 40.0
_TURNED: Final = 12.0
# Where the head faces away by more than this, brows are too foreshortened to be compared.
_ASIDE: Final = 45.0
# Eye distances: blur of the flow, its bound, and the band of the shading.
_FLOW_BLUR: Final = 0.06
_FLOW_LIMIT: Final = 0.1
_FINE: Final = 0.02
_BROAD: Final = 0.3
_EDGE: Final = 0.05
# Logarithms of brightness. Below the brows folds depend on the light more than on the expression.
_SHADE_LIMIT: Final = 0.4
_LOWER_SHARE: Final = 0.5
_DARK: Final = 8.0


class Detail(NamedTuple):
    """Residual expression of one face, on the nodes of its aligned crop.

    Attributes:
        flow: (G, G, 2), from a place of the face to that of the face at rest warped by the points,
            in sides; 0 away from the brows.
        shade: (G, G), logarithm of the brightness ratio, 0 where unknown.
    """

    flow: NDArray[np.float16]
    shade: NDArray[np.float16]


class _Rest(NamedTuple):
    """Of a person in one pose: picture, whose shape it has, and how far from the neutral."""

    picture: Pixels
    row: int
    cost: float


class DetailReader:
    """Measures the residual expression of one person's faces.

    Args:
        person: Whose faces.
        faces: (N, S, S, C) uint8 aligned crops.
        coverage: Of the crops.
    """

    def __init__(self, person: Person, faces: NDArray[np.uint8], coverage: Coverage) -> None:
        self.person, self.faces = person, faces
        self.places = CropPlaces(_SIDE, coverage)
        self._coarse = CropPlaces(_SIDE, coverage, _WARP_NODES)
        self._points = warp_points(person.rest)
        usable = person.usable
        cost = np.square(person.expression[usable]).sum(axis=1)
        cost += np.minimum(np.square(person.motion[usable]), 2)
        nearest = np.argsort(cost, kind="stable")[: max(_MIN_POOL, round(_POOL * len(usable)))]
        self._pool, self._cost = usable[nearest], cost[nearest]
        self.read = lru_cache(_CACHED)(self._read)
        self._rest = lru_cache(maxsize=None)(self._find_rest)

    def _read(self, row: int) -> Detail:
        """Residual expression of a face."""
        face = self._picture(row)
        landmarks = self.places.pixels(landmarks_of(self.person.projected(row))).astype(np.float32)
        masks = region_masks(landmarks, _SIDE)
        hole = np.maximum(masks["eyes"], masks["mouth"])
        skin = self._inset(np.minimum(face_mask(landmarks, _SIDE), self._facing(row)))
        known = np.where(hole > 127, np.float32(0), skin)
        brows = self._blurred(skin * (brow_zone(landmarks, _SIDE) / 255), _EDGE)
        yaw, pitch = np.rint(self.person.pose[row] / _POSE_STEP).astype(int).tolist()
        rest = self._rest(yaw, pitch)
        neutral = self._warped(rest.picture, rest.row, row)
        flow = self._flow(face, neutral, known) * brows[..., None]
        shade = self._shade(face, _moved(neutral, flow), known)
        turned = np.square((self.person.pose[rest.row] - self.person.pose[row]) / _TURNED).sum()
        weight = 0.5 ** (rest.cost / _REST_COST + turned)
        shade *= _LOWER_SHARE + (1 - _LOWER_SHARE) * brows
        return Detail(
            (self.places.nodes_of(flow) * weight / _SIDE).astype(np.float16),
            (self.places.nodes_of(shade) * weight).astype(np.float16),
        )

    def _find_rest(self, yaw: int, pitch: int) -> _Rest:
        """Median of faces near rest about a pose, in steps, taken at different times."""
        turned = (self.person.pose[self._pool] - _POSE_STEP * np.array([yaw, pitch])).T
        cost = self._cost + np.square(turned / _POSE_TOLERANCE).sum(axis=0)
        apart = len(self.person.usable) // _APART
        chosen: list[int] = []
        for place in np.argsort(cost, kind="stable").tolist():
            if all(abs(self._pool[place] - self._pool[each]) > apart for each in chosen):
                chosen.append(place)
            if len(chosen) == _REFERENCES:
                break
        rows = self._pool[chosen].tolist()
        pictures = [self._warped(self._picture(each), each, rows[0]) for each in rows]
        return _Rest(np.median(pictures, axis=0), rows[0], float(self._cost[chosen].mean()))

    def _warped(self, picture: Pixels, of: int, to: int) -> Pixels:
        """Warp a picture of a face by the points to the shape of another."""
        person = self.person
        common = self._points[visible(person.rest[self._points], person.pose[[of, to], 0])]
        flow = self._coarse.flow(*(person.projected(each)[common] for each in (to, of)))
        return _moved(picture, self._coarse.pixels_of(flow) * _SIDE)

    def _picture(self, row: int) -> Pixels:
        colours = np.ascontiguousarray(self.faces[row, ..., :3])
        grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
        if len(grey) != _SIDE:
            grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(grey, np.float32)

    def _flow(self, face: Pixels, rest: Pixels, known: Pixels) -> Pixels:
        """(S, S, 2) pixels from a face to the same face at rest, smooth and bounded."""
        # One for each call: it is not thread-safe.
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        start = np.zeros((_SIDE, _SIDE, 2), np.float32)
        flow = search.calc(face.astype(np.uint8), rest.astype(np.uint8), start)
        flow = self._filled(np.asarray(flow, np.float32), known, _FLOW_BLUR)
        length = np.linalg.norm(flow, axis=-1, keepdims=True)
        limit = _FLOW_LIMIT * self.places.unit
        return np.asarray(flow * np.minimum(1, limit / np.maximum(length, 1e-6)), np.float32)

    def _shade(self, face: Pixels, rest: Pixels, known: Pixels) -> Pixels:
        ratio = np.log((face + _DARK) / (rest + _DARK))
        band = self._filled(ratio, known, _FINE) - self._filled(ratio, known, _BROAD)
        return np.asarray(np.clip(band, -_SHADE_LIMIT, _SHADE_LIMIT) * self._blurred(known, _FINE))

    def _facing(self, row: int) -> NDArray[np.uint8]:
        """Mask of the part of a head that does not face aside."""
        facing = visible(self.person.rest, self.person.pose[[row], 0], _ASIDE)
        points = self.places.pixels(self.person.projected(row)[facing])
        mask = np.zeros((_SIDE, _SIDE), np.uint8)
        if len(points) < 3:
            return mask
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
        top = int(np.clip(points[:, 1].min() + 1, 0, _SIDE - 1))
        mask[:top] = mask[top]  # the forehead above the points
        return mask

    def _inset(self, mask: NDArray[np.uint8]) -> Pixels:
        """Take the edge of a mask away, where hair and background lie; in [0, 1]."""
        size = 2 * round(2 * _EDGE * self.places.unit) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return cv2.erode(mask, disc).astype(np.float32) / 255

    def _filled(self, values: Pixels, known: Pixels, blur: float) -> Pixels:
        """Blur what is known, and fill the rest from its surroundings."""
        weight = self._blurred(known, blur) + 1e-3
        spread = known if values.ndim == 2 else known[..., None]
        weight = weight if values.ndim == 2 else weight[..., None]
        return np.asarray(self._blurred(values * spread, blur) / weight, np.float32)

    def _blurred(self, values: Pixels, blur: float) -> Pixels:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), blur * self.places.unit), np.float32)


def _moved(picture: Pixels, flow: Pixels) -> Pixels:
    """Sample a picture (S, S) at each pixel plus `flow` (S, S, 2)."""
    down, across = np.mgrid[: len(picture), : len(picture)]
    return sampled(picture, np.stack([across, down], axis=-1) + flow)
