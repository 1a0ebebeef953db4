"""Drawn clips through every verb: extract, train, resume, convert, verify; frame-exact."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from swapper.cli import main as cli
from swapper.convert import convert
from swapper.errors import ProvenanceError
from swapper.faces.openface import OpenfaceAligner
from swapper.media.video_reader import VideoReader
from swapper.options.verbs import ConvertOptions
from tests import world as made
from tests.drawing import cut_clip
from tests.media.clips import write_clip
from tests.world import FRAMES, RIGHTS, extract_line


@pytest.fixture(scope="module")
def plain(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run `run`: a model that is not conditioned, stopped and resumed."""
    runs = tmp_path_factory.mktemp("runs")
    for steps in (10, 20):
        assert cli.run(plain_line(world, runs, steps)) == 0
    return runs / "run"


def plain_line(world: Path, runs: Path, steps: int) -> list[str]:
    facesets = f"[{world / 'facesets/alice'},{world / 'facesets/bob'}]"
    return [
        "train", "name=run", f"facesets={facesets}", f"runs={runs}", "model=tiny",
        "model.width=8", "model.latent=32", "data.batch_size=4", "data.num_workers=0",
        f"trainer.max_steps={steps}", "trainer.accelerator=cpu", "trainer.val_check_interval=10",
        "trainer.log_every_n_steps=5", "callbacks.checkpoint.every_n_steps=10",
        "callbacks.preview.every_n_steps=10", "callbacks.preview.faces=2",
    ]  # fmt: skip


def convert_line(world: Path, plain: Path, output: Path, *more: str) -> list[str]:
    return made.convert_line(world, output, f"model={plain}", *more)


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [bytes(packet) for packet in packets if packet.dts is not None]


def test_extraction_leaves_a_faceset_that_a_person_can_read(world: Path) -> None:
    faceset = world / "facesets" / "alice"
    card = json.loads((faceset / "faceset.json").read_text())
    assert card["rights"] == RIGHTS
    assert len(list((faceset / "images").glob("*.png"))) == FRAMES
    assert (faceset / "faceset.db").exists()


def test_extracting_again_adds_nothing(own_world: Path) -> None:
    images = own_world / "facesets/alice/images"
    before = {each.name: each.stat().st_mtime_ns for each in images.iterdir()}
    assert cli.run(extract_line(own_world, "alice")) == 0
    assert {each.name: each.stat().st_mtime_ns for each in images.iterdir()} == before


