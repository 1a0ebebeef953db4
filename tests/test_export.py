"""The verb export: a folder to hand on, and a page that tells the truth and nothing but text."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from swapper import export as verb
from swapper.cli import main as cli
from swapper.errors import FacesetError, ModelError, UsageError
from swapper.export import export, onnx_names
from swapper.inference.affect_conditioner import affect_space_of
from swapper.modelcard.model_card import OnnxFile, escaped, model_page
from swapper.modelcard.run_origin import ModelOrigin, find_origin
from swapper.models import onnx_export
from swapper.models.autoencoder import build_model
from swapper.models.model_file import (
    LoadedModel,
    ModelIdentity,
    ModelMetadata,
    load_model,
    save_model,
)
from swapper.options.verbs import ExportOptions
from swapper.report.report_file import StoredMeasure, StoredReport
from tests.world import FRAMES, RIGHTS, SIDE, STEPS

HOSTILE = "</td><script>alert(1)</script> | ![x](http://e.vil/a.png) `*_ www.e.vil\u202e\n# me"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was never trained, of nobody."""
    folder = tmp_path_factory.mktemp("plain")
    torch.manual_seed(0)
    net = build_model({"name": "df", "identities": ["alice", "bob"], "resolution": 64, "width": 4,
                       "latent": 8})  # fmt: skip
    identities = [ModelIdentity("alice", "drawn"), ModelIdentity("bob", HOSTILE, HOSTILE)]
    card = ModelMetadata(
        net.config, identities, "face", 7, "swapper/0.1.0", lineage=[f"x:{HOSTILE}"]
    )
    save_model(folder, card, net.state_dict())
    return folder


def said(folder: Path) -> str:
    return (folder / "model.md").read_text(encoding="utf-8")


