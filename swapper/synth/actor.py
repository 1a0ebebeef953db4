"""Synthetic actors: render head states and return each frame with its ground truth."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.head_renderer.body import Body, Posed
from swapper.head_renderer.camera import Camera, head_rotation, move_head
from swapper.head_renderer.film_response import (
    apply_film,
    backdrop,
    downsample,
    motion_blur,
    tone_map,
)  # fmt: skip
from swapper.head_renderer.identity import Identity
from swapper.head_renderer.landmarks import face_triangles, landmark_vertices
from swapper.head_renderer.light import depth_map, light_space, lights_of, sky_visibility
from swapper.head_renderer.organs import ENAMEL, EYE, FLESH, LASH, linear
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.raster import rasterise
from swapper.head_renderer.shade import Mesh, Scene, shade
from swapper.head_renderer.skin_texture import paint_skin
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.surface import Floats
from swapper.head_renderer.units import INDEX, MIDLINE, UNITS, rest, unit_values

_IRISES: Final = {
    "dark": ((52, 32, 22), (34, 22, 16)), "brown": ((112, 70, 38), (72, 42, 24)),
    "hazel": ((134, 96, 44), (88, 92, 58)), "green": ((120, 124, 66), (82, 112, 80)),
    "blue": ((120, 146, 168), (78, 112, 152)), "grey": ((140, 146, 150), (98, 108, 118)),
}  # fmt: skip
SMALLEST, LARGEST = 16, 2048


class Actor:
    """Renders one identity.

    Rendering is deterministic: the same arguments give the same bits. It releases the GIL for most
    of its time, so that threads render in parallel.

    Args:
        identity: Identity to render.
        detail: 1 for full detail; 2 renders a coarser mesh in less time, for small frames.
    """

    def __init__(self, identity: Identity, detail: int = 1) -> None:
        self.identity = identity
        self.body = Body(identity, detail)
        self._texture = paint_skin(self.body.grid, identity)
        self._landmarks = landmark_vertices(self.body.grid)
        in_face = face_triangles(self.body.grid)
        self._in_face = np.isin(self.body.material, (EYE, ENAMEL, FLESH, LASH))
        self._in_face[: len(in_face)] = in_face
        self._open_sky = self._occlusion()
        # Closed lips occlude these at rest; use the value of an open mouth.
        self._open_sky[self.body.inside] = 0.8
        colours = _IRISES[identity.eye_colour]
        self._iris = np.array([linear(colours[0]), linear(colours[1])]) * 1.1
        deep = 1 - 0.65 * identity.melanin
        self._scatter = np.array([0.42, 0.16, 0.09]) * deep

    def _occlusion(self) -> NDArray[np.float32]:
        """Return (N,) ambient occlusion of the relaxed face: the visible share of the sky."""
        body = self.body

        def visibility(posed: Posed, rays: int) -> Floats:
            return sky_visibility(posed.points, body.normals(posed.points), body.triangles, rays)

        sky = visibility(body.pose(rest(), (0.0, 0.0)), 48)
        # The skin in the fold of an open lid is exposed once the eye is shut.
        shut = visibility(body.pose(unit_values(au43=1.0), (0.0, 0.0)), 24)
        lids = body.lid_vertices()
        sky[lids] = np.maximum(sky[lids], shut[lids])
        return sky.astype(np.float32)

    def observed_units(self, state: HeadState) -> NDArray[np.float32]:
        """Return (2, 19) intensities in [0, 1] after this identity's gain and asymmetry."""
        gain = np.asarray(self.identity.gain)
        lean = np.asarray(self.identity.asymmetry)
        units = state.units * gain * np.stack([1 + lean, 1 - lean])
        for column, unit in enumerate(UNITS):
            if unit in MIDLINE:
                units[:, column] = state.units[:, column].mean() * gain[column]
        # Eye closure is not scaled, so that blinks close the eye.
        units[:, INDEX[43]] = state.units[:, INDEX[43]]
        return np.asarray(np.clip(units, 0, 1), dtype=np.float32)

    def landmarks(self, state: HeadState, stage: Stage, size: int) -> Floats:
        """Return (68, 2) float64 landmarks in pixels without rendering."""
        posed = self.body.pose(self.observed_units(state), state.gaze)
        return self._project(posed, state, Camera.of(stage, size))[1][self._landmarks, :2]

    def _project(self, posed: Posed, state: HeadState, camera: Camera) -> tuple[Floats, Floats]:
        world = move_head(posed.points, self.body.follow, state)
        return world, camera.project(world)

    def render(
        self,
        state: HeadState,
        stage: Stage,
        size: int = 256,
        *,
        before: HeadState | None = None,
        index: int = 0,
        supersample: int = 2,
    ) -> RenderedFrame:
        """Render one frame.

        Args:
            state: Expression, gaze and head pose.
            stage: Camera, light and film.
            size: Side of the frame in pixels, 16 to 2048.
            before: State of the previous frame, for motion blur.
            index: Frame number; seeds its grain.
            supersample: Samples per pixel and side, 1 to 4.

        Raises:
            UsageError: If the size or the sampling is out of its range.
        """
        if not SMALLEST <= size <= LARGEST:
            raise UsageError(f"size={size}: must be from {SMALLEST} to {LARGEST} pixels")
        if not 1 <= supersample <= 4:
            raise UsageError(f"supersample={supersample}: must be from 1 to 4")
        observed_units = self.observed_units(state)
        posed = self.body.pose(observed_units, state.gaze)
        fine = Camera.of(stage, size * supersample)
        world, screen = self._project(posed, state, fine)
        triangle_ids = np.empty((size * supersample,) * 2, np.int32)
        near = np.empty(triangle_ids.shape, np.float32)
        flat = screen.astype(np.float32)
        rasterise(flat, self.body.triangles, self.body.one_sided, triangle_ids, near)
        picture = self._light(posed, state, stage, world, flat, triangle_ids)
        small = downsample(tone_map(picture), supersample)
        if before is not None and stage.film.shutter > 0:
            small = self._blur(small, before, stage, screen, triangle_ids, supersample)
        face = np.append(self._in_face, False)[triangle_ids].astype(np.float32)
        pixels = (screen[self._landmarks, :2] + 0.5) / supersample - 0.5
        return RenderedFrame(
            apply_film(small, stage.film, stage.seed, index),
            pixels,
            downsample(face, supersample),
            observed_units,
        )

    def _light(
        self, posed: Posed, state: HeadState, stage: Stage, world: Floats,
        screen: NDArray[np.float32], triangle_ids: NDArray[np.int32],
    ) -> NDArray[np.float32]:  # fmt: skip
        body = self.body
        towards, light, sky, ground = lights_of(stage)
        normals = body.normals(world)
        soft = normals.copy()
        soft[body.skin] = _softened(normals[body.skin].reshape(*body.grid.shape, 3))
        shadow, lit = depth_map(world, body.triangles, light_space(towards[0]))
        turn = head_rotation(state)
        mesh = Mesh(
            body.triangles, body.material, screen, world.astype(np.float32),
            normals.astype(np.float32), soft.astype(np.float32),
            (body.tangents @ turn.T).astype(np.float32), body.place, posed.local, body.colours,
            self._open_sky, lit,
        )  # fmt: skip
        scene = Scene(
            towards, light, sky, ground, Camera.of(stage, 1).place, shadow, self._texture.colour,
            self._texture.relief[..., None], self._texture.gloss, posed.lids, self._iris,
            self._scatter,
        )  # fmt: skip
        picture = np.empty((*triangle_ids.shape, 3), np.float32)
        shade(mesh, scene, triangle_ids, backdrop(stage, triangle_ids.shape[0]), picture)
        return picture

    def _blur(
        self, picture: NDArray[np.float32], before: HeadState, stage: Stage, screen: Floats,
        triangle_ids: NDArray[np.int32], supersample: int,
    ) -> NDArray[np.float32]:  # fmt: skip
        camera = Camera.of(stage, triangle_ids.shape[0])
        posed = self.body.pose(self.observed_units(before), before.gaze)
        was = self._project(posed, before, camera)[1]
        moved = (screen[:, :2] - was[:, :2]) / supersample
        if np.abs(moved).max() * stage.film.shutter < 0.3:
            return picture
        of_triangle = moved[self.body.triangles].mean(axis=1)
        of_triangle = np.concatenate([of_triangle, np.zeros((1, 2))]).astype(np.float32)
        motion = of_triangle[
            triangle_ids[supersample // 2 :: supersample, supersample // 2 :: supersample]
        ]
        result = np.empty_like(picture)
        motion_blur(picture, np.ascontiguousarray(motion), stage.film.shutter, result)
        return result


def _softened(normals: Floats) -> Floats:
    """(N, 3) unit normals of a grid (R, C, 3), averaged for subsurface scattering."""
    taps = (9, 9) if len(normals) > 180 else (5, 5)
    total = cv2.blur(normals, taps, borderType=cv2.BORDER_CONSTANT).reshape(-1, 3)
    lengths = np.sqrt(1e-12 + np.einsum("ni,ni->n", total, total))
    return np.asarray(total / lengths[:, None])
