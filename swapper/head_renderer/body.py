"""All meshes of one identity, joined and posed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer import organs
from swapper.head_renderer.hair import covers_ears, hair
from swapper.head_renderer.identity import Identity
from swapper.head_renderer.lids import deform_lids, lid_edges, regions
from swapper.head_renderer.muscles import fields, jaw_angle, jaw_weight, narrowing, rotate_jaw
from swapper.head_renderer.noise import lattice_noise
from swapper.head_renderer.organs import ENAMEL, EYE, FLESH, HAIR, LASH, SKIN, Part, linear
from swapper.head_renderer.raster import vertex_normals
from swapper.head_renderer.sculpt import EYE_Z, eye_frame, features, proportions, step
from swapper.head_renderer.skin_texture import SIZE, skin_tone
from swapper.head_renderer.surface import EYE_X, Floats, skin_grid
from swapper.head_renderer.units import NUM_UNITS

_SHIRTS: Final = (
    (52, 58, 74), (88, 42, 44), (40, 66, 58), (120, 112, 100), (34, 34, 38), (150, 148, 146),
    (70, 60, 92), (104, 84, 56),
)  # fmt: skip
_LASHES: Final = 3
"""Lashes per column of the lid's edge."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A posed body in head space (before head rotation).

    Attributes:
        points: (N, 3) mm.
        local: (N, 2) template x and y of the eyeballs' vertices, 0 elsewhere.
        lids: (2, 2) upper and lower edge of the left and right lids.
    """

    points: Floats
    local: NDArray[np.float32]
    lids: Floats


class Body:
    """Meshes of one identity.

    Args:
        identity: Identity to build.
        detail: 1 for full detail, 2 for about a quarter of the triangles.
    """

    def __init__(self, identity: Identity, detail: int = 1) -> None:
        self.identity, self.grid = identity, skin_grid(detail)
        self.frame = eye_frame(identity)
        self.regions = regions(self.grid)
        self.template = features(self.grid, identity).reshape(*self.grid.shape, 3)
        self.rest_skin = proportions(self.template.reshape(-1, 3), identity)
        moving = fields(self.grid, identity)
        self._moved_vertices = np.flatnonzero(np.abs(moving).max(axis=(0, 1, 3)) > 1e-4)
        self._fields = np.ascontiguousarray(
            moving[:, :, self._moved_vertices].reshape(2 * NUM_UNITS, -1)
        )
        self._jaw_skin = jaw_weight(self.grid).astype(np.float64)
        self._narrowing = narrowing(self.grid).astype(np.float64)
        self._join(self._parts(detail))

    def _parts(self, detail: int) -> list[tuple[Part, Floats | float, float]]:
        """Return the parts besides the skin with their weights for jaw and head motion."""
        identity, tone = self.identity, skin_tone(self.identity)
        upper, lower = organs.teeth()
        tongue, bag = organs.mouth_inside()
        shirt = linear(_SHIRTS[identity.seed % len(_SHIRTS)])
        bag_weight = step(bag.points[:, 1], -58, -74)
        inside: list[tuple[Part, Floats | float, float]] = [
            (upper, 0.0, 1.0), (lower, 1.0, 1.0), (tongue, 1.0, 1.0), (bag, bag_weight, 1.0),
        ]  # fmt: skip
        if not covers_ears(identity):
            inside += [(organs.ear(identity, side, tone), 0.0, 1.0) for side in (1.0, -1.0)]
        fitted: list[tuple[Part, Floats | float, float]] = [
            (replace(part, points=proportions(part.points, identity)), turns, head)
            for part, turns, head in inside
        ]
        fitted += [(part, 0.0, 1.0) for part in hair(identity, detail)]
        fitted.append((organs.shoulders(shirt), 0.0, 0.0))
        return fitted

    def _join(self, parts: list[tuple[Part, Floats | float, float]]) -> None:
        skin = self.rest_skin
        ball, polar = organs.eyeball()
        blades = self._lash_triangles()
        pieces = [p for p, _, _ in parts]
        counts = [len(skin), len(ball.points), len(ball.points), blades[0]]
        starts = np.cumsum([0, *counts, *[len(p.points) for p in pieces]])
        self.skin = slice(0, len(skin))
        self.eyes = (slice(starts[1], starts[2]), slice(starts[2], starts[3]))
        self.lashes = slice(starts[3], starts[4])
        meshes = [self.grid.triangles, ball.triangles, ball.triangles, blades[1]]
        meshes += [p.triangles for p in pieces]
        self.triangles = np.ascontiguousarray(
            np.concatenate([m + start for m, start in zip(meshes, starts[:-1], strict=True)]),
            dtype=np.int32,
        )
        kinds = [SKIN, EYE, EYE, LASH, *[p.material for p in pieces]]
        self.material = np.repeat(kinds, [len(m) for m in meshes]).astype(np.int32)
        sided = [True, True, True, False, *[p.one_sided for p in pieces]]
        self.one_sided = np.repeat(sided, [len(m) for m in meshes])
        total = int(starts[-1])
        self.weld = np.arange(total, dtype=np.int32)
        self.weld[self.skin] = self.grid.weld
        self.colours = np.ones((total, 3), np.float32)
        self.place = np.zeros((total, 2), np.float32)
        rows, columns = self.grid.shape
        i, j = np.divmod(np.arange(rows * columns), columns)
        self.place[self.skin] = np.stack([j * (SIZE - 1) / (columns - 1),
                                          i * (SIZE - 1) / (rows - 1)], 1)  # fmt: skip
        for eye in self.eyes:
            self.place[eye] = polar
        dark = 0.35 * linear((40, 28, 24))
        self.colours[self.lashes] = dark
        self._static = np.zeros((total, 3))
        self._static[self.skin] = skin
        self._jaw = np.zeros(total)
        self._jaw[self.skin] = self._jaw_skin
        self.follow = np.ones(total)
        self.follow[self.skin] = step(self.grid.points[:, 1], -178, -118)
        for (part, turns, head), start in zip(parts, starts[4:], strict=False):
            span = slice(start, start + len(part.points))
            self._static[span], self.colours[span] = part.points, part.colours
            self._jaw[span], self.follow[span] = turns, head
        in_hair = np.unique(self.triangles[self.material == HAIR])
        low = (self._static[:, 1] < -118) & np.isin(np.arange(total), in_hair)
        self.follow[low] = step(self._static[low, 1], -210, -118)
        self.inside = np.unique(self.triangles[np.isin(self.material, (ENAMEL, FLESH))])
        self.tangents = self._strands(parts, starts)
        self._ball = ball.points

    def _strands(self, parts: list[tuple[Part, Floats | float, float]], starts: Floats) -> Floats:
        tangents = np.zeros((int(starts[-1]), 3))
        for (part, _, _), start in zip(parts, starts[4:], strict=False):
            if part.material != HAIR:
                continue
            block = part.points.reshape(-1, part.columns, 3)
            along = np.gradient(block, axis=0)
            along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9
            tangents[start : start + len(part.points)] = along.reshape(-1, 3)
        return tangents

    def _lid_edges(self, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the vertices along the edges of the upper and the lower lid."""
        rows = np.flatnonzero((self.grid.height == 0) & (self.grid.depth == 0))
        columns = np.flatnonzero(self.grid.eye_slit[side])
        return rows[0] * self.grid.shape[1] + columns, rows[-1] * self.grid.shape[1] + columns

    def _lash_triangles(self) -> tuple[int, NDArray[np.int32]]:
        blades = sum(_LASHES * (len(edge) - 1) for side in (0, 1) for edge in self._lid_edges(side))
        corner = np.arange(blades * 4, dtype=np.int32).reshape(-1, 4)
        triangles = np.concatenate([corner[:, [0, 1, 2]], corner[:, [1, 3, 2]]])
        return blades * 4, np.ascontiguousarray(triangles)

    def pose(self, units: NDArray[np.float32], gaze: tuple[float, float]) -> Posed:
        """Pose the body: (2, 19) intensities after gain and asymmetry, gaze in degrees."""
        points = self._static.copy()
        weights = units.reshape(-1)
        active = np.flatnonzero(weights > 0)
        moved = np.zeros((len(self.rest_skin), 3))
        if len(active):
            sums = (weights[active] @ self._fields[active]).astype(np.float64)
            moved[self._moved_vertices] = sums.reshape(-1, 3)
            points[self.skin] += moved
        angle = jaw_angle(units.astype(np.float64))
        if angle > 0:
            points[self.skin, 0] += angle * self._narrowing
            points = rotate_jaw(points, self._jaw, angle)
        skin = points[self.skin].reshape(*self.grid.shape, 3)
        local = np.zeros((len(points), 2), np.float32)
        lids = np.zeros((2, 2))
        around = moved.reshape(*self.grid.shape, 3)
        for side, region in enumerate(self.regions):
            lids[side] = lid_edges(units[side].astype(np.float64), gaze[1])
            r, c = region.rows, region.columns
            lid_points = deform_lids(
                np.ascontiguousarray(self.template[r, c]), np.ascontiguousarray(around[r, c]),
                self.grid.height[r], self.grid.depth[r], self.grid.upper[r], region.side,
                lids[side, 0], lids[side, 1], self.identity.lid_hood, self.identity.age,
            )  # fmt: skip
            middle = np.array([region.side * EYE_X, 0.0, EYE_Z])
            skin[r, c] = self.frame.place(lid_points.reshape(-1, 3) - middle, region.side).reshape(
                lid_points.shape
            )
            ball = _rotate_eyeball(self._ball, gaze, region.side)
            points[self.eyes[side]] = self.frame.place(ball, region.side)
            local[self.eyes[side]] = (ball + middle)[:, :2]
        points[self.lashes] = self._lash_points(points[self.skin])
        return Posed(points, local, lids)

    def _lash_points(self, skin: Floats) -> Floats:
        blades = []
        for side, sign in ((0, 1.0), (1, -1.0)):
            for lower, edge in enumerate(self._lid_edges(side)):
                line = skin[edge]
                t = (np.arange((len(edge) - 1) * _LASHES) + 0.5) / _LASHES
                k = t.astype(int)
                base = line[k] + (t - k)[:, None] * (line[k + 1] - line[k])
                share = t / (len(edge) - 1)
                share = share if sign > 0 else 1 - share
                length = (3.0 + 5.5 * self.identity.lashes) * (0.5 + 0.6 * share)
                length *= 0.38 if lower else 0.9
                noise = lattice_noise(np.arange(len(t)), np.full(len(t), lower), self.identity.seed)
                fan = sign * (share - 0.4) * 0.9 + (noise - 0.5) * 0.35
                rise = -0.35 if lower else 0.42
                tip = base + length[:, None] * np.stack(
                    [fan, rise + 0 * fan, 0.8 - 0.35 * np.abs(fan)], 1)  # fmt: skip
                knee = base + 0.55 * (tip - base) + np.array([0, 0.9 if lower else -0.9, 0.4])
                half = np.array([0.3, 0.0, 0.0])
                knee[:, 2] += 0.2
                blades.append(np.stack([base - half, base + half, knee, tip], 1).reshape(-1, 3))
        return np.concatenate(blades)

    def lid_vertices(self) -> NDArray[np.int64]:
        """Return the skin vertices around both eyes."""
        number = np.arange(len(self.rest_skin)).reshape(self.grid.shape)
        return np.concatenate([number[r.rows, r.columns].ravel() for r in self.regions])

    def normals(self, points: Floats) -> Floats:
        """Return (N, 3) unit normals of posed points."""
        return vertex_normals(points, self.triangles, self.weld)


def _rotate_eyeball(ball: Floats, gaze: tuple[float, float], side: float) -> Floats:
    """Rotate an eyeball to the gaze; the eyes converge slightly."""
    yaw, pitch = np.radians(gaze[0] - 1.0 * side), np.radians(gaze[1])
    cos, sin = np.cos(pitch), np.sin(pitch)
    y, z = cos * ball[:, 1] + sin * ball[:, 2], -sin * ball[:, 1] + cos * ball[:, 2]
    x = ball[:, 0]
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * x + sin * z, y, -sin * x + cos * z], 1)