def hashes(folder: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


@pytest.fixture(scope="module")
def exported(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("export") / "out"
    assert cli.run(["export", f"model={world / 'runs/run'}", f"output={output}", "onnx=true"]) == 0
    return output


def test_a_run_becomes_a_folder_with_its_story(world: Path, exported: Path) -> None:
    names = {"model.safetensors", "model.json", "model.md", "alice.onnx", "bob.onnx"}
    assert {each.name for each in exported.iterdir()} == names
    for name in ("model.safetensors", "model.json"):
        assert (exported / name).read_bytes() == (world / "runs/run" / name).read_bytes()
    model, page = load_model(exported), said(exported)
    source = json.loads((world / "facesets/alice/faceset.json").read_text())["sources"][0]["sha256"]
    estimator = model.card.lineage[0].partition(":")[2]
    for told in (
        f"| **alice** | {RIGHTS} |", f"training | {STEPS} steps", f"`{model.sha256}`", source,
        "| reconstruction | dssim ", f"{FRAMES} faces of {SIDE} x {SIDE}", "| seed | 0 |",
        "optimizer AdamW", f"`{estimator}`", "openface(", "`code` | `(batch, 4)`",
        "`bob.onnx` | bob | 20 |", "valence from neutral", "Not evaluated yet",
        "linear probe still identifies the person", f"on only {FRAMES} faces",
    ):  # fmt: skip
        assert told in page, told
    assert "not measured" not in page
    assert str(world) not in page


@pytest.mark.slow
def test_equal_models_give_equal_bytes(exported: Path, tmp_path: Path) -> None:
    """All but the page, which tells less: the configuration of the run was left behind."""
    again = tmp_path / "again"
    assert cli.run(["export", f"model={exported}", f"output={again}", "onnx=true"]) == 0
    before, after = hashes(exported), hashes(again)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"model.md"}
    assert "`config.yaml` was not available" in said(again)


def test_facesets_can_be_named_and_must_be_the_right_ones(world: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(
        world / "runs/run", tmp_path / "moved", ignore=lambda *_: ["config.yaml"]
    )
    model = load_model(moved)
    assert find_origin(model) == ModelOrigin()
    alice, bob = (world / "facesets" / name for name in ("alice", "bob"))
    found = find_origin(model, [alice, bob])
    assert {name: each.faces for name, each in found.footage.items()} == {
        "alice": FRAMES,
        "bob": FRAMES,
    }
    assert sum(found.footage["alice"].emotions.values()) == pytest.approx(1)
    thinned = shutil.copytree(bob, tmp_path / "bob")
    next((thinned / "images").iterdir()).unlink()
    with pytest.raises(FacesetError, match=r"bob: .*trained on"):
        find_origin(model, [thinned])
    (moved / "config.yaml").write_text(f"facesets: ['{thinned}', 3, \"a\\0b\", '{alice}']")
    assert set(find_origin(model).footage) == {"alice"}


@pytest.mark.parametrize(
    "config",
    ["[1]", "{", "a: !!python/object/apply:os.getcwd []", "&a [*a]", "\x00",
     "seed: 0x" + "f" * 9999, "loss: {dssim: {a: b}, _x: 1, 3: 4, l1: |-\n  <b>hi</b>}",
     "facesets: {a: 1}"],
)  # fmt: skip
def test_a_strange_config_harms_nothing(plain: Path, tmp_path: Path, config: str) -> None:
    run = shutil.copytree(plain, tmp_path / "run")
    (run / "config.yaml").write_text(config)
    export(ExportOptions(str(run), str(tmp_path / "out")))
    page = said(tmp_path / "out")
    assert "<b>" not in page
    assert "fffff" not in page
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to("/etc/hostname")
    assert find_origin(load_model(run)) == ModelOrigin()


def test_what_came_from_a_file_is_text(plain: Path, tmp_path: Path) -> None:
    export(ExportOptions(str(plain), str(tmp_path / "out")))
    page = said(tmp_path / "out")
    assert "\u202e" not in page
    assert "\n# me" not in page
    assert not re.search(r"(?<!\\)<script", page)
    assert not re.search(r"(?<!\\)\]\(http", page)
    assert "http://" not in page
    row = next(line for line in page.splitlines() if line.startswith("| **bob** |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert load_model(tmp_path / "out").identity("bob").rights == HOSTILE


@pytest.mark.parametrize(
    ("text", "plain_text"),
    [
        ("signed release, 2026 (all mine)", "signed release, 2026 (all mine)"),
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("see www.x.org", r"see www\.x.org"),
        ("https://x", r"https\://x"),
        ("\\`*_[<&", r"\\\`\*\_\[\<\&"),
        ("a" * 3000, "a" * 2000 + " ... (the rest is in model.json)"),
    ],
)
def test_escaping(text: str, plain_text: str) -> None:
    assert escaped(text) == plain_text


def test_figures_and_thin_footage_are_told(world: Path) -> None:
    model = load_model(world / "runs/run")
    space = affect_space_of(model)
    assert space is not None
    measure = StoredMeasure("gain | of AU12", 0.5, 0.25, 0.75, "")
    report = StoredReport("a swap", "It is so.", model.sha256, {"gain": measure})
    page = model_page(
        model, space, ModelOrigin(), [OnnxFile("a.onnx", "alice", 18, None)], [report]
    )
    assert "*partial* |" not in page
    partial = replace(report, measures={"gain": replace(measure, partial=True)})
    assert ", *partial* | 0.50" in model_page(model, space, ModelOrigin(), [], [partial])
    taught = replace(model, card=replace(model.card, lineage=("landmarks:mediapipe",)))
    assert "- landmarks by mediapipe\n" in model_page(taught, space, ModelOrigin())
    assert "| gain \\| of AU12 | 0.50 | 0.25 | 0.75 |" in page
    assert "Not evaluated" not in page
    assert "not measured" in page
    assert "half the range" not in page
    still = replace(space, observed=dict(space.observed) | {"bob": 0.3 * space.observed["alice"]})
    still = replace(still, valence=space.basis[0], arousal=space.basis[0][:0])
    page = model_page(model, still, ModelOrigin(missing_emotions=("bob shows no anger",)))
    assert "**bob** has less than half the range of alice in valence" in page
    assert "- bob shows no anger." in page
    assert "arousal from neutral" not in page
    for leak in (None, {"code": "<b>", "chance": 1}, {"code": float("nan"), "chance": 0.5}):
        broken = replace(space, figures={"identity_leak": leak})
        assert "linear probe" not in model_page(model, broken, ModelOrigin())


def _foreign(output: Path) -> None:
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")


def _earlier(output: Path) -> None:
    output.mkdir()
    (output / "model.md").write_text("old")


@pytest.mark.parametrize(
    ("prepare", "changes", "message"),
    [
        (lambda _: None, {"model": "nowhere"}, r"nowhere: is neither a folder"),
        (_earlier, {}, r"out: is not empty; pass overwrite=true"),
        (_foreign, {"overwrite": True}, r"out: holds thesis\.tex, which no export wrote"),
        (lambda out: out.write_text("a file"), {"overwrite": True}, r"out: is not a valid folder"),
        (lambda _: None, {"output": "{plain}", "overwrite": True}, r"the model's own folder"),
        (lambda _: None, {"output": ""}, r"output=\.: is not a valid folder"),
        (_earlier, {"output": "{out}/.."}, r"output=.*\.\.: is not a valid folder"),
        (lambda _: None, {"facesets": ["no/where"]}, r"no/where: no such faceset"),
        (
            lambda out: out.parent.joinpath("x").symlink_to(out),
            {"output": "{out.parent}/x"},
            r"x: is not a valid folder",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_all_as_it_was(
    plain: Path,
    tmp_path: Path,
    prepare: Callable[[Path], Any],
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    prepare(output)
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    options = {"model": str(plain), "output": str(output)} | changes
    options = {
        key: value.format(plain=plain, out=output) if isinstance(value, str) else value
        for key, value in options.items()
    }
    with pytest.raises((UsageError, ModelError, FacesetError), match=message) as caught:
        export(ExportOptions(**options))
    assert "\n" not in str(caught.value)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def test_an_older_export_is_replaced_whole(plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "carol.onnx").write_text("of another model")
    export(ExportOptions(str(plain), str(output), overwrite=True))
    assert {each.name for each in output.iterdir()} == {
        "model.safetensors", "model.json", "model.md",
    }  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def unwritten(model: LoadedModel, identity: str, path: Path, opset: int) -> None:
    """In place of torch's exporter, which takes seconds."""
    path.write_bytes(f"{model.sha256} {identity} {opset}".encode())


def test_a_file_that_differs_from_torch_is_not_handed_on(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "write_onnx", unwritten)
    monkeypatch.setattr(onnx_export, "torch_difference", lambda *_: float("nan"))
    with pytest.raises(ModelError, match=r"alice\.onnx: .*nan"):
        export(ExportOptions(str(plain), str(tmp_path / "out"), onnx=True))
    assert not list(tmp_path.iterdir())


def test_without_onnxruntime_it_says_that_nothing_was_compared(
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(onnx_export, "write_onnx", unwritten)
    monkeypatch.setattr(onnx_export, "torch_difference", lambda *_: None)
    export(ExportOptions(str(plain), str(tmp_path / "out"), onnx=True))
    assert "alice.onnx: not compared with torch: onnxruntime is not installed" in caplog.text
    assert "| not measured |" in said(tmp_path / "out")


def test_missing_libraries_are_named_before_any_work(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise UsageError("onnx=true: needs onnx; pip install 'swapper[onnx]'")

    monkeypatch.setattr(onnx_export, "check_installed", none)
    monkeypatch.setattr(verb, "load_model", lambda *_: pytest.fail("worked"))
    with pytest.raises(UsageError, match="swapper"):
        export(ExportOptions(str(plain), str(tmp_path / "out"), onnx=True))


@pytest.mark.parametrize(
    ("identities", "names"),
    [
        (("alice", "bob.b-1"), ["alice.onnx", "bob.b-1.onnx"]),
        (("alice", "Alice"), ["identity_0.onnx", "identity_1.onnx"]),
        (("../../x", "bob"), ["identity_0.onnx", "identity_1.onnx"]),
        (("..", "bob"), ["identity_0.onnx", "identity_1.onnx"]),
    ],
)
def test_names_of_files_are_safe(identities: tuple[str, ...], names: list[str]) -> None:
    assert onnx_names(identities) == names


def judged(folder: Path, sha256: str, **changes: Any) -> Path:
    """A folder as `swapper evaluate` leaves it."""
    measure = {"title": "Gain β", "value": 0.53, "floor": None, "ceiling": 0.99, "unit": ""}
    told = {
        "title": f"swap.mp4 after {HOSTILE}",
        "verdict": "The expression is damped.",
        "facts": {"model sha256": sha256},
        "measures": {"gain": measure, "lag": measure | {"value": None}, "other": measure},
    }
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(told | changes))
    return folder


def test_an_evaluation_is_told_and_stays_text(plain: Path, tmp_path: Path) -> None:
    report = judged(tmp_path / "report", load_model(plain).sha256)
    export(ExportOptions(str(plain), str(tmp_path / "out"), evaluation=[str(report)]))
    page = said(tmp_path / "out")
    assert "The expression is damped" in page
    assert "| 0.53 | – | 0.99 |" in page
    assert page.count("Gain β") == 1
    assert "<script>" not in page
    assert "Not evaluated yet" not in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"facts": {"model sha256": "0" * 64}}, "is of another model than"),
        ({"facts": {}}, "is of another model than"),
        ({"measures": {"gain": 3}}, "is not a report.json"),
        ({"verdict": ["so"]}, "is not a report.json"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(
    plain: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    report = judged(tmp_path / "report", load_model(plain).sha256, **changes)
    with pytest.raises(UsageError, match=words):
        export(ExportOptions(str(plain), str(tmp_path / "out"), evaluation=str(report)))
    assert not (tmp_path / "out").exists()


def test_a_missing_evaluation_is_told(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="; pass the folder that"):
        export(ExportOptions(str(plain), str(tmp_path / "out"), evaluation=str(tmp_path / "no")))
