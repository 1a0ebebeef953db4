"""One person is followed where several are seen, and the choice is told where it was a guess."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.extract import extract
from swapper.faces.openface import OpenfaceAligner
from swapper.faces.person import PersonFollower, find_reference, make_follower
from swapper.faces.recognition import EUCLIDEAN
from swapper.facesets.faceset import Faceset
from swapper.media.clip_writer import ClipWriter
from swapper.media.video_reader import Frame
from swapper.options.verbs import ExtractOptions
from swapper.types import Face
from tests.drawing import ALICE, BOB, draw

SIDE = 160
Scene = Callable[[int], list[tuple[float, float, float]]]
"""Of a frame's number the faces' centres (x, y) and heights, in pixels of 320 x 160."""


def face(x: float, y: float, height: float) -> Face:
    _, points = draw(SIDE, 0.0, ALICE)
    centred = points - points.mean(axis=0)
    scale = height / np.ptp(centred[:, 1])
    return Face((centred * scale + (x, y)).astype(np.float32))


def follow(scene: Scene, frames: int = 30, person: str = "", shot: int = 10_000) -> list[float]:
    """x of the followed face in every frame; NaN where there is none."""
    follower, found = PersonFollower(person), []
    for index in range(frames):
        grey = 40 if (index // shot) % 2 == 0 else 200
        frame = Frame.of(np.full((160, 320, 3), grey, np.uint8), index)
        faces = sorted((face(*each) for each in scene(index)), key=lambda each: -each.area)
        chosen = follower(frame, faces)
        found.append(float(chosen[0].landmarks[:, 0].mean()) if chosen else np.nan)
    follow.told = follower.describe()  # type: ignore[attr-defined]
    return found


def told() -> str:
    return str(follow.told)  # type: ignore[attr-defined]


def side_by_side(index: int) -> list[tuple[float, float, float]]:
    """The one on the right grows, and is the larger one from the middle on."""
    return [(80, 80, 90), (240, 80, 75 + index)]


def test_who_is_largest_at_first_is_followed_though_another_grows() -> None:
    assert np.ptp(follow(side_by_side)) < 1
    assert follow(side_by_side)[0] == pytest.approx(80, abs=1)
    assert "track 1 was followed" in told()
    assert "1 (at 25 % from the left" in told()
    assert "2 (at 75 % from the left" in told()


@pytest.mark.parametrize(
    ("person", "x"), [("left", 80), ("right", 240), ("1", 80), ("2", 240), ("2, 7", 240)]
)
def test_a_person_is_named_by_position_or_track(person: str, x: float) -> None:
    np.testing.assert_allclose(follow(side_by_side, person=person), x, atol=1)


@pytest.mark.parametrize(("person", "x"), [("top", 60), ("bottom", 100), ("center", 160)])
def test_other_positions(person: str, x: float) -> None:
    scene = [(60.0, 40.0, 40.0), (100.0, 120.0, 45.0), (160.0, 80.0, 35.0)]
    np.testing.assert_allclose(follow(lambda _: scene, person=person), x, atol=1)


def test_a_poster_does_not_take_over_from_a_performer_who_turns_away() -> None:
    def scene(index: int) -> list[tuple[float, float, float]]:
        poster, performer = (260.0, 60.0, 70.0), (100.0, 90.0, 100.0)
        return [poster] if 10 <= index < 13 else [poster, performer]

    found = follow(scene)
    np.testing.assert_allclose(found[:10] + found[13:], 100, atol=1)
    assert np.isnan(found[10:13]).all()
    # Larger than the performer it is taken for the person, unless one says who is.
    large = lambda _: [(260.0, 80.0, 140.0), (100.0, 90.0, 80.0)]  # noqa: E731
    np.testing.assert_allclose(follow(large), 260, atol=1)
    assert "several people" in told()
    np.testing.assert_allclose(follow(large, person="left"), 100, atol=1)


@pytest.mark.parametrize("person", ["", "left"])
def test_a_passer_by_does_not_take_the_place_of_who_turned_away(person: str) -> None:
    """He is out of sight for longer than a track is remembered."""

    def scene(index: int) -> list[tuple[float, float, float]]:
        passer_by, performer = (40.0, 60.0, 30.0), (100.0, 90.0, 100.0)
        return [passer_by] if 10 <= index < 22 else [passer_by, performer][index < 10 :]

    found = follow(scene, frames=40, person=person)
    np.testing.assert_allclose(found[:10] + found[23:], 100, atol=1)
    assert np.isnan(found[10:22]).all()


def test_at_a_cut_a_face_is_chosen_anew() -> None:
    def scene(index: int) -> list[tuple[float, float, float]]:
        return [(80, 80, 90), (240, 80, 60)] if index < 15 else [(80, 80, 60), (240, 80, 90)]

    found = follow(scene, shot=15)
    np.testing.assert_allclose(found[:15], 80, atol=1)
    np.testing.assert_allclose(found[15:], 240, atol=1)


def test_one_person_and_small_bystanders_are_not_worth_a_word() -> None:
    follow(lambda _: [(80, 80, 90)])
    assert told() == ""
    follow(lambda _: [(80, 80, 120), (280, 40, 30)])
    assert told() == ""


def test_a_track_that_never_was_is_told() -> None:
    assert np.isnan(follow(side_by_side, person="9")).all()
    assert "track none was followed" in told()


def test_pictures_are_chosen_from_one_by_one() -> None:
    follower = PersonFollower(still=True)
    for index, sizes in enumerate(((90, 60), (60, 90))):
        faces = [face(80, 80, sizes[0]), face(240, 80, sizes[1])]
        frame = Frame.of(np.zeros((160, 320, 3), np.uint8), index)
        (chosen,) = follower(frame, sorted(faces, key=lambda each: -each.area))
        assert chosen.landmarks[:, 0].mean() == pytest.approx((80, 240)[index], abs=1)
    assert "2 pictures show several people" in follower.describe()


@pytest.mark.parametrize(
    ("faces", "person", "still"),
    [("largest", "middle", False), ("all", "left", False), ("largest", "3", True)],
)
def test_what_cannot_be_meant_is_refused(faces: str, person: str, still: bool) -> None:
    with pytest.raises(UsageError, match=f"person={person}"):
        make_follower(faces, person, still=still)


class TwoFaces:
    """An aligner of drawn clips of two heads."""

    name = fingerprint = "two"
    expected_frames = None

    def __init__(self, landmarks: list[list[NDArray[np.float32]]]) -> None:
        self.landmarks = landmarks

    def __call__(self, frame: Frame) -> list[Face]:
        faces = [Face(points) for points in self.landmarks[frame.index]]
        return sorted(faces, key=lambda each: -each.area)

    def prepare(self) -> None: ...
    def finish(self, num_frames: int) -> None: ...
    def close(self) -> None: ...


def test_landmarks_from_a_file_are_not_laid_on_a_reference_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "her.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="aligner=openface"):
        find_reference(
            str(tmp_path / "her.png"),
            lambda: OpenfaceAligner("clip.csv"),
            lambda: BrightnessRecogniser(),  # type: ignore[arg-type, return-value]
        )


class BrightnessRecogniser:
    """Tells people by how bright they are."""

    name = lineage = licence = "brightness"
    measure = EUCLIDEAN

    def prepare(self, device: object = "cpu") -> None: ...

    def crop(self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
        left, top = landmarks.min(axis=0).astype(int)
        right, bottom = landmarks.max(axis=0).astype(int)
        value = image[max(top, 0) : bottom, max(left, 0) : right].mean()
        return np.full((4, 4, 3), round(float(value)), np.uint8)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return crops[:, :1, 0, :1].reshape(-1, 1).astype(np.float32) / 20


def test_pictures_name_the_person_also_where_two_cross(tmp_path: Path) -> None:
    """The dark one and the bright one walk through each other and swap places."""

    def picture(index: int, frames: int = 60) -> tuple[NDArray[np.uint8], list[Face]]:
        image = np.full((160, 320, 3), 60, np.uint8)
        there = 60 + 200 * index / frames
        faces = [face(there, 80, 60), face(320 - there, 80, 62)]
        for each, grey in zip(faces, (40, 220), strict=True):
            left, top, right, bottom = (int(value) for value in each.box)
            image[top:bottom, left:right] = grey
        return image, faces

    image, faces = picture(0)
    cv2.imwrite(str(tmp_path / "her.png"), image)

    class Aligner(TwoFaces):
        def __call__(self, frame: Frame) -> list[Face]:
            return [faces[1]]  # the bright one is the largest in the picture

    reference = find_reference(
        str(tmp_path / "her.png"),
        lambda: Aligner([]),  # type: ignore[arg-type, return-value]
        lambda: BrightnessRecogniser(),  # type: ignore[arg-type, return-value]
    )
    follower = PersonFollower(reference=reference)
    wrong = 0
    for index in range(60):
        image, faces = picture(index)
        chosen = follower(Frame.of(image, index), sorted(faces, key=lambda each: -each.area))
        x = 320 - (60 + 200 * index / 60)
        wrong += bool(chosen) and abs(chosen[0].landmarks[:, 0].mean() - x) > 30
    assert wrong <= 25, "a second at most"
    assert chosen, "and she is found again"
    assert abs(chosen[0].landmarks[:, 0].mean() - x) < 5
    assert follower.describe() == ""
    nobody = Frame.of(np.zeros((160, 320, 3), np.uint8), 60)
    assert PersonFollower(reference=reference)(nobody, faces) == []


def test_a_picture_needs_a_recogniser(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "her.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="recogniser=dlib"):
        find_reference(str(tmp_path / "her.png"), lambda: TwoFaces([]), lambda: None)  # type: ignore[arg-type, return-value]
    assert find_reference("left", lambda: TwoFaces([]), lambda: None) is None  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("person", "middle"), [("", 80), ("right", 240)])
def test_extraction_keeps_one_of_two_people(
    tmp_path: Path,
    person: str,
    middle: float,
    resumed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the end the other one is larger: a resumed extraction has to know whom it followed."""
    caplog.set_level(logging.INFO)
    landmarks = []
    with ClipWriter(tmp_path / "two.mp4", (320, 160), 25) as writer:
        for index in range(20):
            one, points = draw(SIDE, index / 25, ALICE)
            size = 100 + 3 * index  # it grows
            other, others = draw(size, index / 25, BOB)
            picture = np.zeros((160, 320, 3), np.uint8)
            picture[:, :160] = one
            picture[:size, 160 : 160 + size] = other
            landmarks.append([points, (others + np.array((160, 0))).astype(np.float32)])
            writer.write(picture)
    options = ExtractOptions(
        input=str(tmp_path / "two.mp4"), identity="anna", rights="mine", person=person,
        facesets=str(tmp_path), size=64, min_size=20,
    )  # fmt: skip
    if resumed:
        cut = landmarks[:19]
        with pytest.raises(IndexError):
            extract(options, lambda: TwoFaces(cut))  # type: ignore[arg-type, return-value]
    extract(options, lambda: TwoFaces(landmarks))  # type: ignore[arg-type, return-value]
    records = Faceset.open(tmp_path / "anna").records
    assert len(records) == 20
    for record in records:
        assert abs(record.landmarks[:, 0].mean() - middle) < 50
    assert ("several people are seen" in caplog.text) == (person == "")