def test_a_run_leaves_what_is_needed(plain: Path) -> None:
    names = {each.name for each in plain.iterdir()}
    assert {"config.yaml", "metrics.csv", "model.safetensors", "model.json", "previews"} <= names
    assert {each.name for each in (plain / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert (plain / "previews" / "step_0000020.png").exists()
    rows = (plain / "metrics.csv").read_text().splitlines()
    assert rows[0].startswith("step")
    assert "train/loss" in rows[0]
    assert "val/loss" in rows[0]


def test_conversion_is_frame_exact_and_keeps_the_sound(
    world: Path, plain: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert cli.run(convert_line(world, plain, output, "codec.crf=0", "codec.preset=ultrafast")) == 0
    before, after = frames(world / "alice.mp4"), frames(output)
    assert [(f.pts * f.time_base) for f in after] == [(f.pts * f.time_base) for f in before]
    assert audio_packets(output) == audio_packets(world / "alice.mp4")
    changed = 0.0
    for old, new in zip(before, after, strict=True):
        luma_old, luma_new = (f.to_ndarray(format="gray") for f in (old, new))
        corner = np.s_[:20, :20]
        assert np.array_equal(luma_old[corner], luma_new[corner])
        changed += float(np.mean(luma_old != luma_new))
    assert 0.05 < changed / FRAMES < 0.8


def test_a_converted_file_tells_where_it_comes_from(
    world: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    assert cli.run(convert_line(world, plain, output)) == 0
    with av.open(str(output)) as after, av.open(str(world / "alice.mp4")) as before:
        assert after.streams.video[0].average_rate == before.streams.video[0].average_rate == 25
    capsys.readouterr()
    assert cli.run(["verify", str(output)]) == 0
    said = capsys.readouterr().out
    assert "unknown signer" in said
    assert RIGHTS in said
    content = bytearray(output.read_bytes())
    content[content.index(b"mdat") + 2000] ^= 0xFF
    output.write_bytes(content)
    assert cli.run(["verify", str(output)]) == 3
    assert "tampered" in capsys.readouterr().out
    assert cli.run(["verify", str(world / "alice.mp4")]) == 4


def test_a_container_that_holds_no_manifest_gets_a_sidecar(
    world: Path, plain: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    assert cli.run(convert_line(world, plain, output)) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "out.mkv",
        "out.mkv.provenance.json",
    ]
    assert cli.run(["verify", str(output)]) == 0
    assert cli.run(convert_line(world, plain, output, "overwrite=true", "provenance=none")) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["out.mkv"]
    assert cli.run(["verify", str(output)]) == 4


def test_a_signature_that_fails_keeps_the_conversion(
    world: Path,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise ProvenanceError("signer.pem: broken; make another")

    monkeypatch.setattr("swapper.convert.sign", fail)
    assert cli.run(convert_line(world, plain, tmp_path / "out.mp4")) == 1
    kept = tmp_path / ".out.unsigned.mp4"
    assert str(kept) in capsys.readouterr().err
    assert len(frames(kept)) == FRAMES
    assert not (tmp_path / "out.mp4").exists()


def hide_faces(source: Path, csv: Path, numbers: range) -> Path:
    """A copy of landmarks in which the tracker failed on some frames."""
    rows = source.read_text().splitlines()
    hidden = [rows[0]] + [
        row.replace(", 0.98, 1,", ", 0.98, 0,", 1) if number in numbers else row
        for number, row in enumerate(rows[1:])
    ]
    csv.write_text("\n".join(hidden) + "\n")
    return csv


def test_where_nothing_is_swapped_nothing_is_claimed(
    world: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = hide_faces(world / "alice.csv", tmp_path / "none.csv", range(FRAMES))
    output = tmp_path / "out.mp4"
    assert cli.run([*convert_line(world, plain, output), f"aligner.csv={csv}"]) == 5
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("swapper: ")]
    assert f"out.mp4: nothing was swapped, no face was found in {FRAMES} frames" in line
    assert len(frames(output)) == FRAMES
    assert cli.run(["verify", str(output)]) == 4
    assert [each.name for each in tmp_path.iterdir() if "out" in each.name] == ["out.mp4"]


def test_frames_without_a_face_pass_untouched(world: Path, plain: Path, tmp_path: Path) -> None:
    csv = hide_faces(world / "alice.csv", tmp_path / "gaps.csv", range(10, 20))
    output = tmp_path / "out.mp4"
    line = convert_line(world, plain, output, "codec.crf=0", "codec.preset=ultrafast")
    assert cli.run([*line, f"aligner.csv={csv}"]) == 0
    for number, (old, new) in enumerate(
        zip(frames(world / "alice.mp4"), frames(output), strict=True)
    ):
        same = all(
            np.array_equal(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8))
            for a, b in zip(old.planes, new.planes, strict=True)
        )
        assert same == (10 <= number < 20)


def test_a_folder_of_csvs_serves_the_performer(world: Path, plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    assert (
        cli.run(convert_line(world, plain, output, f"aligner.csv={world}", "provenance=none")) == 0
    )
    assert len(frames(output)) == FRAMES
    assert cli.run(["verify", str(output)]) == 4


def test_pictures_convert_to_pictures(world: Path, plain: Path, tmp_path: Path) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    for number, frame in enumerate(frames(world / "alice.mp4")[:2]):
        frame.to_image().save(stills / f"{number}.png")
    csv = hide_faces(world / "alice.csv", tmp_path / "two.csv", range(1, 2))
    csv.write_text("\n".join(csv.read_text().splitlines()[:3]) + "\n")
    output = tmp_path / "swapped"
    line = convert_line(world, plain, output)
    assert cli.run([*line, f"video={stills}", f"aligner.csv={tmp_path / 'two.csv'}"]) == 0
    assert sorted(each.name for each in output.iterdir()) == ["0.png", "1.png"]
    assert cli.run(["verify", str(output / "0.png")]) == 0
    assert cli.run(["verify", str(output / "1.png")]) == 4, "nothing was swapped in it"


def test_pictures_that_cannot_be_signed_do_not_stay(
    world: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    for number, frame in enumerate(frames(world / "alice.mp4")[:3]):
        frame.to_image().save(stills / f"{number}.png")
    csv = tmp_path / "three.csv"
    csv.write_text("\n".join((world / "alice.csv").read_text().splitlines()[:4]) + "\n")

    def fail(path: Path, *_: object) -> None:
        if path.name == "1.png":
            raise ProvenanceError(f"{path}: cannot be signed")

    monkeypatch.setattr("swapper.convert.sign", fail)
    output = tmp_path / "swapped"
    line = [*convert_line(world, plain, output), f"video={stills}", f"aligner.csv={csv}"]
    assert cli.run(line) == 1
    assert [each.name for each in output.iterdir()] == ["0.png"]


def test_a_broken_picture_is_left_out_and_named(
    world: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    for number, frame in enumerate(frames(world / "alice.mp4")[:3]):
        frame.to_image().save(stills / f"{number}.png")
    (stills / "1.png").write_bytes(b"no picture")
    csv = tmp_path / "three.csv"
    csv.write_text("\n".join((world / "alice.csv").read_text().splitlines()[:4]) + "\n")
    output = tmp_path / "swapped"
    line = [*convert_line(world, plain, output), f"video={stills}", f"aligner.csv={csv}"]
    assert cli.run(line) == 1
    assert "1.png: not a picture" in capsys.readouterr().err
    assert sorted(each.name for each in output.iterdir()) == ["0.png", "2.png"]
    for name in ("0.png", "2.png"):
        assert cli.run(["verify", str(output / name)]) == 0


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ("identity=carol", 1, "alice, bob"),
        ("video=gone.mp4", 1, "gone.mp4"),
        ("model=gone", 1, "gone"),
        ("output={world}/bob.mp4", 2, "overwrite=true"),
        ("output={world}/alice.mp4 overwrite=true", 2, "performer's own footage"),
        ("output=out.avi", 1, ": out.avi: unknown suffix"),
        ("aligner.csv={short}", 1, "bob_short.csv"),
        ("certificate=mine.pem", 2, "private_key"),
        ("device=cuda:9", 2, "device=cuda:9: not available"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    world: Path,
    plain: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    status: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    short = tmp_path_factory.mktemp("short") / "bob_short.csv"
    short.write_text("\n".join((world / "bob.csv").read_text().splitlines()[:20]) + "\n")
    line = convert_line(world, plain, tmp_path / "out.mp4")
    keep = (world / "bob.mp4").read_bytes()
    assert cli.run([*line, *change.format(world=world, short=short).split()]) == status
    error = [row for row in capsys.readouterr().err.splitlines() if row.startswith("swapper:")]
    assert len(error) == 1
    assert expected in error[0]
    assert list(tmp_path.iterdir()) == []
    assert (world / "bob.mp4").read_bytes() == keep


def test_hdr_is_refused_with_the_cure(
    world: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, tags = tmp_path / "hdr.mkv", (9, 1, 9, 16)
    write_hdr = {"codec": "ffv1", "pix_fmt": "yuv420p10le", "options": {"level": "3"}}
    write_clip(video, tags=tags, **write_hdr)  # type: ignore[arg-type]
    output = tmp_path / "out.mp4"
    assert cli.run([*convert_line(world, plain, output), f"video={video}"]) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("swapper: ")]
    assert "hdr.mkv: is HDR (PQ), whose range a swap cannot keep; make it SDR first" in line
    assert not output.exists()


def test_truncated_footage_converts_what_decodes_and_says_where_it_stopped(
    world: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = cut_clip(world / "alice.mp4", tmp_path / "cut.mp4")
    output = tmp_path / "out.mp4"
    assert cli.run([*convert_line(world, plain, output), f"video={cut}"]) == 1
    error = capsys.readouterr().err
    assert "cut.mp4: damaged or truncated, decoding stopped at" in error
    assert 0 < len(frames(output)) < FRAMES
    assert cli.run(["verify", str(output)]) == 0


def test_who_watches_a_conversion_sees_each_frame_and_where_the_swap_lies(
    world: Path, plain: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    before = [frame.image for frame in VideoReader(world / "alice.mp4")]

    def watch(index: int, picture: np.ndarray, mask: np.ndarray) -> None:
        seen.append(index)
        assert mask.shape == picture.shape[:2]
        assert mask.min() >= 0
        assert mask.max() <= 1
        rows, columns = np.nonzero(mask)
        middle = np.array(picture.shape[:2]) / 2
        assert (abs(np.array([rows.mean(), columns.mean()]) - middle) < middle / 2).all()
        np.testing.assert_array_equal(picture[mask == 0], before[index][mask == 0])
        assert (picture != before[index]).any()

    output = tmp_path / "watched.mp4"
    options = ConvertOptions(
        model=str(plain), video=str(world / "alice.mp4"), identity="bob",
        output=str(output), device="cpu", provenance="none",
    )  # fmt: skip
    convert(options, lambda: OpenfaceAligner(str(world / "alice.csv")), watch)
    assert seen == list(range(FRAMES))
    assert len(frames(output)) == FRAMES
