"""A swap is held against its performer on film: what is right passes, what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper import evaluate as verb
from swapper.errors import MediaError, UsageError
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator, load_estimator
from swapper.evaluate import FIGURES, REPORT, evaluate, independent_estimator
from swapper.evaluation import clips
from swapper.evaluation.clips import ReadingsCache
from swapper.evaluation.leaderboard import IDENTITY_MEASURES
from swapper.extract import extract
from swapper.faces.openface import OpenfaceAligner
from swapper.faces.recognition import COSINE
from swapper.faces.shape import Shapes, aligned_landmarks
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.stage import Stage
from swapper.metrics.diagnosis import Fault
from swapper.options.verbs import EvaluateOptions, ExtractOptions
from swapper.report.content import Measure, Report
from swapper.synth.performance import Performance, play
from swapper.synth.scenarios import Take
from swapper.synth.timeline import parse_timeline
from swapper.synth.truth import read_landmarks
from swapper.synthesize import ClipFiles, render_take

SIZE, FPS = 128, 25.0
SCORE = "neutral:1,happy:1.5,neutral:0.5,anger:1.5,neutral:0.5,surprise:1.5,neutral:1"


def performance() -> Performance:
    return play(parse_timeline(SCORE), fps=FPS, seed=3)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int, Performance], ClipFiles]:
    folder = tmp_path_factory.mktemp("film")

    def shot(name: str, who: int, played: Performance) -> ClipFiles:
        take = Take(name, sample_identity(who), played, Stage())
        return render_take(take, folder, SIZE, supersample=1)

    return shot


@pytest.fixture(scope="module")
def performer(film: Callable[[str, int, Performance], ClipFiles]) -> ClipFiles:
    return film("performer", 1, performance())


@pytest.fixture(scope="module")
def answer(film: Callable[[str, int, Performance], ClipFiles]) -> ClipFiles:
    return film("answer", 2, performance())


def judge() -> Estimator:
    return load_estimator("judge", "measuring")


def held(
    performer: ClipFiles,
    swap: ClipFiles,
    output: Path,
    truth: ClipFiles | None = None,
    **changes: object,
) -> Report:
    """Evaluate by exact landmarks: those of each clip, in the order in which they are watched."""
    order = [performer, swap, performer if truth is None else truth]
    tables: Iterator[ClipFiles] = iter(order)
    options = EvaluateOptions(
        performer=str(performer.video),
        swap=str(swap.video),
        truth="" if truth is None else str(truth.video),
        output=str(output),
        device="cpu",
    )
    return evaluate(
        replace(options, **changes),  # type: ignore[arg-type]
        lambda: OpenfaceAligner(str(next(tables).landmarks)),
        judge,
    )


def value(report: Report, name: str) -> float:
    found = [each for group in report.groups for each in group.measures if each.name == name]
    assert len(found) == 1, name
    return found[0].value


def test_the_exact_answer_passes(performer: ClipFiles, answer: ClipFiles, tmp_path: Path) -> None:
    report = held(performer, answer, tmp_path / "out", truth=answer)
    assert report.expressive
    assert report.findings == ()
    assert "comes through" in report.verdict
    assert 0.7 < value(report, "gain") < 1.3
    assert value(report, "correlation") > 0.7
    assert value(report, "emotion_kappa") > 0.4
    assert value(report, "face_psnr") == 100
    assert value(report, "face_ssim") == pytest.approx(1)
    assert abs(value(report, "lag")) < 0.5
    page = (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "answer.mp4 after performer.mp4" in page
    told = json.loads((tmp_path / "out" / FIGURES).read_text(encoding="utf-8"))
    assert told["expressive"] is True
    assert told["measures"]["gain"]["value"] == pytest.approx(value(report, "gain"))
    # The exact answer is the ceiling, and was the swap.
    assert told["measures"]["gain"]["ceiling"] == pytest.approx(value(report, "gain"))
    assert told["facts"]["ceiling"] == "the ground truth"
    assert abs(told["measures"]["correlation"]["floor"]) < 0.5
    assert told["facts"]["provenance"] == "none"
    assert "judge:" in told["lineage"][1]
    assert len(report.strongest) >= 3
    assert any("happy" in each.caption for each in report.strongest)
    assert all(each.swap[:2] == b"\xff\xd8" for each in (*report.strongest, *report.worst))
    assert report.worst[0].truth is not None


def test_the_performer_on_the_own_face_stands_beside(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    """The performer's own clip is the best self-swap that could be."""
    memory: ReadingsCache = {}

    def once(output: Path, watched: list[ClipFiles]) -> Report:
        tables = iter(watched)
        return evaluate(
            EvaluateOptions(
                str(performer.video), str(answer.video), self_swap=str(performer.video),
                output=str(output), device="cpu",
            ),
            lambda: OpenfaceAligner(str(next(tables).landmarks)),
            judge,
            cache=memory,
        )  # fmt: skip

    first = once(tmp_path / "first", [performer, answer, performer, performer])
    told = json.loads((tmp_path / "first" / FIGURES).read_text(encoding="utf-8"))["measures"]
    for name in ("gain", "correlation", "emotion_kappa"):
        assert told[name]["self_swap"] == pytest.approx(1)
        assert told[name]["value"] < 1
    assert told["lag"]["self_swap"] == pytest.approx(0, abs=0.01)
    assert told["landmark_error"]["self_swap"] == 0
    assert told["gain"]["normalised"] == pytest.approx(told["gain"]["value"], abs=0.35)
    assert first.facts["self-swap"] == str(performer.video)
    assert set(memory) == {
        (title, performer.video.resolve()) for title in ("performer", "re-encoded")
    }
    # Neither the performer nor its copy is watched again.
    again = once(tmp_path / "second", [answer, performer])
    assert again.to_dict()["measures"] == first.to_dict()["measures"]


