"""Every config composes, and what it names can be built from it."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from swapper.cli import launch
from swapper.cli import main as cli
from swapper.cli.arguments import check_target
from swapper.cli.group_help import group_rows
from swapper.cli.help import config_root
from swapper.errors import UsageError
from swapper.estimators.base import ESTIMATORS
from swapper.options.verbs import VERBS

ROOT = Path(__file__).resolve().parents[2]
GROUPS = sorted(
    (path.parent.name, path.stem)
    for path in (ROOT / "configs" / "train").glob("*/*.yaml")
    if path.parent.name != "experiment"
)
ALIGNERS = sorted(path.stem for path in (ROOT / "configs" / "aligner").glob("*.yaml"))
RECOGNISERS = sorted(path.stem for path in (ROOT / "configs/recogniser").glob("*.yaml"))
ESTIMATORS_BY_CONFIG = sorted(path.stem for path in (ROOT / "configs" / "affect").glob("*.yaml"))
REQUIRED = {"train": ["name=x", "facesets=[alice,bob]"], "annotate": ["facesets=[alice]"]}


def composed(verb: str, *overrides: str) -> DictConfig:
    cli._register_schemas()
    with initialize_config_module(config_root(verb), version_base="1.3"):
        return compose(verb, [*REQUIRED.get(verb, []), *overrides])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_root_whose_keys_are_its_options(verb: str) -> None:
    config = composed(verb)
    assert set(config) == set(VERBS[verb].__dataclass_fields__)


def assert_built(part: Any, built: Any) -> None:
    """Each `_target_` of the config stands there built, or as its partial."""
    if isinstance(part, dict) and "_target_" in part:
        target = pkgutil.resolve_name(part["_target_"])
        made = built.func if part.get("_partial_") else type(built)
        assert made is target or not (part.get("_partial_") or inspect.isclass(target)), part
    elif isinstance(part, dict):
        assert built.keys() == part.keys()
        for key, value in part.items():
            assert_built(value, built[key])


@pytest.mark.parametrize(("group", "choice"), GROUPS)
def test_every_choice_of_training_composes_and_builds(
    group: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    override = f"{group}=[{choice}]" if group == "logger" else f"{group}={choice}"
    config = composed("train", override)
    if choice == "tensorboard":
        pytest.importorskip("tensorboard", reason="pip install 'swapper[tensorboard]'")
    built = launch.build(config, group)
    if group == "model":
        net = built(identities=("alice", "bob"))
        assert net.identities == ("alice", "bob")
        assert net.resolution == config.model.resolution
    elif config[group]:
        assert_built(OmegaConf.to_container(config[group], resolve=True), built)
    else:
        assert built is None


VARIANTS = {"model/tiny", "speed/plain", "optim/adam"}
"""Files whose point is to differ from the constructor's defaults, which another file holds."""


