"""The command line: help, composition, one-line errors, completion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from swapper.cli import main as cli
from swapper.cli.overrides import prepare_overrides, quote_text
from swapper.options.verbs import VERBS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def swapper(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command run in this process: its exit status, what it prints and its errors."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["swapper", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            status = cli.run(arguments)
        except SystemExit as stop:  # Hydra's completion ends so
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run


def test_help_names_every_verb(swapper: Command) -> None:
    status, shown, _ = swapper("--help")
    assert status == 0
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_verb_help_lists_options_with_defaults_and_choices(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    for name, field in VERBS[verb].__dataclass_fields__.items():
        if field.metadata:
            assert f"{name}=" in shown
    if verb == "train":
        assert "[df, original, tiny]" in shown


@pytest.mark.parametrize("verb", VERBS)
def test_cfg_job_prints_the_config(verb: str, swapper: Command) -> None:
    status, shown, error = swapper(verb, "--cfg", "job")
    assert status == 0, error
    assert "hydra:" not in shown
    assert next(iter(VERBS[verb].__dataclass_fields__)) in shown


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "extrct",
            "choose from extract, annotate, faceset, concept, train, convert, export, evaluate, "
            "compare, study, verify, synthesize, demo; did you mean extract",
        ),
        ("extract coverag=full", "did you mean coverage?"),
        ("extract size=big", "size: Value 'big' of type 'str' could not be converted to Integer"),
        ("extract input=a identity=b rights=c coverage=fac", "choose from face, full, head"),
        ("extract input=a identity=b rights=c size=1", "size=1: must be between 64 and 2048"),
        ("extract aligner=foo", "aligner=foo: choose from fan, mediapipe, openface"),
        ("extract", "input is missing: pass input=..."),
        ("extract input=a identity=b", "rights is missing"),
        ("extract input=a identity=../b rights=c", "identity must be 1 to 64 letters"),
        ("train name=x facesets=a", "must be a list"),
        ("train name=x facesets=a,b", "facesets=a,b: a list is written facesets=[a,b]"),
        ("train name=x facesets=[a, b] optim.lr=-1", "lr must be positive"),
        ("extract in/base.mp4 a", "options are written key=value, such as input=in/base.mp4 iden"),
        ("extract --input x", "--input: options are written without dashes: input=x"),
        ("extract --covrage=full", "did you mean coverage?"),
        ("extract rights=signed release", 'release: quote a value with spaces: rights="signed rel'),
        ("extract input=https://x.org/a.mp4", "only local files are read; download it first"),
        ("annotate", "facesets is missing: pass facesets=..."),
        ("annotate facesets=x affect=huge", "affect=huge: choose from actors, auto, emotieff"),
        (
            "annotate facesets=x affect=emotieff affect.weihgts=y",
            "did you mean weights?",
        ),
        ("annotate facesets=x affect=torchvision", "affect.arch is missing: pass affect.arch=..."),
        ("annotate facesets=[]", "facesets is empty: pass facesets=[facesets/NAME,...]"),
        ("concept name=a positives=b", "negatives is missing: pass negatives=..."),
        ("concept name=a positives=b negatives=c", "rights is missing: say by what right"),
        ("concept name=a.b positives=b negatives=c rights=d", "name=a.b: must be a letter, then"),
        ("concept name=arousal positives=b negatives=c rights=d", "name=arousal: "),
        (
            "convert affect.concepts=tired",
            "affect.concepts: Cannot assign str to Dict[str, float] (amount of",
        ),
        ("convert affect.concepts.tired=much", "affect.concepts.tired: Value 'much'"),
        (
            "convert model=a video=b identity=c output=d affect.concepts.tired=2",
            "affect.concepts.tired=2.0: must be between -1.5 and 1.5",
        ),
        (
            "convert model=a video=b identity=c output=d affect.valence=nan",
            "affect.valence=nan: must be between -1 and 1",
        ),
        ("extract aligner.foo=1", "aligner.foo: no such option; legal under aligner:"),
        ("train model=huge", "model=huge: choose from df, original, tiny"),
        ("train name=x facesets=[a,b] model.widht=3", "did you mean width?"),
        ("train model=original model.width=3", "legal under model: resolution"),
        (
            "train name=x facesets=[a,b] model.width=wide",
            "model.width=wide: must be a valid int",
        ),
        ("train name=x facesets=[a,b] optim.lr=-1", "lr must be positive"),
        ("train name=../x facesets=[a,b]", "name=../x: use letters"),
        ("convert blend.erod=1", "legal under blend: color, cover_brows, erode"),
        ("convert input=[a", "quote values that hold special characters"),
    ],
)
def test_a_mistake_is_one_line_with_the_cure(
    line: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status = cli.run(line.split())
    error = capsys.readouterr().err
    assert status == 2, error
    assert expected in error
    assert error.count("\n") == 1
    assert error.startswith("swapper: ")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("input=~/a.mp4", 'input="/home/me/a.mp4"'),
        ("input=[~/a.mp4, ~/b.mp4]", "input=[/home/me/a.mp4, /home/me/b.mp4]"),
        ("aligner.csv=~/x.csv", "aligner.csv=/home/me/x.csv"),
        ("rights=from ~/x", 'rights="from ~/x"'),
        ("rights=https://example.org/by", 'rights="https://example.org/by"'),
        ("affect.concepts.very-tired=0.5", "affect.concepts.very-tired=0.5"),
    ],
)
def test_home_is_expanded(override: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert prepare_overrides("extract", [override]) == [expected]


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("rights=signed, 2026 (Jane)", 'rights="signed, 2026 (Jane)"'),
        ("input=my clip (1).mp4", 'input="my clip (1).mp4"'),
        ("input=[a.mp4,b.mp4]", "input=[a.mp4,b.mp4]"),
        ('rights="as it is"', 'rights="as it is"'),
        ('rights=say "yes"', r'rights="say \"yes\""'),
        ("size=128", "size=128"),
        ("coverage=face", "coverage=face"),
        ("aligner.csv=x.csv", "aligner.csv=x.csv"),
    ],
)
def test_free_text_needs_no_hydra_quoting(override: str, quoted: str) -> None:
    assert quote_text("extract", [override]) == [quoted]


@pytest.mark.parametrize("text", ['a "b" c', "back\\slash", "ends\\", "${not} me", "x=y", "ü, é"])
def test_quoted_text_arrives_as_it_was(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = quote_text("extract", [f"rights=a{text}"])
    assert OverridesParser.create().parse_override(override).value() == f"a{text}"


def test_multirun_runs_each_combination(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    swapper: Command,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = swapper("verify", "-m", "file=a.png,b.png")
    assert "a.png" in error
    assert "b.png" in error
    assert status == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "swapper ",
            " ".join(VERBS),
        ),
        ("swapper con", "concept convert"),
        ("swapper extract aligner=", "aligner=fan aligner=mediapipe aligner=openface"),
        ("swapper convert blend.er", "blend.erode="),
        ("swapper train model=o", "model=original"),
    ],
)
def test_completion_knows_verbs_groups_and_keys(line: str, expected: str, swapper: Command) -> None:
    assert swapper("-sc", "query=bash", COMP_LINE=line)[1].strip() == expected


def test_completion_installs_by_the_command_s_name(
    swapper: Command,
) -> None:
    status, shown, _ = swapper("-sc", "install=bash")
    assert status == 0
    assert shown.strip().endswith("hydra_bash_completion swapper")


def test_both_ways_to_start_it() -> None:
    from swapper import __version__

    script = str(Path(sys.executable).with_name("swapper"))
    for command in ([script], [sys.executable, "-m", "swapper"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"swapper {__version__}"


def test_a_checkout_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.run(["train", "name=x", "facesets=[a,b]"]) == 2
    error = capsys.readouterr().err
    assert "pip install --editable" in error
    assert error.count("\n") == 1


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()  # stands where a folder should be
    assert cli.run(["demo", f"output={tmp_path}/file/demo"]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"swapper: {tmp_path}/file")
    assert "Not a directory" in error
