from __future__ import annotations

import csv
import dataclasses
import hashlib
import itertools
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer

from swapper.data.augment import Augment
from swapper.data.balance import Balance
from swapper.data.datamodule import FaceDataModule
from swapper.data.dataset import warped_and_target
from swapper.data.draw_counts import write_draw_counts
from swapper.data.sampling import FaceSampler
from swapper.errors import FacesetError
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from swapper.types import FaceBatch
from tests.facesets.making import SIZE, SOURCE, make_card, make_faceset, make_image, make_record

COUNTS = (60, 45)


@pytest.fixture(scope="module")
def facesets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("facesets")
    return [
        str(make_faceset(folder, name, count, seed))
        for seed, (name, count) in enumerate(zip(("anna", "bert"), COUNTS, strict=True))
    ]


def module(facesets: list[str], **changes: Any) -> FaceDataModule:
    settings: dict[str, Any] = {
        "resolution": 16,
        "batch_size": 3,
        "augment": Augment(degrade=0.5),
        "num_workers": 0,
        "holdout": 0.1,
        "val_batches": 2,
        "seed": 11,
    }
    data = FaceDataModule(facesets, **settings | changes)
    data.setup("fit")
    return data


def still_faceset(folder: Path, identity: str, seed: int, count: int = 60) -> str:
    """Frames of one clip in which the head keeps its pose."""
    path = folder / identity
    with FacesetWriter(path, make_card(identity)) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame in range(count):
            record = dataclasses.replace(make_record(frame), yaw=1.0)
            writer.add(record, make_image(frame, seed))
    return str(path)


def digest(batch: FaceBatch) -> str:
    found = hashlib.sha256(str(batch.step).encode())
    assert batch.pseudo is None  # those have tests of their own
    for name in (each.name for each in dataclasses.fields(batch)):
        if name in ("step", "pseudo"):
            continue
        value = getattr(batch, name)
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()


def first(data: FaceDataModule, count: int) -> list[FaceBatch]:
    return list(itertools.islice(iter(data.train_dataloader()), count))


def inputs(batch: FaceBatch) -> torch.Tensor:
    """(N, S, S, 3): the picture that each sample is seen by, before it is warped."""
    pictures = batch.faces[batch.index, ..., :3].clone()
    away = batch.degraded_index >= 0
    pictures[away] = batch.degraded[batch.degraded_index[away]]
    return pictures


def which(data: FaceDataModule, batch: FaceBatch) -> list[tuple[int, int]]:
    """(identity, row) of each face of a batch."""
    found = []
    for face, identity in zip(batch.faces.numpy(), batch.identity.tolist(), strict=True):
        same = (data.caches[identity].array == face).all(axis=(1, 2, 3))
        assert same.sum() == 1
        found.append((identity, int(same.argmax())))
    return found


def test_a_batch_is_as_the_types_say(facesets: list[str]) -> None:
    data = module(facesets)
    assert data.identities == ("anna", "bert")
    assert [each.card.identity for each in data.facesets] == ["anna", "bert"]
    assert [len(each.content_hash) for each in data.facesets] == [64, 64]
    for number, batch in enumerate(first(data, 2)):
        assert batch.step == number
        assert batch.faces.shape == (6, SIZE, SIZE, 5)
        assert batch.index.tolist() == list(range(6))
        treated = batch.degraded_index[batch.degraded_index >= 0]
        assert treated.tolist() == list(range(len(treated)))
        assert batch.degraded.shape == (len(treated), SIZE, SIZE, 3)
        assert batch.faces_from_target.shape == (6, 2, 3)
        assert batch.grid.shape == (6, 9, 9, 2)
        assert batch.gain.shape == (6, 3, 2)
        assert batch.identity.tolist() == [0, 0, 0, 1, 1, 1]
        assert batch.faces.dtype == batch.degraded.dtype == torch.uint8
        kinds = {batch.faces_from_target.dtype, batch.grid.dtype, batch.gain.dtype}
        assert kinds == {torch.float32}
        warped, target = warped_and_target(batch, 16)
        assert warped.shape == (6, 3, 16, 16)
        assert target.shape == (6, 5, 16, 16)
        which(data, batch)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_a_function_of_its_step(facesets: list[str], workers: int) -> None:
    want = [digest(batch) for batch in first(module(facesets), 9)]
    assert len(set(want)) == 9
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 (the global state that must not matter)
    resumed = module(facesets, num_workers=workers)
    resumed.load_state_dict({"next_step": 4})
    assert resumed.state_dict() == {"next_step": 4}
    assert [digest(batch) for batch in first(resumed, 5)] == want[4:]