def test_a_self_swap_of_another_model_is_refused(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Said:
        state = "trusted"

        def __init__(self, path: Path) -> None:
            self.claim = {"model_sha256": path.name}

    monkeypatch.setattr(clips, "verify", Said)
    with pytest.raises(UsageError, match=r"performer\.mp4: .*another model"):
        held(performer, answer, tmp_path / "out", self_swap=str(performer.video))


def test_half_an_expression_is_damped(
    performer: ClipFiles, film: Callable[[str, int, Performance], ClipFiles], tmp_path: Path
) -> None:
    whole = performance()
    rest = np.median(whole.units, axis=0, keepdims=True)
    weak = replace(whole, units=(rest + 0.45 * (whole.units - rest)).astype(np.float32))
    report = held(performer, film("weak", 2, weak), tmp_path / "out")
    assert report.expressive is False
    assert report.verdict.startswith("The expression is damped")
    assert value(report, "gain") < 0.65


def test_another_performance_is_unrelated(
    performer: ClipFiles, film: Callable[[str, int, Performance], ClipFiles], tmp_path: Path
) -> None:
    other = performance()
    turned = replace(other, units=np.roll(other.units, len(other) // 3, axis=0))
    report = held(performer, film("turned", 2, turned), tmp_path / "out")
    assert report.expressive is False
    assert not set(report.findings) & {Fault.DAMPED}
    assert report.verdict.startswith("The expression is unrelated to the performer's")


def test_without_ceiling_and_emotions_it_says_so(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    report = held(performer, answer, tmp_path / "out", ceiling=False)
    gain = next(m for group in report.groups for m in group.measures if m.name == "gain")
    assert np.isnan(gain.ceiling)
    assert report.facts["ceiling"] == "not measured"


# --- by landmarks alone ---------------------------------------------------------------------------


def tabled(folder: Path, performer: ClipFiles, strength: float) -> EvaluateOptions:
    """The performer's clip under two names; of the second, landmarks as weak as told."""
    tables = folder / "tables"
    tables.mkdir()
    for name in ("anna", "swap"):
        (folder / f"{name}.mp4").write_bytes(performer.video.read_bytes())
    points = read_landmarks(performer.landmarks)
    shapes = Shapes.of(aligned_landmarks(points))
    rest = np.median(shapes.front, axis=0)
    weak = Shapes(
        rest + strength * (shapes.front - rest), shapes.rotation, shapes.scale, shapes.offset
    )
    aligned = np.einsum("n,nij,npj->npi", weak.scale, weak.rotation, weak.front)
    aligned += weak.offset[:, None]
    for name, found in (("anna.csv", points), ("swap.openface.csv", 30 * aligned[..., :2] + 64)):
        header = ["frame", "face_id", "confidence", "success"]
        header += [f"{axis}_{n}" for axis in "xy" for n in range(68)]
        rows = [
            [str(n + 1), "0", "1", "1", *(f"{each:.4f}" for each in frame.T.ravel())]
            for n, frame in enumerate(found)
        ]
        (tables / name).write_text("\n".join(",".join(each) for each in [header, *rows]))
    return EvaluateOptions(
        str(folder / "anna.mp4"), str(folder / "swap.mp4"), output=str(folder / "out"), device="cpu"
    )


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_landmarks_alone_tell_how_strong_a_swap_is(
    performer: ClipFiles, tmp_path: Path, strength: float
) -> None:
    """What used to be refused for want of a reader; each clip by its own CSV of a folder."""
    options = tabled(tmp_path, performer, strength)
    report = evaluate(options, lambda: OpenfaceAligner(str(tmp_path / "tables")))
    assert report.unit_instrument == "landmark geometry"
    assert report.expressive == (strength == 1)
    assert value(report, "gain") == pytest.approx(strength, abs=0.03)
    for part in ("mouth", "mouth_opening", "mouth_width", "mouth_corners", "brows", "lids", "jaw"):
        assert value(report, f"geometry_{part}_gain") == pytest.approx(strength, abs=0.05), part
        assert value(report, f"geometry_{part}_correlation") > 0.99, part
    assert "emotions were not read" in "; ".join(report.undetermined)
    # The re-encoded performer has another name, and was read by the performer's CSV.
    assert report.facts["ceiling"].endswith("CRF 23); its landmarks are the performer's")
    told = json.loads((tmp_path / "out" / FIGURES).read_text(encoding="utf-8"))["measures"]
    assert told["geometry_mouth_gain"]["ceiling"] == pytest.approx(1)
    assert told["geometry_mouth_gain"]["instrument"] == "landmarks by openface"
    assert told["geometry_mouth_gain"]["group"] == "Geometry"
    page = (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert "Mouth, mean of three, gain" in page


def test_one_table_for_both_clips_reads_no_expression(performer: ClipFiles, tmp_path: Path) -> None:
    options = tabled(tmp_path, performer, 1.0)
    table = str(performer.landmarks)
    with pytest.raises(UsageError, match=r"swap\.mp4: .*landmarks"):
        evaluate(options, lambda: OpenfaceAligner(table))
    report = evaluate(options, lambda: OpenfaceAligner(table), judge)
    assert {group.title for group in report.groups}.isdisjoint({"Geometry", "Head and gaze"})
    assert "head pose and geometry of the swap were not measured" in "; ".join(report.undetermined)


def test_landmarks_that_taught_the_model_are_marked(
    performer: ClipFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Said:
        state = "trusted"

        def __init__(self, path: Path) -> None:
            self.claim = {"parameters": {"trained_with": ["xception:12", "landmarks:openface"]}}

    monkeypatch.setattr(verb, "verify", Said)
    options = tabled(tmp_path, performer, 1.0)
    report = evaluate(options, lambda: OpenfaceAligner(str(tmp_path / "tables")))
    assert report.lineage == (
        "trained with: xception:12, landmarks:openface",
        "measured by: landmark geometry, landmarks by openface",
    )
    assert "may have been used in training" in report.undetermined[0]
    assert report.verdict.endswith("Partial: openface may have been used in training.")
    told = json.loads((tmp_path / "out" / FIGURES).read_text(encoding="utf-8"))["measures"]
    partial = {name for name, each in told.items() if each["partial"]}
    assert {"gain", "geometry_mouth_gain", "pose_error"} <= partial
    assert "warping_error" not in partial
    page = (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert page.count("(may have been used in training)") >= 4


# --- who may judge, and of what -------------------------------------------------------------------


def test_a_reader_chooses_itself_by_the_lineage() -> None:
    """What `affect=auto` passes over is told, and who taught the model is not asked."""
    asked: list[tuple[str, ...]] = []

    class Chooser(AutoEstimator):
        def pick(self, lineage: Sequence[str]) -> Estimator | None:
            asked.append(tuple(lineage))
            self.skipped = ("xception: the model was trained with it",)
            return None

    def independent_of(lineage: tuple[str, ...]) -> tuple[str, ...]:
        return independent_estimator(Chooser(), lineage, "cpu")[1]

    assert independent_of(("xception:12",)) == ("xception: the model was trained with it",)
    assert asked == [("xception:12",)]
    reader = judge()
    assert independent_estimator(reader, ("xception:12",), "cpu") == (reader, ())
    with pytest.raises(UsageError, match="affect=judge: "):
        independent_estimator(reader, (reader.lineage,), "cpu")


def test_what_cannot_be_compared_is_one_line(
    performer: ClipFiles, film: Callable[[str, int, Performance], ClipFiles], tmp_path: Path
) -> None:
    whole = performance()
    short = film("short", 2, play(parse_timeline("neutral:1,happy:1"), fps=FPS, seed=3))
    assert len(whole) > 30
    with pytest.raises(MediaError, match=r"short\.mp4: .* frames .*performer\.mp4"):
        held(performer, short, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_is_not_overwritten_unasked(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    (tmp_path / REPORT).write_text("mine")
    with pytest.raises(UsageError, match="exists; pass overwrite=true"):
        held(performer, answer, tmp_path)
    assert (tmp_path / REPORT).read_text() == "mine"


class Colours:
    """Takes the colours of a face for who it is."""

    name, licence, lineage = "colours", "of this test", "colours:0"
    measure = COSINE

    def __init__(self) -> None:
        self.asked = 0

    def prepare(self, device: object = "cpu") -> None:
        self.device = device

    def crop(self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
        left, top = landmarks.min(axis=0).astype(int)
        right, bottom = landmarks.max(axis=0).astype(int)
        return np.array(cv2.resize(image[top:bottom, left:right], (32, 32)), np.uint8)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked += len(crops)
        middle: NDArray[np.float32] = crops.astype(np.float32).mean(axis=(1, 2)) - 110
        return middle


def asked(
    performer: ClipFiles, swap: ClipFiles, output: Path, identity: str = ""
) -> tuple[dict[str, Measure], Report, Colours]:
    tables = iter([performer, swap, performer])
    options = EvaluateOptions(
        str(performer.video), str(swap.video), identity=identity, output=str(output), device="cpu"
    )
    colours = Colours()
    report = evaluate(
        options, lambda: OpenfaceAligner(str(next(tables).landmarks)), judge, lambda: colours
    )
    found = {
        m.name: m for group in report.groups for m in group.measures if m.name in IDENTITY_MEASURES
    }
    return found, report, colours


def test_whose_face_appears_is_asked_of_a_recogniser(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    extract(
        ExtractOptions(input=str(answer.video), identity="bert", rights="drawn", size=96,
                       facesets=str(tmp_path), every=10),
        lambda: OpenfaceAligner(str(answer.landmarks)),
    )  # fmt: skip
    found, report, colours = asked(performer, answer, tmp_path / "out", str(tmp_path / "bert"))
    identity, theirs = found["identity_similarity"], found["performer_similarity"]
    assert identity.title == "Likeness to bert (cosine)"
    assert identity.value > 0.9
    assert identity.floor < identity.value  # the performer is somebody else
    assert identity.ceiling == pytest.approx(1, abs=0.05)
    assert theirs.floor == pytest.approx(1, abs=0.05)  # the performer's own
    assert theirs.value < theirs.floor
    assert theirs.value == pytest.approx(theirs.ceiling, abs=0.1)
    assert found["nearer_identity"].value > 0.9
    assert "colours:0 (licence: of this test)" in report.lineage[1]
    assert not any("whose face" in each for each in report.undetermined)
    page = (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert "Frames nearer bert than the performer" in page
    # It is not asked of the re-encoded performer.
    faces = len(list((tmp_path / "bert" / "images").rglob("*.*")))
    assert colours.asked == faces + 2 * len(performance())


def test_without_an_identity_the_performer_s_face_is_asked_for(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    found, report, _ = asked(performer, answer, tmp_path / "out")
    assert list(found) == ["performer_similarity"]
    assert found["performer_similarity"].value < found["performer_similarity"].floor
    assert any("distance to the identity was not measured" in each for each in report.undetermined)
    assert "colours:0 (licence: of this test)" in report.lineage[1]


def test_an_identity_without_a_recogniser_is_one_line(
    performer: ClipFiles, answer: ClipFiles, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"identity=bert: .*recogniser=dlib"):
        held(performer, answer, tmp_path / "out", identity="bert")
    report = held(performer, answer, tmp_path / "out")
    assert "identity was not measured: pass recogniser=dlib identity=FACESET" in report.undetermined
