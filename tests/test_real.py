"""The whole road on real clips, where they are at hand; each aligner from the command line."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from swapper.cli import main as cli
from swapper.facesets.faceset import Faceset

RIGHTS = "example clips under the MIT licence, for tests"


def extract(shared: Path, folder: Path, clip: str, identity: str, *more: str) -> Faceset:
    line = [
        "extract", f"input={shared / 'real' / clip}", f"identity={identity}", f"rights={RIGHTS}",
        f"facesets={folder}", "affect=none", *more,
    ]  # fmt: skip
    assert cli.run(line) == 0
    return Faceset.open(folder / identity)


def csv_of(shared: Path, clip: str) -> list[str]:
    path = shared / "real" / clip.replace(".mp4", ".openface.csv")
    return ["aligner=openface", f"aligner.csv={path}"]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return sorted(float(each.pts * each.time_base) for each in container.decode(video=0))


def sounds(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(each) for each in container.demux(audio=0) if each.dts is not None]


@pytest.mark.slow
def test_two_real_clips_become_a_swap_with_sound(shared: Path, tmp_path: Path) -> None:
    counts = []
    for clip, identity in (("clip_a.mp4", "ann"), ("clip_b.mp4", "ben")):
        faceset = extract(shared, tmp_path, clip, identity, *csv_of(shared, clip), "every=12")
        counts.append(len(faceset))
    assert counts == [30, 84]
    line = [
        "train", "name=real", f"facesets=[{tmp_path / 'ann'},{tmp_path / 'ben'}]",
        f"runs={tmp_path}", "model=tiny", "model.width=8", "data.num_workers=0",
        "trainer.max_steps=8", "trainer.accelerator=cpu", "trainer.val_check_interval=8",
    ]  # fmt: skip
    assert cli.run(line) == 0
    video, output = shared / "real" / "clip_a.mp4", tmp_path / "out.mp4"
    line = [
        "convert", f"model={tmp_path / 'real'}", f"video={video}", "identity=ben",
        f"output={output}", "device=cpu", "codec.preset=ultrafast", *csv_of(shared, "clip_a.mp4"),
    ]  # fmt: skip
    assert cli.run(line) == 0
    assert cli.run(["verify", str(output)]) == 0
    assert times(video) == times(output)
    assert len(times(output)) == 354
    assert sounds(video) == sounds(output)


def test_mediapipe_finds_what_the_csv_says(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="needs the extra: pip install swapper[mediapipe]")
    model = shared / "weights" / "face_landmarker.task"
    found = extract(
        shared, tmp_path / "mp", "clip_a.mp4", "ann", "aligner=mediapipe",
        f"aligner.model={model}", "aligner.video=false", "every=40",
    )  # fmt: skip
    told = extract(
        shared, tmp_path / "csv", "clip_a.mp4", "ann", *csv_of(shared, "clip_a.mp4"), "every=40"
    )
    assert [each.frame_index for each in found.records] == list(range(0, 354, 40))
    for one, other in zip(found.records, told.records, strict=True):
        # The CSV's tracker followed the face over all frames; each is looked at alone here.
        assert np.abs(one.landmarks - other.landmarks).mean() < 4


@pytest.mark.slow
def test_fan_runs_from_the_command_line_on_same_layout_weights(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from face_alignment.models import FAN

    torch.manual_seed(0)
    weights = tmp_path / "fan.pth"
    torch.save(FAN(4).state_dict(), weights)
    faceset = extract(
        shared, tmp_path, "portrait.jpg", "someone", "aligner=fan", "aligner.detector=blazeface",
        f"aligner.detector_weights={shared / 'weights' / 'blazeface.pth'}",
        f"aligner.detector_anchors={shared / 'weights' / 'anchors.npy'}",
        f"aligner.landmark_weights={weights}", "aligner.device=cpu", "min_size=0",
    )  # fmt: skip
    (record,) = faceset.records
    assert faceset.image(record).shape == (256, 256, 3)
    assert faceset.card.aligner.startswith("fan(blazeface")