def test_other_seeds_and_ranks_draw_otherwise(facesets: list[str]) -> None:
    want = digest(first(module(facesets), 1)[0])
    assert digest(first(module(facesets, seed=12), 1)[0]) != want
    state = torch.get_rng_state()
    first(module(facesets), 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_ranks_share_the_faces_out(facesets: list[str]) -> None:
    seen: list[tuple[int, int]] = []
    for rank in range(3):
        data = module(facesets, batch_size=1, augment=None)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3)  # type: ignore[assignment]
        assert len(data.trained[0]) == 48
        for batch in first(data, 16):
            seen += which(data, batch)
    anna = [row for identity, row in seen if identity == 0]
    assert len(anna) == len(set(anna)) == 48


def test_validation_is_held_out_fixed_and_plain(facesets: list[str]) -> None:
    data = module(facesets)
    batches = list(data.val_dataloader())
    assert len(batches) == len(data.val_dataloader()) == 1  # 4 of bert's are held out
    again = [digest(batch) for batch in data.val_dataloader()]
    assert again == [digest(batch) for batch in batches]
    trained = {
        face for batch in first(data, 60) for face in which(data, batch)
    }  # every face, more than once
    for number, batch in enumerate(batches):
        assert batch.step == number
        held = which(data, batch)
        assert len(set(held)) == 6
        assert not set(held) & trained
        warped, target = warped_and_target(batch, 16)
        assert torch.equal(warped, target[:, :3])
        box = torch.nn.functional.avg_pool2d(batch.faces.permute(0, 3, 1, 2) / 255.0, 2)
        torch.testing.assert_close(target, box)
    preview = data.preview_batch(2)
    assert preview.identity.tolist() == [0, 0, 1, 1]
    assert len(set(which(data, preview))) == 4
    assert not set(which(data, preview)) & trained
    assert len(data.preview_batch(7).faces) == 14
    assert len(module(facesets, val_batches=0).val_dataloader()) == 0