def _targets(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("swapper."):
            yield where, node
        for key, value in node.items():
            yield from _targets(value, f"{where}.{key}")


def test_a_default_is_the_same_in_the_config_and_in_the_constructor() -> None:
    compared, drift = 0, []
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        name = f"{path.parent.name}/{path.stem}"
        if name in VARIANTS:
            continue
        for where, node in _targets(yaml.safe_load(path.read_text()), name):
            parameters = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
            for key, value in node.items():
                if key not in parameters or parameters[key].default is inspect.Parameter.empty:
                    continue
                if isinstance(value, dict) or str(value).startswith(("${", "???")):
                    continue  # built or filled in elsewhere
                default = parameters[key].default
                default = list(default) if isinstance(default, tuple) else default
                compared += 1
                if value != default:
                    drift.append(f"{where}.{key}: {value} there, {default} in the constructor")
    assert compared > 80
    assert not drift


@pytest.mark.parametrize(("group", "choice"), GROUPS)
def test_every_number_of_our_classes_can_be_set_from_the_config(group: str, choice: str) -> None:
    """Hydra refuses keys that a config does not list."""
    file = ROOT / "configs" / "train" / group / f"{choice}.yaml"
    for where, node in _targets(yaml.safe_load(file.read_text()), group):
        parameters = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
        plain = {
            name
            for name, each in parameters.items()
            if isinstance(each.default, (int, float, str)) and not isinstance(each.default, Enum)
        }
        assert not plain - set(node), where


def test_help_of_train_explains_every_option_inside_the_groups() -> None:
    rows = dict(group_rows(config_root("train"), "train"))
    assert rows["augment.rotation=10.0"].startswith("Largest turn in degrees")
    third_party = ("optim.optimizer.", "trainer.", "callbacks.best.")
    missing = [key for key, text in rows.items() if not text and not key.startswith(third_party)]
    assert not missing


@pytest.mark.parametrize("choice", ALIGNERS)
def test_every_aligner_s_config_fits_its_constructor(choice: str) -> None:
    config = composed("extract", f"aligner={choice}")
    node = OmegaConf.to_container(config.aligner)
    assert isinstance(node, dict)
    values = {key: ("x.csv" if value == "???" else value) for key, value in node.items()}
    check_target(values, "aligner")


@pytest.mark.parametrize("choice", RECOGNISERS)
@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_every_recogniser_s_config_fits_its_constructor(verb: str, choice: str) -> None:
    node = OmegaConf.to_container(composed(verb, f"recogniser={choice}").recogniser)
    assert isinstance(node, dict)
    if choice == "none":
        assert node == {}
        return
    check_target({key: "x" if value == "???" else value for key, value in node.items()}, choice)
    given = {key for key in node if key != "_target_"}
    assert given == set(inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters)


@pytest.mark.parametrize("choice", ESTIMATORS_BY_CONFIG)
@pytest.mark.parametrize("verb", ["annotate", "extract"])
def test_every_estimator_s_config_asks_its_loader_for_what_it_takes(verb: str, choice: str) -> None:
    node = OmegaConf.to_container(composed(verb, f"affect={choice}").affect, resolve=True)
    assert isinstance(node, dict)
    if choice == "none":
        assert node == {}
        assert launch.build(composed(verb, "affect=none"), "affect") is None
        return
    if choice == "auto":
        assert node == {"_target_": "swapper.estimators.base.load_default", "weights": None}
        return
    check_target({key: "x" if value == "???" else value for key, value in node.items()}, "affect")
    settings = {
        key: value for key, value in node.items() if key not in ("_target_", "name", "purpose")
    }
    takes = inspect.signature(importlib.import_module(ESTIMATORS[node["name"]]).load).parameters
    wanted = {name: each for name, each in takes.items() if name != "path"}  # of our own weights
    assert set(settings) == set(wanted)
    for name, each in wanted.items():
        if each.default is not each.empty:
            default = list(each.default) if isinstance(each.default, tuple) else each.default
            assert settings[name] == default
        else:
            assert settings[name] == "???"


@pytest.mark.parametrize("choice", ["auto", "mediapipe"])
def test_the_estimator_takes_the_aligner_s_file(choice: str) -> None:
    more = f"affect={choice}", "aligner=mediapipe", "aligner.model=face.task"
    assert composed("extract", *more).affect.weights == "face.task"
    assert composed("extract", *more, "affect.weights=mine.task").affect.weights == "mine.task"
    assert composed("extract", f"affect={choice}", "aligner=fan").affect.weights is None
    assert composed("annotate", f"affect={choice}").affect.weights is None


def test_training_can_name_the_same_estimators() -> None:
    """The group is found from training's own root, too."""
    assert composed("train", "affect=actors").affect == composed("annotate", "affect=actors").affect


def test_a_judge_is_in_no_config_and_refused_by_its_name() -> None:
    assert "judge" not in ESTIMATORS_BY_CONFIG
    config = composed("annotate", "affect=actors", "affect.name=judge")
    with pytest.raises(UsageError, match="affect=judge: "):
        launch.build(config, "affect")


def test_experiments_compose() -> None:
    found = sorted((ROOT / "configs" / "train" / "experiment").glob("*.yaml"))
    for path in found:
        assert composed("train", f"experiment={path.stem}").name == "x"


def test_several_loggers_can_be_named() -> None:
    assert set(composed("train", "logger=[csv,wandb]").logger) == {"csv", "wandb"}
    assert composed("train", "logger=[csv,wandb]").logger.wandb.offline is True
    assert composed("train", "logger=wandb").logger.wandb.offline is True


def test_every_yaml_file_is_where_the_package_finds_it() -> None:
    shipped = importlib.resources.files("swapper.configs")
    for path in (ROOT / "configs").rglob("*.yaml"):
        relative = path.relative_to(ROOT / "configs")
        assert (shipped / relative.as_posix()).is_file()
        yaml.safe_load(path.read_text())


@pytest.mark.slow
def test_wheel_and_sdist_carry_the_configs(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs the extra: pip install swapper[dev]")
    for kind in ("--sdist", "--wheel"):
        done = subprocess.run(
            [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"swapper/configs/{path.relative_to(ROOT / 'configs').as_posix()}" in names
    assert "swapper/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "configs/"))]
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run(
        [sys.executable, "-m", "swapper", "train", "--cfg", "job", "name=x", "facesets=[a,b]"],
        cwd=site, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "swapper.data.datamodule" in done.stdout
