"""The options of every verb: names, defaults, legal values and one line of help each.

The command line makes its help, its checks and its typed Hydra schema from these dataclasses; the
verbs take them as plain values. Nothing heavy may be imported here: TAB and ``--help`` read it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swapper.options.fields import MISSING, option
from swapper.options.groups import AffectOptions, BlendOptions, CodecOptions, StageOptions


@dataclass
class ExtractOptions:
    """Cut the faces of one identity out of footage into a faceset."""

    input: Any = option(
        MISSING, "video, picture, folder of pictures or videos, glob; or a list of them"
    )
    identity: str = option(MISSING, "whose face it is; names the faceset")
    rights: str = option(
        "", "rights statement for these faces; stored in everything made from them"
    )
    facesets: str = option("facesets", "folder of the facesets")
    size: int = option(256, "side of an aligned picture in pixels", least=64, most=2048)
    coverage: str = option(
        "face", "how much of the head a crop shows", choices=("face", "full", "head")
    )
    faces: str = option(
        "largest",
        "which faces of a frame to keep; 'all' if the footage is of one person",
        choices=("largest", "all"),
    )
    person: str = option(
        "",
        "whom to follow of several people: left, right, top, bottom, center, numbers of tracks as "
        "an earlier run listed them, or a picture (or folder) of the person, which needs "
        "recogniser=; empty: the largest face, then its track",
    )
    every: int = option(1, "keep every n-th frame", least=1)
    min_size: int = option(40, "drop faces whose landmarks span fewer pixels", least=0)
    min_visible: float = option(
        0.85, "drop faces of whose landmarks a smaller share lies within the frame", least=0, most=1
    )
    format: str = option("png", "picture format", choices=("png", "webp", "jpg"))
    aligner: Any = None
    affect: Any = None
    recogniser: Any = None


@dataclass
class AnnotateOptions:
    """Predict the affect of all faces of facesets and store it with them."""

    facesets: Any = option(MISSING, "faceset folder, or a list of them")
    refresh: bool = option(False, "also read faces that have been read")
    sheet: bool = option(False, "draw a sheet of the most confident faces of each emotion")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    affect: Any = None


@dataclass
class FacesetOptions:
    """Look through facesets; take faces out of them and bring them back."""

    action: str = option(
        MISSING,
        "what to do: statistics; list or remove the faces where=...; sort them by=...; copy "
        "all, or those where=..., to output=; check every picture; bring back the last removed",
        choices=("stats", "filter", "sort", "merge", "split", "verify", "undo"),
    )
    facesets: Any = option(MISSING, "faceset folder, or a list of them")
    where: str = option(
        "",
        "an expression such as 'yaw > 20 and sharpness < .2'; columns: frame, file, yaw, pitch, "
        "roll, sharpness, confidence, size, exposure, clipped, duplicate, emotion, valence, "
        "arousal",
    )
    by: str = option("sharpness", "column to sort by")
    apply: bool = option(False, "remove the faces that were found; without it they are counted")
    readings: str = option("", "estimator whose readings count; empty: the only one")
    sheet: str = option("", "picture of the faces found or sorted, such as s.png")
    output: str = option("", "faceset that merge and split copy to; an existing one is extended")


@dataclass
class ConceptOptions:
    """Fit a concept such as tired, a direction of affect, to example pictures."""

    name: str = option(MISSING, "names the concept's files and its control")
    positives: Any = option(
        MISSING, "pictures that show it: folder with a sub-folder a person, or facesets; or a list"
    )
    negatives: Any = option(MISSING, "pictures of the same people that do not, likewise")
    rights: str = option("", "rights statement for these pictures; stored with the concept")
    output: str = option("concepts", "folder of the concepts")
    overwrite: bool = option(False, "replace an existing concept")
    min_size: int = option(40, "skip faces whose landmarks span fewer pixels", least=0)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None


@dataclass
class TrainOptions:
    """Train a model of two or more identities."""

    name: str = option(MISSING, "names the run's folder")
    facesets: Any = option(MISSING, "list of at least two faceset folders, one per identity")
    runs: str = option("runs", "folder of the runs")
    resume: str = option(
        "auto",
        "auto: continue an existing run of that name; never: refuse it",
        choices=("auto", "never"),
    )
    seed: int = option(0, "of everything random", least=0, most=2**31 - 1)
    cond_drop_prob: float = option(
        0.1, "probability that a face's affect code is replaced by the null code",
        least=0, most=1,
    )  # fmt: skip
    data: Any = None
    augment: Any = None
    model: Any = None
    loss: Any = None
    affect: Any = None
    expression: Any = None
    pseudo: Any = None
    reverse: Any = None
    optim: Any = None
    trainer: Any = None
    speed: Any = None
    callbacks: Any = None
    logger: Any = None


@dataclass
class ConvertOptions:
    """Put an identity's face onto a performer's footage."""

    model: str = option(MISSING, "run folder, or a model.safetensors beside its model.json")
    video: str = option(MISSING, "the performer: video, picture, folder of pictures or glob")
    identity: str = option(MISSING, "whose face appears")
    output: str = option(MISSING, "video file, or a folder (or .png) for pictures")
    overwrite: bool = option(False, "replace an existing output")
    faces: str = option("largest", "which faces of a frame to swap", choices=("largest", "all"))
    person: str = option(
        "",
        "whom to follow of several people: left, right, top, bottom, center, numbers of tracks as "
        "an earlier run listed them, or a picture (or folder) of the person, which needs "
        "recogniser=; empty: the largest face, then its track",
    )
    smooth: int = option(2, "smooth the crop over this many frames on each side", least=0, most=30)
    batch_size: int = option(16, "faces per batch", least=1, most=1024)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    precision: str = option(
        "auto", "auto: bf16 on CUDA, else 32", choices=("auto", "bf16", "16", "32")
    )
    provenance: str = option(
        "c2pa", "sign the output; 'none' leaves it unmarked", choices=("c2pa", "none")
    )
    certificate: str = option("", "PEM certificate chain to sign with; empty: a local one")
    private_key: str = option("", "PEM private key of that certificate")
    performer_rights: str = option("", "rights statement for the performer's footage")
    blend: BlendOptions = field(default_factory=BlendOptions)
    codec: CodecOptions = field(default_factory=CodecOptions)
    affect: AffectOptions = field(default_factory=AffectOptions)
    aligner: Any = None
    estimator: Any = None
    recogniser: Any = None


@dataclass
class ExportOptions:
    """Write a folder with a model, its model card and, optionally, ONNX files."""

    model: str = option(MISSING, "run folder, or a model.safetensors beside its model.json")
    output: str = option("exported", "folder to write")
    overwrite: bool = option(False, "replace an existing export")
    onnx: bool = option(False, "also write an ONNX file for each identity")
    opset: int = option(20, "version of ONNX's operators", least=18, most=23)
    facesets: Any = option(
        [], "facesets of the training, for the model card; empty: those of the run's config"
    )
    evaluation: Any = option([], "folders of swapper evaluate, for the model card")


@dataclass
class EvaluateOptions:
    """Measure how much of the performer's expression a swap preserves."""

    performer: str = option(MISSING, "the clip that was converted")
    swap: str = option(MISSING, "the converted clip")
    truth: str = option("", "ground truth, frame by frame, if there is one; used as the ceiling")
    identity: str = option(
        "", "faceset of the identity, to measure likeness; needs recogniser=, which without it "
        "measures likeness to the performer only"
    )  # fmt: skip
    model: str = option("", "run folder or model file that made the swap; its lineage is checked")
    output: str = option("evaluation", "folder for report.html and report.json")
    overwrite: bool = option(False, "replace an existing report")
    ceiling: bool = option(True, "also read the re-encoded performer, as the ceiling")
    self_swap: str = option(
        "", "the performer's own face swapped in by the same model: the network's own loss"
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None
    recogniser: Any = None


@dataclass
class CompareOptions:
    """Rank models by their swaps of the same clips."""

    models: Any = option(MISSING, "run folders or model files, two at least")
    clips: Any = option(MISSING, "clips of performers")
    identity: str = option(MISSING, "whose face appears; every model must know it")
    faceset: str = option("", "of the identity, to measure likeness; needs recogniser=")
    performers: Any = option([], "performer of each clip; empty: all different")
    output: str = option("comparison", "folder for swaps, reports and the table")
    ceiling: bool = option(True, "also read each re-encoded performer, as the ceiling")
    self_swaps: bool = option(
        True, "also swap in performers' own faces, where performers= names identities of the "
        "model: the network's own loss",
    )  # fmt: skip
    margin: float = option(
        0.1, "share of the range from chance to ceiling within which swaps count as equal",
        least=0.01, most=0.5,
    )  # fmt: skip
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None
    recogniser: Any = None
    estimator: Any = None


@dataclass
class StudyOptions:
    """Write a user study on which swap matches the performer, or count its answers."""

    clips: str = option(
        "",
        "to write one: folder with CLIP/performer.mp4 and CLIP/SYSTEM.mp4 for each clip and system",
    )
    answers: str = option("", "to count: folder with participants' answers-*.json")
    key: str = option("", "to count: the key.json that was written with the study")
    output: str = option("", "folder to write; empty: study, or that of the key")
    overwrite: bool = option(False, "replace an existing study")
    pairs: int = option(24, "maximum comparisons per participant", least=1, most=1000)
    checks: int = option(
        3, "attention checks, with the performer's own clip on one side",
        least=0, most=100,
    )  # fmt: skip
    repeats: int = option(
        2, "comparisons repeated with sides changed, to measure consistency",
        least=0, most=100,
    )  # fmt: skip
    misses: int = option(
        0, "to count: checks that a participant may fail without being excluded", least=0, most=100
    )


@dataclass
class VerifyOptions:
    """Verify a file's provenance."""

    file: str = option(MISSING, "picture or video to check")
    trust: Any = option([], "PEM files of trusted roots")
    json: bool = option(False, "print the result as JSON")


@dataclass
class SynthesizeOptions:
    """Render actors with the ground truth of every frame."""

    output: str = option("", "folder for the clips and their ground truth")
    sheet: str = option("", "picture of eight identities with eight expressions, such as s.png")
    scenario: str = option(
        "none",
        "renders performer, identity, held-out clips and their ground truth; none: one clip",
        choices=("none", "rich", "limited", "rare", "archive"),
    )
    score: str = option(
        "",
        "of one clip: EMOTION[+EMOTION]:SECONDS[@STRENGTH][+speech],...; empty: every emotion once",
    )
    name: str = option("clip", "of one clip's files")
    performer: int = option(1, "seed of the performer of a scenario", least=0, most=2**31 - 1)
    identity: int = option(2, "seed of the identity of a scenario, or of one clip", least=0,
                           most=2**31 - 1)  # fmt: skip
    seed: int = option(0, "of scores, movements, cameras and lights", least=0, most=2**31 - 1)
    seconds: float = option(40.0, "of training footage of each, or of one clip without a score",
                            least=0.4, most=3600)  # fmt: skip
    fps: float = option(25.0, "frames a second", least=1, most=120)
    size: int = option(256, "side of the picture in pixels, even", least=32, most=2048)
    workers: int = option(2, "rendering threads", least=1, most=256)
    stage: StageOptions = field(default_factory=StageOptions)


@dataclass
class DemoOptions:
    """Render two actors, swap their faces, and compare with the ground truth."""

    output: str = option(
        "demo", "folder for everything; finished steps of an earlier demo are reused"
    )
    budget: str = option(
        "full", "full takes minutes; ci about one, at low quality", choices=("full", "ci")
    )
    seed: int = option(0, "of scores, movements, cameras and lights", least=0, most=2**31 - 1)


VERBS: Mapping[str, type[Any]] = {
    "extract": ExtractOptions,
    "annotate": AnnotateOptions,
    "faceset": FacesetOptions,
    "concept": ConceptOptions,
    "train": TrainOptions,
    "convert": ConvertOptions,
    "export": ExportOptions,
    "evaluate": EvaluateOptions,
    "compare": CompareOptions,
    "study": StudyOptions,
    "verify": VerifyOptions,
    "synthesize": SynthesizeOptions,
    "demo": DemoOptions,
}


def fields_of(verb: str) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a verb's options, by name."""
    return {each.name: each for each in dataclasses.fields(VERBS[verb])}
