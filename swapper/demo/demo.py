"""End-to-end demo: train on two synthetic actors and score the swap against ground truth."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.demo.pipeline import (
    CastingClips,
    ExactAligner,
    actor_clip,
    actor_truth,
    check_unbiased,
    convert_clip,
    extract_faces,
    train_run,
    unit_estimator,
)
from swapper.errors import UsageError
from swapper.estimators.base import Estimator, load_estimator
from swapper.evaluate import REPORT, evaluate
from swapper.evaluation.ground_truth import Reader, compare_with_truth
from swapper.files import write_atomically
from swapper.head_renderer.identity import sample_identity
from swapper.media.image_strip import draw_strip
from swapper.media.images import write_image
from swapper.media.video_reader import VideoReader
from swapper.metrics.clip_truth import Clip, GroundTruth
from swapper.metrics.image_quality import MAX_DB
from swapper.metrics.traces import Calibration
from swapper.metrics.truth_scores import AREAS, ClipScore, score
from swapper.options.verbs import DemoOptions, EvaluateOptions
from swapper.provenance.manifest import verify
from swapper.report.content import Report
from swapper.synth.scenarios import Casting, build_casting
from swapper.synthesize import render_casting, renderer_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """Sizes of footage and training.

    Attributes:
        seconds: Seconds of training footage of each actor.
        sparse: Frames per second of that footage; few, varied frames train best.
        held_out: Seconds of the clip that is converted.
        fps: Frames per second of that clip.
        size: Side of the frames in pixels.
        resolution: Of the model, in pixels.
        steps: Training steps; training is interrupted and resumed after half of them.
    """

    seconds: float
    sparse: float
    held_out: float
    fps: float
    size: int
    resolution: int
    steps: int


BUDGETS: Final = {
    "full": Budget(40.0, 8.0, held_out=5.5, fps=25.0, size=256, resolution=96, steps=2800),
    "ci": Budget(10.0, 6.0, held_out=4.4, fps=12.5, size=128, resolution=64, steps=320),
}
PERFORMER, IDENTITY = 11, 17
"""Seeds of two clearly different actors."""
TRAINING: Final = (
    *("experiment=affect64", "affect=actors", "optim.lr=2e-3", "optim.decay=cosine"),
    *("loss.dssim=0.5", "augment.rotation=0", "augment.scale=0", "augment.shift=0"),
    *("augment.warp=0.05", "augment.degrade=0", "data.num_workers=1"),
)
"""Overrides for a model that learns two clean, steady faces in minutes."""
_RECIPE: Final = "demo.json"
_PRODUCTS: Final = ("footage", "facesets", "runs", "swap.mp4", "strip.png", "report.json",
               "evaluation")  # fmt: skip
_LEAST_OVERLAP: Final = 0.6
_LEAST_OPACITY: Final = 0.75


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores of the swap and of its two references.

    Attributes:
        swap: Scores of the converted clip.
        performer: Scores of the performer's clip taken as the swap: a lower bound.
        answer: Scores of the ground truth taken as the swap: the instruments' ceiling.
        broken: Failed checks; empty if all passed.
    """

    swap: ClipScore
    performer: ClipScore
    answer: ClipScore
    broken: list[str]


