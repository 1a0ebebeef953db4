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


@dataclass
class ExtractOptions:
    """Cut the faces of one identity out of footage into a faceset."""

    input: Any = option(MISSING, "video, picture, folder of pictures or glob; or a list of them")
    identity: str = option(MISSING, "whose face it is; names the faceset")
    rights: str = option("", "by what right these faces are used; travels with every product")
    facesets: str = option("facesets", "folder in which facesets live")
    size: int = option(256, "side of an aligned picture in pixels", least=64, most=2048)
    coverage: str = option(
        "face", "how much of the head a crop holds", choices=("face", "full", "head")
    )
    faces: str = option(
        "largest",
        "which faces of a frame to keep; 'all' if the footage is of one person",
        choices=("largest", "all"),
    )
    every: int = option(1, "keep every n-th frame", least=1)
    min_size: int = option(40, "drop faces whose landmarks span fewer pixels", least=0)
    format: str = option("png", "picture format", choices=("png", "webp", "jpg"))
    aligner: Any = None
    affect: Any = None


@dataclass
class AnnotateOptions:
    """Read what the faces of facesets seem to feel, and keep it with them."""

    facesets: Any = option(MISSING, "faceset folder, or a list of them")
    refresh: bool = option(False, "read faces that are known, too")
    sheet: bool = option(False, "draw the surest faces of each emotion beside the readings")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    affect: Any = None


@dataclass
class ConceptOptions:
    """Make a word such as tired a direction of affect, from example pictures."""

    name: str = option(MISSING, "the word; names the concept's files and its dial")
    positives: Any = option(
        MISSING, "pictures that show it: folder with a sub-folder a person, or facesets; or a list"
    )
    negatives: Any = option(MISSING, "pictures of the same people that do not, likewise")
    rights: str = option("", "by what right these pictures are used; kept with the concept")
    output: str = option("concepts", "folder in which concepts live")
    overwrite: bool = option(False, "replace a concept that exists")
    min_size: int = option(40, "leave out faces whose landmarks span fewer pixels", least=0)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None


