"""Follow one person over a clip in which several are seen."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.faces.aligner import Aligner, ClipAware, FrameLike
from swapper.faces.recognition import Recogniser
from swapper.faces.tracking import CutDetector, Tracker
from swapper.media.images import list_images, read_image
from swapper.media.video_reader import Frame
from swapper.types import Face

_CENTRE: Final = 0.5
_POSITIONS: Final[dict[str, Callable[[float, float], float]]] = {
    "left": lambda x, _: x,
    "right": lambda x, _: -x,
    "top": lambda _, y: y,
    "bottom": lambda _, y: -y,
    "center": lambda x, y: (x - _CENTRE) ** 2 + (y - _CENTRE) ** 2,
}
# A second face of this share of the largest one's area makes the choice of the largest a guess.
_RIVAL: Final = 0.3
_FEWEST: Final = 3
"""Frames of a track below which it is not listed: detectors err now and then."""
_MOST_LISTED: Final = 8
_COMPARE_EVERY: Final = 25


@dataclass
class _Track:
    """Where and how long a track was seen; positions and size in shares of the frame."""

    first: int
    last: int = 0
    frames: int = 0
    places: list[tuple[float, float, float]] = field(default_factory=list)

    def describe(self, number: int) -> str:
        x, y, size = np.mean(self.places, axis=0)
        return (
            f"{number} (at {100 * x:.0f} % from the left and {100 * y:.0f} % from the top, "
            f"{100 * size:.0f} % of the height, in {self.frames} frames from {self.first} to "
            f"{self.last})"
        )


@dataclass(frozen=True)
class Reference:
    """Pictures of the person to follow.

    Attributes:
        recogniser: Prepared.
        embeddings: (N, D), its embeddings of the pictures.
    """

    recogniser: Recogniser
    embeddings: NDArray[np.float32]

    @classmethod
    def of(cls, person: str, aligner: Aligner, recogniser: Recogniser | None) -> Reference:
        """Read pictures of a person.

        Args:
            person: A picture, folder or glob of pictures; the largest face of each counts.
            aligner: Not prepared yet; closed at the end.
            recogniser: None is refused.

        Raises:
            UsageError: There is no recogniser, or no face.
            MediaError: There is no picture.
            AlignerError: It cannot be used.
            EstimatorError: The recogniser cannot be used.
        """
        if recogniser is None:
            raise UsageError(f"person={person}: to find a person by pictures pass recogniser=dlib")
        if isinstance(aligner, ClipAware):
            raise UsageError(
                f"person={person}: aligner={aligner.name} reads landmarks of clips, none of "
                "pictures; name a position or tracks, or pass another aligner"
            )
        crops = []
        try:
            for index, path in enumerate(list_images(person)):
                image = read_image(path)
                if faces := aligner(Frame.of(image, index)):
                    crops.append(recogniser.crop(image, faces[0].landmarks))
        finally:
            aligner.close()
        if not crops:
            raise UsageError(f"person={person}: no face found there; pass other pictures")
        recogniser.prepare()
        return cls(recogniser, recogniser.embed(np.stack(crops)))

    def choose(self, image: NDArray[np.uint8], faces: Sequence[Face]) -> Face | None:
        """Return the face that is most the person's, if one is."""
        if not faces:
            return None
        crops = np.stack([self.recogniser.crop(image, face.landmarks) for face in faces])
        measure = self.recogniser.measure
        values = measure.to_mean(self.recogniser.embed(crops), self.embeddings)
        best = int(np.argmax(values) if measure.nearer == "higher" else np.argmin(values))
        return faces[best] if measure.is_same(float(values[best])) else None