def test_ranks_validate_on_different_faces(facesets: list[str]) -> None:
    seen: list[tuple[int, int]] = []
    for rank in range(2):
        data = module(facesets, batch_size=1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        batches = list(data.val_dataloader())
        assert len(batches) == 2
        seen += [face for batch in batches for face in which(data, batch)]
    assert len(set(seen)) == len(seen) == 8


def test_too_few_to_hold_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [str(make_faceset(tmp_path, name, 6)) for name in ("anna", "bert")]
    data = module(paths)
    assert "too few to hold any out" in caplog.text
    assert "expect a face that hardly moves" in caplog.text
    assert [len(each) for each in data.trained] == [6, 6]
    assert len(list(data.val_dataloader())) == 2
    caplog.clear()
    module(paths, holdout=0.0)
    assert "too few" not in caplog.text


def test_sizes_may_differ(facesets: list[str], tmp_path: Path) -> None:
    other = str(make_faceset(tmp_path, "carl", 24, size=48))
    data = module([*facesets, other], resolution=20)
    batch = first(data, 1)[0]
    assert batch.faces.shape == (9, 40, 40, 5)
    assert batch.identity.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_pictures_smaller_than_the_model_are_told(
    facesets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = module(facesets, resolution=64)
    assert f"pictures of {SIZE} px cannot show what 64 px would" in caplog.text
    assert first(data, 1)[0].faces.shape[1] == SIZE


def test_refuses_what_cannot_be_trained_on(facesets: list[str], tmp_path: Path) -> None:
    with pytest.raises(FacesetError, match="two identities at least"):
        module(facesets[:1])
    with pytest.raises(FacesetError, match="is of anna"):
        module([*facesets, facesets[0]])
    with pytest.raises(FacesetError, match="no such faceset"):
        module([*facesets, str(tmp_path / "nobody")])
    with pytest.raises(FacesetError, match="coverage"):
        module([*facesets, str(make_faceset(tmp_path, "carl", 3, coverage="head"))])
    with pytest.raises(FacesetError, match="has no faces"):
        module([*facesets, str(make_faceset(tmp_path, "dora", 0))])


@pytest.mark.parametrize(
    "bad",
    [{"resolution": 0}, {"batch_size": 0}, {"num_workers": -1}, {"holdout": 0.6},
     {"holdout": float("nan")}, {"val_batches": -1}, {"seed": -1},
     {"pairs": 1.1}, {"neighbours": 2}, {"resident": "yes"}],
)  # fmt: skip
def test_refuses_bad_numbers(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        module(["a", "b"], **bad)


BUSY = {"balance": Balance(), "pairs": 0.5, "neighbours": 1}


def told(facesets: list[str], **changes: Any) -> FaceDataModule:
    """With codes that name the identity and the face."""
    data = module(facesets, **BUSY | changes)
    data.condition(
        [
            np.array([(identity, row, row % 3) for row in range(len(each))], np.float32)
            for identity, each in enumerate(data.facesets)
        ]
    )
    return data


def test_without_balance_every_face_is_drawn_once_an_epoch(facesets: list[str]) -> None:
    want = [digest(batch) for batch in first(module(facesets), 16)]
    plain = module(facesets, balance=Balance(temper=0.0), pairs=0.0, neighbours=0)
    batches = first(plain, 16)
    assert [digest(batch) for batch in batches] == want
    seen = [row for batch in batches for identity, row in which(plain, batch) if identity == 0]
    assert seen == plain.trained[0][FaceSampler(11, 0, 48, 48).blocks(0, 1)[0][0]].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_balanced_batch_is_a_function_of_its_step(facesets: list[str], workers: int) -> None:
    want = [digest(batch) for batch in first(told(facesets), 9)]
    assert len(set(want)) == 9
    resumed = told(facesets, num_workers=workers)
    resumed.load_state_dict({"next_step": 4})
    assert [digest(batch) for batch in first(resumed, 5)] == want[4:]


def test_codes_are_those_of_the_faces(facesets: list[str]) -> None:
    data = told(facesets)
    for batch in [*first(data, 10), *data.val_dataloader(), data.preview_batch(3)]:
        assert batch.code.dtype == torch.float32
        assert batch.code[:, :2].int().tolist() == [list(each) for each in which(data, batch)]
    assert module(facesets).preview_batch(2).code.shape == (4, 0)


def test_codes_come_one_a_face(facesets: list[str]) -> None:
    data = module(facesets)
    with pytest.raises(ValueError, match="codes must be"):
        data.condition([np.zeros((60, 2), np.float32), np.zeros((44, 2), np.float32)])
    with pytest.raises(ValueError, match="codes must be"):
        data.condition([np.zeros((60, 2), np.float32), np.zeros((45, 3), np.float32)])


def test_codes_change_what_is_drawn(facesets: list[str]) -> None:
    data = module(facesets, balance=Balance(uniform=0.0))
    before = data.draw_counts(10)[0]
    codes = [np.zeros((len(each), 2), np.float32) for each in data.facesets]
    for each in codes:
        each[13:16] = 9.0
    data.condition(codes)
    after = data.draw_counts(10)[0]
    rare = np.isin(data.trained[0], [13, 14, 15])
    assert rare.any()
    assert (after.expected[rare] > 1.5 * before.expected[rare]).all()


def test_pairs_move_nothing_but_the_input(tmp_path: Path) -> None:
    paths = [still_faceset(tmp_path, name, seed) for seed, name in enumerate(("anna", "bert"))]
    calm = Augment(degrade=0, borrow=0)
    plain, paired = (first(told(paths, augment=calm, pairs=share), 20) for share in (0.0, 0.5))
    for one, other in zip(plain, paired, strict=True):
        for name in ("faces", "code", "grid", "gain", "faces_from_target", "previous"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert torch.equal(inputs(one), one.faces[..., :3])
    assert any(not torch.equal(inputs(each), each.faces[..., :3]) for each in paired)


def test_without_a_like_pose_the_input_is_its_own(facesets: list[str]) -> None:
    """Yaw is the frame's number there, so what is alike is of the same half second."""
    for batch in first(module(facesets, pairs=1.0, augment=None), 5):
        assert torch.equal(inputs(batch), batch.faces[..., :3])


def test_pairs_lend_the_input_of_another_moment(tmp_path: Path) -> None:
    paths = [still_faceset(tmp_path, name, seed) for seed, name in enumerate(("anna", "bert"))]
    data = module(paths, pairs=0.5, augment=None)
    lent = total = 0
    for batch in first(data, 40):
        for sample, (identity, row) in enumerate(which(data, batch)):
            pictures = data.caches[identity].array[..., :3]
            same = (pictures == inputs(batch)[sample].numpy()).all(axis=(1, 2, 3))
            source = int(same.argmax())
            assert same.sum() == 1
            assert source == row or abs(source - row) >= 15
            assert source in data.trained[identity]
            lent, total = lent + (source != row), total + 1
    assert 0.4 < lent / total < 0.6


def test_followers_are_the_next_frame_under_the_same_augmentation(tmp_path: Path) -> None:
    paths = [still_faceset(tmp_path, name, seed) for seed, name in enumerate(("anna", "bert"))]
    data = module(paths, neighbours=2, batch_size=5, pairs=1.0, augment=Augment(borrow=0))
    found = 0
    for batch in first(data, 20):
        faces = which(data, batch)
        follows = batch.previous.tolist()
        assert {sample for sample, before in enumerate(follows) if before >= 0} <= {1, 3, 6, 8}
        for sample, before in enumerate(follows):
            if before < 0:
                continue
            found += 1
            assert before == sample - 1
            assert faces[sample][0] == faces[before][0]
            assert faces[sample][1] == faces[before][1] + 1
            for name in ("faces_from_target", "grid", "gain"):
                drawn = getattr(batch, name)
                assert torch.equal(drawn[sample], drawn[before])
                assert not torch.equal(drawn[sample], drawn[4])
    assert found > 60


def test_repeats_are_counted(facesets: list[str], tmp_path: Path) -> None:
    data = told(facesets)
    seen = [face for batch in first(data, 30) for face in which(data, batch)]
    found = data.draw_counts(30)
    for identity, each in enumerate(found):
        records = data.facesets[identity].records
        assert list(each.ids) == [records[row].id for row in data.trained[identity]]
        want = [seen.count((identity, int(row))) for row in data.trained[identity]]
        assert each.drawn.tolist() == want
        assert each.expected.sum() == pytest.approx(90)
    write_draw_counts(tmp_path / "run" / "repeats.csv", found)
    with (tmp_path / "run" / "repeats.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(map(len, data.trained))
    assert set(rows[0]) == {"identity", "id", "cell", "run", "expected", "drawn"}
    assert int(rows[0]["drawn"]) == max(found[0].drawn)
    assert sum(int(row["drawn"]) for row in rows if row["identity"] == "bert") == 90
    data.trainer = SimpleNamespace(global_rank=0, world_size=2)  # type: ignore[assignment]
    assert data.draw_counts(15)[0].drawn.tolist() == found[0].drawn.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_faces_that_stay_make_the_same_batches(facesets: list[str], workers: int) -> None:
    sent, stay = (told(facesets, resident=each, num_workers=workers) for each in (False, True))
    for one, other in zip(first(sent, 6), first(stay, 6), strict=True):
        assert other.faces.shape == (0, SIZE, SIZE, 5)
        moved = stay.transfer_batch_to_device(other, torch.device("cpu"), 0)
        assert len(moved.faces) == sum(COUNTS)
        assert torch.equal(moved.faces[moved.index], one.faces)
        for got, right in zip(
            warped_and_target(moved, 16), warped_and_target(one, 16), strict=True
        ):
            assert torch.equal(got, right)
        assert digest(dataclasses.replace(moved, faces=one.faces, index=one.index)) == digest(one)
    for batch in stay.val_dataloader():
        assert stay.transfer_batch_to_device(batch, torch.device("cpu"), 0).faces is batch.faces


class Listener(LightningModule):
    """Learns next to nothing and remembers what it was fed."""

    def __init__(self, data: FaceDataModule) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.data = data
        self.seen: list[str] = []
        self.validated: list[str] = []

    def training_step(self, batch: FaceBatch, index: int) -> torch.Tensor:
        self.seen.append(digest(batch))
        self.data.next_step = batch.step + 1
        return self.weight * batch.faces.float().mean()

    def validation_step(self, batch: FaceBatch, index: int) -> None:
        self.validated.append(digest(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(data: FaceDataModule, folder: Path, steps: int, resume: Path | None = None) -> Listener:
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, val_check_interval=3,
        check_val_every_n_epoch=None, num_sanity_val_steps=0, enable_checkpointing=False,
        use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    listener = Listener(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(listener, datamodule=data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return listener


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_resumes_in_mid_run(facesets: list[str], tmp_path: Path, workers: int) -> None:
    whole = fit(module(facesets), tmp_path, 8)
    assert len(whole.seen) == len(set(whole.seen)) == 8
    assert len(whole.validated) == 2
    early = fit(module(facesets, num_workers=workers), tmp_path, 5)
    late = fit(module(facesets, num_workers=workers), tmp_path, 8, tmp_path / "last.ckpt")
    assert early.seen + late.seen == whole.seen
    assert early.validated + late.validated == whole.validated