@dataclass
class TrainOptions:
    """Learn the faces of two or more identities."""

    name: str = option(MISSING, "names the run's folder")
    facesets: Any = option(MISSING, "list of faceset folders, one an identity, at least two")
    runs: str = option("runs", "folder in which runs live")
    resume: str = option(
        "auto", "continue the run of that name if it exists, or refuse", choices=("auto", "never")
    )
    seed: int = option(0, "of everything random", least=0, most=2**31 - 1)
    cond_drop_prob: float = option(
        0.1, "how often training replaces a face's affect code by the learnt null code",
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
class BlendOptions:
    """How a swap is laid into the frame."""

    mask: str = option(
        "product",
        "of the model's mask and the landmarks' hull, or one of them",
        choices=("product", "model", "landmarks"),
    )
    erode: float = option(0.02, "shrink the mask, share of the crop's side", least=0, most=0.5)
    feather: float = option(0.06, "soften its edge, share of the crop's side", least=0, most=0.5)
    colour: str = option(
        "mkl",
        "fit the swap's colours to the frame's: covariance (mkl) or deviations (lab)",
        choices=("none", "lab", "mkl"),
    )


@dataclass
class CodecOptions:
    """How a video is written."""

    name: str = option(
        "auto",
        "auto keeps bit depth: h264, hevc for 10 bits, vp9 in webm",
        choices=("auto", "h264", "hevc", "vp9", "av1", "prores", "ffv1"),
    )
    crf: int = option(16, "quality; lower is better and larger", least=0, most=63)
    preset: str = option(
        "medium",
        "speed of x264 and x265",
        choices=(
            "ultrafast",
            "superfast",
            "veryfast",
            "faster",
            "fast",
            "medium",
            "slow",
            "slower",
            "veryslow",
        ),
    )


@dataclass
class RegionOptions:
    """How strongly each region of the face follows the performer; 0: stays at rest."""

    brows: float = option(1.0, "of the performer's departure from rest", least=0, most=2)
    eyes: float = option(1.0, "likewise, lids and gaze", least=0, most=2)
    cheeks: float = option(1.0, "likewise", least=0, most=2)
    lips: float = option(1.0, "likewise", least=0, most=2)
    jaw: float = option(1.0, "likewise", least=0, most=2)


@dataclass
class AffectOptions:
    """How the performer's affect is told to a model that listens to it."""

    guidance_scale: float = option(
        1.0, "0: no affect code, 1: as trained, above 1: extrapolated", least=0, most=1.5
    )
    relative: float = option(
        1.0, "1: departures from the performer's own rest; 0: the face as it is", least=0, most=1
    )
    performer: str = option(
        "", "identity of the model that performs; empty: find the performer's rest in the clip"
    )
    concepts: dict[str, float] = option(
        {}, "how much of which concepts to add, such as {tired: 0.5}", least=-1.5, most=1.5
    )
    concept_folder: str = option("concepts", "where concepts are looked for by name")
    force: bool = option(False, "take concepts that were not accepted, too")
    valence: float = option(0.0, "how much more pleasant to look", least=-1, most=1)
    arousal: float = option(0.0, "how much more excited to look", least=-1, most=1)
    regions: RegionOptions = field(default_factory=RegionOptions)


@dataclass
class ConvertOptions:
    """Put an identity's face onto a performer's footage."""

    model: str = option(MISSING, "run folder, or a model.safetensors beside its model.json")
    video: str = option(MISSING, "the performer: video, picture, folder of pictures or glob")
    identity: str = option(MISSING, "whose face appears")
    output: str = option(MISSING, "video file, or a folder (or .png) for pictures")
    overwrite: bool = option(False, "replace an output that exists")
    faces: str = option("largest", "which faces of a frame to swap", choices=("largest", "all"))
    smooth: int = option(2, "steady the crop over this many frames on each side", least=0, most=30)
    batch_size: int = option(16, "faces a pass", least=1, most=1024)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    precision: str = option(
        "auto", "auto: bf16 on CUDA, else 32", choices=("auto", "bf16", "16", "32")
    )
    provenance: str = option(
        "c2pa", "sign the output; 'none' leaves it unmarked", choices=("c2pa", "none")
    )
    certificate: str = option("", "PEM certificate chain to sign with; empty: a local one")
    private_key: str = option("", "PEM private key of that certificate")
    performer_rights: str = option("", "by what right the performer's footage is used")
    blend: BlendOptions = field(default_factory=BlendOptions)
    codec: CodecOptions = field(default_factory=CodecOptions)
    affect: AffectOptions = field(default_factory=AffectOptions)
    aligner: Any = None
    estimator: Any = None


@dataclass
class ExportOptions:
    """Write a model into a folder to hand on, with a page about it; as ONNX, too, if asked."""

    model: str = option(MISSING, "run folder, or a model.safetensors beside its model.json")
    output: str = option("exported", "folder to write")
    overwrite: bool = option(False, "replace an export that is there")
    onnx: bool = option(False, "also write an ONNX file for each identity")
    opset: int = option(20, "version of ONNX's operators", least=18, most=23)
    facesets: Any = option(
        [], "facesets that it was trained on, to tell of them; empty: where the run says"
    )
    evaluation: Any = option([], "folders of swapper evaluate, to tell of its swaps")


@dataclass
class EvaluateOptions:
    """Hold a swap against its performer: does the feeling survive?"""

    performer: str = option(MISSING, "the clip that was converted")
    swap: str = option(MISSING, "what it became")
    truth: str = option("", "the exact answer, frame for frame, where there is one: the ceiling")
    identity: str = option(
        "", "faceset of the identity: is it whose face appears? needs recogniser=, which without "
        "it tells of the performer's face only"
    )  # fmt: skip
    model: str = option("", "run folder or model file that made the swap; its lineage is checked")
    output: str = option("evaluation", "folder for report.html and report.json")
    overwrite: bool = option(False, "replace a report that exists")
    ceiling: bool = option(
        True, "encode the performer anew and read that as well: the best to hope"
    )
    self_swap: str = option(
        "", "the performer on the performer's own face by the same model: what the network costs"
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None
    recogniser: Any = None


@dataclass
class CompareOptions:
    """Hold several models against each other over the same clips."""

    models: Any = option(MISSING, "run folders or model files, two at least")
    clips: Any = option(MISSING, "clips of performers")
    identity: str = option(MISSING, "whose face appears; every model must know it")
    faceset: str = option("", "of the identity: is it whose face appears? needs recogniser=")
    performers: Any = option([], "who performs in each clip; empty: in each somebody else")
    output: str = option("comparison", "folder for swaps, reports and the table")
    ceiling: bool = option(True, "read each performer encoded anew as well: the best to hope")
    self_swaps: bool = option(
        True, "convert performers onto their own faces as well, where performers= names identities "
        "that a model knows: what the network costs",
    )  # fmt: skip
    margin: float = option(
        0.1, "share of the way from floor to ceiling within which a swap is as good as the best",
        least=0.01, most=0.5,
    )  # fmt: skip
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")
    aligner: Any = None
    affect: Any = None
    recogniser: Any = None
    estimator: Any = None


@dataclass
class StudyOptions:
    """Ask people which swap feels like the performer, or count what they answered."""

    clips: str = option(
        "", "to ask: folder with CLIP/performer.mp4 and CLIP/SYSTEM.mp4 for each clip and system"
    )
    answers: str = option("", "to count: folder with participants' answers-*.json")
    key: str = option("", "to count: the key.json that was written with the study")
    output: str = option("", "folder to write; empty: study, or that of the key")
    overwrite: bool = option(False, "replace a study that is there")
    pairs: int = option(24, "most comparisons that a participant is asked", least=1, most=1000)
    checks: int = option(
        3, "questions with the performer's own clip on one side, to see who attends",
        least=0, most=100,
    )  # fmt: skip
    repeats: int = option(
        2, "comparisons asked again with sides changed, to see who is consistent",
        least=0, most=100,
    )  # fmt: skip
    misses: int = option(
        0, "to count: checks that a participant may miss and still count", least=0, most=100
    )


@dataclass
class VerifyOptions:
    """Read a file's provenance back and check it."""

    file: str = option(MISSING, "picture or video to check")
    trust: Any = option([], "PEM files of the roots that you trust")
    json: bool = option(False, "print the whole verdict as JSON")


@dataclass
class FilmOptions:
    """What film and storage do to an actor's picture."""

    grain: Any = option(None, "standard deviation of the grain, of full scale, 0 to 0.2")
    softness: Any = option(None, "sigma of the lens blur, of the picture's side, 0 to 0.02")
    shutter: Any = option(None, "share of the frame that the shutter stays open, 0 to 1")
    vignette: Any = option(None, "darkening of the corners, 0 to 1")
    crf: Any = option(None, "H.264's rate factor, 0 to 51")


@dataclass
class StageOptions:
    """An actor's camera and light; what is not given is drawn from the seed."""

    focal: Any = option(None, "focal length in mm, 24 to 200")
    framing: Any = option(None, "head's height, of the picture's side, 0.3 to 0.95")
    camera_height: Any = option(None, "degrees by which the camera looks down, -30 to 30")
    distortion: Any = option(None, "radial distortion at the picture's edge, -0.2 to 0.2")
    key_azimuth: Any = option(None, "degrees of the key light to the picture's right, -90 to 90")
    key_elevation: Any = option(None, "degrees of the key light above the eyes, -20 to 80")
    key_strength: Any = option(None, "0 to 3; 1 exposes fair skin well")
    fill_strength: Any = option(None, "light from the side opposite the key, 0 to 2")
    rim_strength: Any = option(None, "light from behind, 0 to 3")
    ambient: Any = option(None, "light from everywhere, 0 to 1")
    warmth: Any = option(None, "key from cold to warm, -1 to 1")
    exposure: Any = option(None, "stops, -2 to 2")
    backdrop_hue: Any = option(None, "0 to 1")
    backdrop_light: Any = option(None, "0 to 1")
    seed: Any = option(None, "of the grain and the backdrop")
    film: FilmOptions = field(default_factory=FilmOptions)


@dataclass
class SynthesizeOptions:
    """Film drawn actors, with the exact truth of every frame."""

    output: str = option("", "folder for the clips and their truth")
    sheet: str = option("", "picture of eight identities with eight expressions, such as s.png")
    scenario: str = option(
        "none",
        "films performer, identity, held-out clips and their exact answers; none: one clip",
        choices=("none", "rich", "limited", "rare", "archive"),
    )
    score: str = option(
        "",
        "of one clip: EMOTION[+EMOTION]:SECONDS[@STRENGTH][+speech],...; empty: every emotion once",
    )
    name: str = option("clip", "of one clip's files")
    performer: int = option(1, "seed of who performs in a scenario", least=0, most=2**31 - 1)
    identity: int = option(2, "seed of who is seen in one clip, or swapped in", least=0,
                           most=2**31 - 1)  # fmt: skip
    seed: int = option(0, "of scores, movements, cameras and lights", least=0, most=2**31 - 1)
    seconds: float = option(40.0, "of training footage of each, or of one clip without a score",
                            least=0.4, most=3600)  # fmt: skip
    fps: float = option(25.0, "frames a second", least=1, most=120)
    size: int = option(256, "side of the picture in pixels, even", least=32, most=2048)
    workers: int = option(2, "threads that draw", least=1, most=256)
    stage: StageOptions = field(default_factory=StageOptions)


@dataclass
class DemoOptions:
    """Draw two actors, swap one's face onto the other, and compare with the exact answer."""

    output: str = option("demo", "folder for everything; what an earlier demo left is used again")
    budget: str = option(
        "full", "full takes minutes, ci about one, and looks it", choices=("full", "ci")
    )
    seed: int = option(0, "of scores, movements, cameras and lights", least=0, most=2**31 - 1)


VERBS: Mapping[str, type[Any]] = {
    "extract": ExtractOptions,
    "annotate": AnnotateOptions,
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