class PersonFollower:
    """Keeps the faces of one person of a clip.

    The track of a face is followed as long as it lasts; at the start, at cuts and where the track
    is lost, a face is chosen by `person`.

    Args:
        person: "left", "right", "top", "bottom" or "center"; numbers of tracks, as `describe`
            lists them, separated by commas; or "" for the largest face.
        reference: Pictures of the person, instead; a track is compared with them at its beginning
            and every second, since tracks of people who cross may change places.
        still: The frames are unrelated pictures: a face is chosen in each.

    Raises:
        UsageError: `person` is none of these, or a number of a track in pictures.
    """

    def __init__(
        self, person: str = "", *, reference: Reference | None = None, still: bool = False
    ) -> None:
        self.person = person = "" if reference is not None else person
        self._reference = reference
        self._still = still
        parts = [each.strip() for each in person.split(",")] if person else []
        self._wanted = {int(each) for each in parts if each.isdecimal()}
        if person and person not in _POSITIONS and len(self._wanted) < len(parts):
            raise UsageError(
                f"person={person}: is no picture; choose one, or from {', '.join(_POSITIONS)}, or "
                "numbers of tracks"
            )
        if still and self._wanted:
            raise UsageError(f"person={person}: pictures have no tracks; name a position")
        self._tracker, self._is_cut = Tracker(), CutDetector()
        self._tracks: dict[int, _Track] = {}
        self._followed: dict[int, int] = {}  # frames by track
        self._current: int | None = None
        self._guesses = 0
        self._since_compared = 0
        self._area = 0.0  # of the face at last

    def __call__(self, frame: FrameLike, faces: Sequence[Face]) -> list[Face]:
        """Return the person's face in the next frame; empty if it is not seen."""
        if self._still or self._is_cut(frame.image):
            self._tracker.reset()
            self._current, self._area = None, 0.0
        tracked = self._tracker(faces)
        height, width = frame.image.shape[:2]
        for face in () if self._still else tracked:
            self._note(frame.index, face, width, height)
        chosen = self._chosen(frame.image, tracked)
        if chosen is None:
            return []
        self._followed[chosen.track] = self._followed.get(chosen.track, 0) + 1
        return [chosen]

    @property
    def needs_every_frame(self) -> bool:
        """Whether the choice depends on frames that are passed over."""
        return self._reference is None and bool(self.person)

    def describe(self) -> str:
        """Return a line that lists the tracks, where the choice was a guess; else nothing."""
        if self._still and self._guesses:
            return (
                f"{self._guesses} pictures show several people, of whom the largest was taken; "
                "pass person= for another"
            )
        seen = {number: each for number, each in self._tracks.items() if each.frames >= _FEWEST}
        missing = self._wanted - set(self._tracks)
        if not (self._guesses or missing) or len(seen) < 2:
            return ""
        most = sorted(seen, key=lambda number: -seen[number].frames)[:_MOST_LISTED]
        listed = ", ".join(seen[number].describe(number) for number in sorted(most))
        followed = ", ".join(str(each) for each in self._followed if each in seen) or "none"
        return (
            f"several people are seen, track {followed} was followed; pass person= for others: "
            f"{listed}"
        )

    def _note(self, index: int, face: Face, width: int, height: int) -> None:
        track = self._tracks.setdefault(face.track, _Track(index))
        track.last = index
        track.frames += 1
        if track.frames & (track.frames - 1) == 0 or track.frames % 100 == 0:  # a few are enough
            left, top, right, bottom = face.box
            place = (left + right) / 2 / width, (top + bottom) / 2 / height
            track.places.append((*place, (bottom - top) / height))

    def _chosen(self, image: NDArray[np.uint8], tracked: list[Face]) -> Face | None:
        if self._wanted:
            return next((face for face in tracked if face.track in self._wanted), None)
        current = next((face for face in tracked if face.track == self._current), None)
        if current is not None:
            self._area = current.area
        if self._reference is not None:
            if current is None or self._since_compared >= _COMPARE_EVERY:
                current = self._reference.choose(image, tracked)
                self._current = None if current is None else current.track
                self._since_compared = 0
            self._since_compared += 1
            return current
        if current is not None:
            return current
        # Who was hidden for a moment is not replaced, nor, without a cut, by somebody far smaller.
        likely = [face for face in tracked if face.area > _RIVAL * self._area]
        if not likely or self._tracker.remembers(self._current):
            return None
        if self.person:
            position = _POSITIONS[self.person]
            height, width = image.shape[:2]

            def key(face: Face) -> float:
                left, top, right, bottom = face.box
                return position((left + right) / 2 / width, (top + bottom) / 2 / height)

            chosen = min(likely, key=key)
        else:
            chosen, *others = sorted(likely, key=lambda face: -face.area)
            self._guesses += bool(others) and others[0].area > _RIVAL * chosen.area
        self._guesses += self._current is not None  # without a cut
        self._current, self._area = chosen.track, chosen.area
        return chosen


def find_reference(
    person: str,
    make_aligner: Callable[[], Aligner],
    make_recogniser: Callable[[], Recogniser | None],
) -> Reference | None:
    """Read the pictures that `person` names; None if it names none."""
    if not person or person in _POSITIONS:
        return None
    if not Path(person).exists() and not glob.glob(person):  # noqa: PTH207
        return None
    return Reference.of(person, make_aligner(), make_recogniser())


def make_follower(
    faces: str, person: str, reference: Reference | None = None, *, still: bool
) -> PersonFollower | None:
    """Return what chooses faces by the options of a verb; None to take all.

    Raises:
        UsageError: They do not fit each other.
    """
    if faces == "all":
        if person:
            raise UsageError(f"person={person}: with faces=all there is nobody to choose; drop one")
        return None
    return PersonFollower(person, reference=reference, still=still)
