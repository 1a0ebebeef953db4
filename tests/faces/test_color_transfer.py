"""Colour transfer: skin takes the frame's statistics, features are not stretched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces.color_transfer import ColorMatch, match_color
from tests.faces.test_compositing import disc, solid

SIZE = 64
NO_FEATURES = np.zeros((SIZE, SIZE), np.float32)


def skin(colour: tuple[float, float, float], contrast: float, seed: int) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(draw.normal(0, 1, (SIZE, SIZE, 3)), (0, 0), 2)
    texture /= texture.std()
    return np.clip(np.array(colour) + contrast * texture, 0, 1).astype(np.float32)


class TestMatchColour:
    pale, dark = skin((0.8, 0.65, 0.6), 0.05, 0), skin((0.35, 0.22, 0.15), 0.03, 1)

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_the_inside_takes_the_frames_mean_and_contrast(self, method: ColorMatch) -> None:
        inside = disc() > 0.99
        matched = match_color(self.pale, self.dark, disc(), NO_FEATURES, method)
        assert matched.dtype == np.float32
        np.testing.assert_allclose(
            matched[inside].mean(axis=0), self.dark[inside].mean(axis=0), atol=0.01
        )
        np.testing.assert_allclose(
            matched[inside].std(axis=0), self.dark[inside].std(axis=0), rtol=0.35
        )
        before = np.abs(self.pale[inside].mean(axis=0) - self.dark[inside].mean(axis=0)).max()
        assert before > 0.3

    def test_mkl_matches_the_covariance(self) -> None:
        mixed = np.clip(self.dark @ np.array([[1, 0.5, 0], [0, 1, 0.4], [0, 0, 1]]).T * 0.7, 0, 1)
        weights = np.ones((SIZE, SIZE), np.float32)
        matched = match_color(self.pale, mixed.astype(np.float32), weights, NO_FEATURES, "mkl")
        found, wanted = (np.cov(each.reshape(-1, 3).T) for each in (matched, mixed))
        # Not exactly, since darker pixels take less of the shift in chroma.
        np.testing.assert_allclose(found, wanted, atol=0.1 * np.abs(wanted).max())

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_what_lies_outside_the_mask_has_no_say(self, method: ColorMatch) -> None:
        outside = disc() == 0
        loud, quiet = self.dark.copy(), self.dark.copy()
        loud[outside], quiet[outside] = 1.0, 0.0
        np.testing.assert_array_equal(
            match_color(self.pale, loud, disc(), NO_FEATURES, method),
            match_color(self.pale, quiet, disc(), NO_FEATURES, method),
        )

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_equal_pictures_stay_equal(self, method: ColorMatch) -> None:
        matched = match_color(self.pale, self.pale, disc(), NO_FEATURES, method)
        np.testing.assert_allclose(matched, self.pale, atol=2e-3)

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_bytes_and_fractions_are_one(self, method: ColorMatch) -> None:
        bytes_ = np.rint(self.dark * 255).astype(np.uint8)
        np.testing.assert_allclose(
            match_color(self.pale, bytes_, disc(), NO_FEATURES, method),
            match_color(self.pale, bytes_.astype(np.float32) / 255, disc(), NO_FEATURES, method),
            atol=1e-5,
        )

    @pytest.mark.parametrize("method", ["none", "lab", "mkl"])
    def test_empty_masks_and_flat_pictures_are_safe(self, method: ColorMatch) -> None:
        empty = np.zeros((SIZE, SIZE), np.float32)
        np.testing.assert_array_equal(
            match_color(self.pale, self.dark, empty, NO_FEATURES, method), self.pale
        )
        for swap in (solid(0.0), solid(1.0), solid(0.4)):
            matched = match_color(swap, self.dark, disc(), NO_FEATURES, method)
            assert np.isfinite(matched).all()
            assert matched.min() >= 0
            assert matched.max() <= 1
            assert np.ptp(matched, axis=(0, 1)).max() < 0.05

    def test_none_changes_nothing(self) -> None:
        np.testing.assert_array_equal(
            match_color(self.pale, self.dark, disc(), NO_FEATURES, "none"), self.pale
        )

    def test_misuse_is_refused(self) -> None:
        with pytest.raises(ValueError, match="none, lab, mkl"):
            match_color(self.pale, self.dark, disc(), NO_FEATURES, "rct")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="fit"):
            match_color(self.pale, self.dark[:32], disc(), NO_FEATURES, "lab")

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_features_have_no_say_in_the_statistics(self, method: ColorMatch) -> None:
        features = disc(radius=8)
        marked, plain = self.pale.copy(), self.pale
        marked[features == 1] = (0.1, 0.2, 0.9)
        inside = (disc() > 0) & (features < 1)
        for of_swap, of_frame in ((marked, self.dark), (plain, self.dark)):
            matched = match_color(of_swap, of_frame, disc(), features, method)
            expected = match_color(plain, self.dark, disc(), features, method)
            np.testing.assert_allclose(matched[inside], expected[inside], atol=1e-6)

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_contrast_is_amplified_and_chroma_is_not(self, method: ColorMatch) -> None:
        """A livelier plate turns neither eyes blue nor shades of skin blotchy."""
        flat, lively = skin((0.7, 0.6, 0.55), 0.02, 2), skin((0.6, 0.45, 0.4), 0.08, 3)
        features = disc(radius=8)
        flat[features == 1] = (0.55, 0.6, 0.7)
        matched = match_color(flat, lively, disc(), features, method)
        inside = (disc() > 0.99) & (features == 0)
        luma = np.array([0.299, 0.587, 0.114], np.float32)

        def chroma(picture: NDArray[np.float32]) -> NDArray[np.float32]:
            return picture - (picture @ luma)[..., None]

        assert (matched[inside] @ luma).std() > 1.3 * (flat[inside] @ luma).std()
        assert chroma(matched)[inside].std(axis=0).max() < 1.1 * chroma(flat)[inside].std()
        middle = chroma(lively)[inside].mean(axis=0)
        before = np.linalg.norm(chroma(flat)[features == 1].mean(0) - chroma(flat)[inside].mean(0))
        eye = np.linalg.norm(chroma(matched)[features == 1].mean(axis=0) - middle)
        assert 0.5 * before < eye < 1.1 * before

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_what_is_dark_takes_no_tint(self, method: ColorMatch) -> None:
        """A shift that fits the skin would turn pupils and shadows blue."""
        warm, cold = skin((0.8, 0.6, 0.5), 0.03, 4), skin((0.5, 0.55, 0.65), 0.03, 5)
        shadow = disc(radius=6)
        warm[shadow == 1] = (0.06, 0.05, 0.04)
        matched = match_color(warm, cold, disc(), NO_FEATURES, method)
        lit = (disc() > 0.99) & (shadow == 0)
        assert matched[lit].mean(axis=0)[2] > matched[lit].mean(axis=0)[0] + 0.1  # cold, as asked
        dark = matched[shadow == 1].mean(axis=0)
        assert np.ptp(dark) < 0.05

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    @pytest.mark.parametrize("colour", [(0.1, 0.2, 0.8), (0.02, 0.02, 0.02), (0.95, 0.95, 0.95)])
    def test_what_is_held_before_the_face_has_no_say(
        self, method: ColorMatch, colour: tuple[float, float, float]
    ) -> None:
        """A hand in a glove, a microphone, a sheet of paper over a third of the face."""
        occluded = self.dark.copy()
        occluded[: round(0.4 * SIZE)] = colour
        share = (disc() * (np.indices((SIZE, SIZE))[0] < round(0.4 * SIZE))).sum() / disc().sum()
        assert 0.3 < share < 0.45
        inside = disc() > 0.99
        matched = match_color(self.pale, occluded, disc(), NO_FEATURES, method)[inside]
        expected = match_color(self.pale, self.dark, disc(), NO_FEATURES, method)[inside]
        np.testing.assert_allclose(matched.mean(axis=0), expected.mean(axis=0), atol=0.02)
        np.testing.assert_allclose(matched.std(axis=0), expected.std(axis=0), atol=0.01)

    @pytest.mark.parametrize("method", ["lab", "mkl"])
    def test_a_plate_without_a_middle_colour_is_safe(self, method: ColorMatch) -> None:
        """Stripes of which each is far from the median in one channel."""
        stripes = np.full((SIZE, SIZE, 3), 0.5, np.float32)
        for channel in range(3):
            stripes[channel::3, :, channel] = 1.0
        matched = match_color(self.pale, stripes, disc(), NO_FEATURES, method)
        assert np.isfinite(matched).all()