def demo(options: DemoOptions) -> int:
    """Render, extract, train, resume, convert, compare; a second run reuses finished steps.

    Returns:
        Exit status: 0 if all checks passed, else 1.

    Raises:
        SwapperError: A step failed.
    """
    folder, budget = Path(options.output), BUDGETS[options.budget]
    _prepare_folder(folder, {"version": __version__, "budget": asdict(budget), "seed": options.seed,
                    "training": TRAINING, "actors": renderer_hash()})  # fmt: skip
    run = folder / "runs" / "demo"
    seconds: dict[str, float] = {}
    judge = load_estimator("judge", "measuring")
    read = unit_estimator(judge)
    with _step(1, "filming two actors, one performance, and its exact answer", seconds):
        casting_clips = render_casting(
            _make_casting(budget, options.seed), folder / "footage", budget.size
        )
    with _step(2, "cutting out their faces", seconds):
        facesets = extract_faces(casting_clips, folder / "facesets", 128)
    often = budget.steps // 8
    intervals = ("trainer.val_check_interval", "callbacks.preview.every_n_steps",
                 "callbacks.checkpoint.every_n_steps")  # fmt: skip
    overrides = [*TRAINING, f"model.resolution={budget.resolution}"]
    overrides += [f"{each}={often}" for each in intervals]
    with _step(3, f"training to step {budget.steps // 2}", seconds):
        train_run(run, facesets, overrides, budget.steps // 2)
    with _step(4, f"resuming, to step {budget.steps}", seconds):
        train_run(run, facesets, overrides, budget.steps)
    with _step(5, "putting the identity's face on the performance", seconds):
        check_unbiased(run, judge)
        clip, masks = convert_clip(run, casting_clips["held_out"][0], folder / "swap.mp4")
    with _step(6, "comparing with the exact answer", seconds):
        performer = actor_clip(casting_clips["held_out"][0])
        answer = actor_truth(casting_clips["truth"][0])
        outcome = _judge_swap(clip, masks, performer, answer, read)
        write_image(folder / "strip.png", _strip(performer, clip, answer))
    with _step(7, "asking whether the feeling survived", seconds):
        verdict = _evaluate_swap(
            casting_clips, clip.video, run, folder / "evaluation", judge
        ).verdict
    report = {
        name: getattr(outcome, name).to_dict() for name in ("swap", "performer", "answer")
    } | {"verdict": verdict, "broken": outcome.broken, "seconds": seconds}
    write_atomically(folder / "report.json", json.dumps(report, indent=2).encode())
    print("\n".join([*_summary(outcome, folder, run), "", verdict]))
    print(f"evaluation report: {(folder / 'evaluation' / REPORT).resolve()}")
    return 1 if outcome.broken else 0


def _evaluate_swap(
    casting_clips: CastingClips, video: Path, run: Path, output: Path, judge: Estimator
) -> Report:
    """Run `swapper evaluate` on the swap with exact landmarks."""
    performer, truth = casting_clips["held_out"][0], casting_clips["truth"][0]
    # The swap was aligned by the performer's landmarks.
    tables = {performer.video: performer, video: performer, truth.video: truth}
    options = EvaluateOptions(
        performer=str(performer.video), swap=str(video), truth=str(truth.video), model=str(run),
        output=str(output), overwrite=True,
    )  # fmt: skip
    landmarks = {clip.resolve(): files.landmarks for clip, files in tables.items()}
    return evaluate(options, lambda: ExactAligner(landmarks), lambda: judge)


def _make_casting(budget: Budget, seed: int) -> Casting:
    def at(fps: float) -> Casting:
        return build_casting(
            "rich", sample_identity(PERFORMER), sample_identity(IDENTITY), seed, budget.seconds,
            fps=fps, clips=1, held_out=1, held_out_seconds=budget.held_out,
        )  # fmt: skip

    # Movements do not depend on the frame rate.
    held_out_takes = at(budget.fps)
    return replace(at(budget.sparse), held_out=held_out_takes.held_out, truth=held_out_takes.truth)


def _prepare_folder(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Claim the folder: keep the products of the same recipe, delete those of another.

    Raises:
        UsageError: The folder holds files that no demo wrote.
    """
    recipe_text = json.dumps(recipe, indent=2)
    card = folder / _RECIPE
    if folder.exists() and not card.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is no folder of a demo; pass another output=")
    if card.exists():
        if card.read_text(encoding="utf-8") == recipe_text:
            log.info("%s: reusing finished steps", folder)
            return
        log.info("%s: was made by another recipe; starting over", folder)
        for name in _PRODUCTS:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(card, recipe_text.encode())


@contextmanager
def _step(number: int, label: str, seconds: dict[str, float]) -> Iterator[None]:
    log.info("\n[%d/7] %s", number, label)
    start = time.monotonic()
    yield
    seconds[label] = round(time.monotonic() - start, 1)


def _judge_swap(
    clip: Clip,
    masks: Sequence[NDArray[np.float32]],
    performer: Clip,
    answer: GroundTruth,
    read: Reader,
) -> Outcome:
    comparisons = (
        compare_with_truth(clip, answer, read, blend_masks=masks),
        compare_with_truth(performer, answer, read),
        compare_with_truth(answer, answer, read),
    )
    calibration = Calibration.fit(comparisons[2].answer_readings, answer.units)
    swapped, performed, ideal = (score(each, answer, calibration) for each in comparisons)
    broken = []
    if verify(clip.video).state not in ("trusted", "unknown signer"):
        broken.append(f"{clip.video} does not carry its provenance")
    if not swapped.mask_iou >= _LEAST_OVERLAP:
        broken.append(
            f"the swap misses the face: mask IoU {swapped.mask_iou:.2f}, not "
            f"{_LEAST_OVERLAP} or more"
        )
    if not swapped.opacity >= _LEAST_OPACITY:
        broken.append(
            f"the performer's face shines through: opacity {swapped.opacity:.2f}, not "
            f"{_LEAST_OPACITY} or more"
        )
    if not swapped.areas["face"] < performed.areas["face"]:
        broken.append("the swap is no nearer to the identity's face than the performer's own was")
    return Outcome(swapped, performed, ideal, broken)


def _strip(performer: Clip, clip: Clip, answer: GroundTruth) -> NDArray[np.uint8]:
    """Draw performer, swap and ground truth at the apex of each emotion, ordered by time."""
    # Blinks do not count as expression apexes.
    strength = np.delete(answer.units, answer.unit_names.index("AU43"), axis=1).sum(axis=1)
    strength = strength * (1 - answer.units[:, answer.unit_names.index("AU43")])
    emotions = [name for name in answer.emotion_names if name != "neutral"]
    apexes = {
        name: int((answer.emotions[:, answer.emotion_names.index(name)] * strength).argmax())
        for name in emotions
    }
    apex_frames = sorted(apexes.items(), key=lambda source: source[1])
    rows = []
    for label, source in (("performer", performer), ("swap", clip), ("truth", answer)):
        pictures = {
            frame.index: frame.image
            for frame in VideoReader(source.video)
            if frame.index in apexes.values()
        }
        rows.append((label, [pictures[index] for _, index in apex_frames]))
    return draw_strip(rows, [name for name, _ in apex_frames])


def _summary(outcome: Outcome, folder: Path, run: Path) -> list[str]:
    """Return the outcome as lines of text."""
    areas = [(f"error of the aligned {each}, grey levels", ".1f", each) for each in AREAS]
    rows = [
        ("PSNR inside the face, dB", ".1f", "psnr_face"),
        ("PSNR of the whole frame, dB", ".1f", "psnr_frame"),
        ("mask IoU", ".2f", "mask_iou"),
        ("opacity: how little of the performer shines through", ".2f", "opacity"),
        *areas,
        ("gradient energy of the aligned face, share of the truth's", ".2f", "gradient_energy"),
        ("expression error, action units from 0 to 1", ".3f", "units_error"),
        ("expression gain (1 is as strong as it should be)", ".2f", "gain"),
        ("expression correlation over time", ".2f", "correlation"),
    ]
    scores = [
        vars(each) | dict(each.areas) for each in (outcome.swap, outcome.performer, outcome.answer)
    ]
    lines = ["", f"{'compared with the ground truth':57} {'swap':>9} {'performer':>9} {'truth':>9}"]
    lines += [
        f"{title:57} " + " ".join(f"{_number(each[name], form):>9}" for each in scores)
        for title, form, name in rows
    ]
    previews = sorted((run / "previews").glob("*.png"))
    places = {
        "swapped clip": folder / "swap.mp4",
        "side by side": folder / "strip.png",
        "preview sheet": previews[-1] if previews else None,
        "all figures": folder / "report.json",
    }
    lines += ["", *(f"{name + ':':15} {path}" for name, path in places.items() if path)]
    return lines + [f"broken: {each}" for each in outcome.broken]


def _number(value: float, form: str) -> str:
    if value == MAX_DB:
        return "exact"
    return format(value, form) if np.isfinite(value) else "–"
