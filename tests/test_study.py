"""The verb study: a page that tells nothing, and results that tell all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from swapper.cli import main as cli
from swapper.user_study.trials import read_key
from tests.media.clips import write_clip
from tests.user_study.asked import answered, prefers, save

SYSTEMS = ("alpha_model", "beta_model", "<b>gamma</b> & co")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two performances with three swaps each; qp makes every file another."""
    folder = tmp_path / "clips"
    for i, name in enumerate(("laugh", "anger")):
        (folder / name).mkdir(parents=True)
        for j, who in enumerate(("performer", *SYSTEMS[:2], "gamma")):
            options = {"qp": str(10 + 10 * i + j)}
            write_clip(folder / name / f"{who}.mp4", options=options)
    return folder


def told(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What a mistake prints: one line."""
    assert cli.run(["study", *line]) != 0
    error = capsys.readouterr().err
    assert error.startswith("swapper: ")
    assert error.count("\n") == 1
    return error


def test_nothing_that_participants_get_tells_the_systems(clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "study"
    assert cli.run(["study", f"clips={clips}", f"output={output}"]) == 0
    assert sorted(each.name for each in output.iterdir()) == ["README.txt", "key.json", "page"]
    page = (output / "page/index.html").read_text(encoding="utf-8")
    names = [each.name for each in (output / "page").rglob("*") if each.is_file()]
    for word in ("alpha", "beta", "gamma", "laugh", "anger", "key.json"):
        assert word not in page
        assert not any(word in each for each in names)
    assert all(re.fullmatch(r"index\.html|[0-9a-f]{16}\.mp4", each) for each in names)
    assert not re.search(r"https?://|src=\"(?!data:)|@import|url\(", page)

    study = read_key(output / "key.json")
    for name, clip in study.clips.items():
        performer = (clips / name / "performer.mp4").read_bytes()
        for copy in (clip.performer, clip.check):
            assert (output / f"page/clips/{copy}.mp4").read_bytes() == performer
        for system, swap in clip.systems.items():
            shown = (output / f"page/clips/{swap}.mp4").read_bytes()
            assert shown == (clips / name / f"{system}.mp4").read_bytes()
    # A system is not always named first: the order is that of names that say nothing.
    owner = {swap: name for clip in study.clips.values() for name, swap in clip.systems.items()}
    assert [each.id for each in study.pairs] == sorted(each.id for each in study.pairs)
    assert all(each.clips == tuple(sorted(each.clips)) for each in study.pairs)
    assert len({owner[each.clips[0]] for each in study.pairs}) > 1


def test_the_same_clips_make_the_same_study(clips: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli.run(["study", f"clips={clips}", f"output={tmp_path / name}"]) == 0
    first, second = (
        {each.relative_to(tmp_path / name): each.read_bytes()
         for each in (tmp_path / name).rglob("*") if each.is_file()}
        for name in ("a", "b")
    )  # fmt: skip
    assert first == second


def test_answers_become_results(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in clips.iterdir():
        (folder / "gamma.mp4").rename(folder / "g.mp4")
    output, answers = tmp_path / "study", tmp_path / "answers"
    assert cli.run(["study", f"clips={clips}", f"output={output}"]) == 0
    study = read_key(output / "key.json")
    for seed in range(9):
        order = ("alpha_model", "g", "beta_model") if seed else ("g", "beta_model", "alpha_model")
        save(answers, answered(study, seed, prefers(*order)))
    save(answers, answered(study, 50, lambda left, right: "neither"))
    (answers / "answers-<img src=x>.json").write_text("{}")
    capsys.readouterr()
    key = output / "key.json"
    assert cli.run(["study", f"answers={answers}", f"key={key}"]) == 0
    said = capsys.readouterr()
    assert "9 participants, 54 comparisons, 0 of them undecided" in said.out
    assert "missed 3 of 3 checks" in said.out
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in results["systems"]] == ["alpha_model", "g", "beta_model"]
    assert sum(each["strength"] for each in results["systems"]) == pytest.approx(0, abs=1e-6)
    first = results["pairs"][0]
    assert (first["first"], first["second"]) == ("alpha_model", "g")
    assert first["share"] == pytest.approx(8 / 9)
    assert 0.5 < first["low"] < 8 / 9 < first["high"] < 1
    page = (output / "results.html").read_text(encoding="utf-8")
    assert "alpha_model matches the performer’s expression best" in page
    assert "answers-&lt;img src=x&gt;.json" in page
    assert "<img" not in page
    assert "<script" not in page


def test_names_from_a_key_are_escaped(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "study"
    assert cli.run(["study", f"clips={clips}", f"output={output}"]) == 0
    key = json.loads((output / "key.json").read_text())
    for clip in key["clips"].values():
        clip["systems"][SYSTEMS[2]] = clip["systems"].pop("gamma")
    (output / "key.json").write_text(json.dumps(key))
    study = read_key(output / "key.json")
    for seed in range(3):
        save(tmp_path / "answers", answered(study, seed, prefers(SYSTEMS[2], *SYSTEMS[:2])))
    line = ["study", f"answers={tmp_path / 'answers'}", f"key={output / 'key.json'}"]
    assert cli.run(line) == 0
    page = (output / "results.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;gamma&lt;/b&gt; &amp; co" in page
    assert "<b>gamma" not in page


def test_clips_that_would_tell_are_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = (f"clips={clips}", f"output={tmp_path / 'study'}")
    swap = clips / "laugh/gamma.mp4"
    write_clip(swap, frames=12)
    assert "gamma.mp4: lasts 0.48 s, performer.mp4 0.32 s" in told(capsys, *line)
    write_clip(swap, size=(80, 64))
    assert "is 80x64, performer.mp4 is 96x64" in told(capsys, *line)
    write_clip(swap, codec="libx265")
    assert "browsers do not play hevc" in told(capsys, *line)
    shutil.copyfile(clips / "laugh/performer.mp4", swap)
    assert "is the same file as" in told(capsys, *line)
    swap.write_bytes(b"not a video")
    assert "gamma.mp4: not a video" in told(capsys, *line)
    swap.rename(clips / "laugh/gamma.mov")
    assert "browsers do not play .mov" in told(capsys, *line)
    (clips / "laugh/gamma.mov").unlink()
    write_clip(clips / "laugh/gamma.webm", codec="libvpx-vp9", options={})
    assert "would reveal the systems" in told(capsys, *line)
    (clips / "laugh/gamma.webm").unlink()
    (clips / "laugh/beta_model.mp4").unlink()
    assert "fewer than two swaps" in told(capsys, *line)
    (clips / "laugh/performer.mp4").unlink()
    assert "holds no performer.mp4; lay it out as" in told(capsys, *line)
    assert not (tmp_path / "study").exists()


def test_a_frame_more_or_less_is_none(clips: Path, tmp_path: Path) -> None:
    write_clip(clips / "laugh/gamma.mp4", frames=7)
    assert cli.run(["study", f"clips={clips}", f"output={tmp_path / 'study'}"]) == 0


def test_a_mistake_is_one_line(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "study"
    assert "pass clips=FOLDER" in told(capsys)
    assert "pass clips=FOLDER" in told(capsys, f"clips={clips}", "answers=x")
    assert "key is missing" in told(capsys, "answers=x")
    assert "drop key=" in told(capsys, f"clips={clips}", "key=k")
    assert "no such folder" in told(capsys, f"clips={tmp_path / 'no'}")
    assert "holds the clips themselves" in told(capsys, f"clips={clips}", f"output={tmp_path}")
    assert cli.run(["study", f"clips={clips}", f"output={output}"]) == 0
    again = (f"clips={clips}", f"output={output}")
    capsys.readouterr()
    assert "is not empty; pass overwrite=true" in told(capsys, *again)
    assert cli.run(["study", *again, "overwrite=true"]) == 0
    capsys.readouterr()
    (output / "answers").mkdir()
    assert "holds answers, which no study wrote" in told(capsys, *again, "overwrite=true")
    key = f"key={output / 'key.json'}"
    assert "holds 0 answers-*.json" in told(capsys, f"answers={output / 'answers'}", key)
    study = read_key(output / "key.json")
    save(output / "answers", answered(study, 1, lambda left, right: "neither"))
    answers = f"answers={output / 'answers'}"
    assert "missed more than 0 checks; pass a larger misses=" in told(capsys, answers, key)
