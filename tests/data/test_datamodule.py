from __future__ import annotations

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
from swapper.data.datamodule import FaceDataModule
from swapper.errors import FacesetError
from swapper.kernels.warp import warp_pair
from swapper.types import FaceBatch
from tests.data.making import SIZE, make_faceset

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


def digest(batch: FaceBatch) -> str:
    found = hashlib.sha256(str(batch.step).encode())
    for name in ("faces", "degraded", "faces_from_target", "grid", "gain", "identity"):
        value = getattr(batch, name)
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()


def first(data: FaceDataModule, count: int) -> list[FaceBatch]:
    return list(itertools.islice(iter(data.train_dataloader()), count))


def which(data: FaceDataModule, batch: FaceBatch) -> list[tuple[int, int]]:
    """(identity, row) of each face of a batch."""
    found = []
    for face, identity in zip(batch.faces.numpy(), batch.identity.tolist(), strict=True):
        same = (data._caches[identity].array == face).all(axis=(1, 2, 3))
        assert same.sum() == 1
        found.append((identity, int(same.argmax())))
    return found


def test_a_batch_is_as_the_types_say(facesets: list[str]) -> None:
    data = module(facesets)
    assert data.identities == ("anna", "bert")
    assert [card.identity for card in data.cards] == ["anna", "bert"]
    assert [len(each) for each in data.content_hashes] == [64, 64]
    for number, batch in enumerate(first(data, 2)):
        assert batch.step == number
        assert batch.faces.shape == (6, SIZE, SIZE, 5)
        assert batch.degraded.shape == (6, SIZE, SIZE, 3)
        assert batch.faces_from_target.shape == (6, 2, 3)
        assert batch.grid.shape == (6, 9, 9, 2)
        assert batch.gain.shape == (6, 3, 2)
        assert batch.identity.tolist() == [0, 0, 0, 1, 1, 1]
        assert batch.faces.dtype == batch.degraded.dtype == torch.uint8
        kinds = {batch.faces_from_target.dtype, batch.grid.dtype, batch.gain.dtype}
        assert kinds == {torch.float32}
        warped, target = warp_pair(
            batch.faces, batch.faces_from_target, batch.grid, batch.gain,
            size=16, degraded=batch.degraded,
        )  # fmt: skip
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
        assert data.num_faces[0] == 48
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
        warped, target = warp_pair(
            batch.faces, batch.faces_from_target, batch.grid, batch.gain,
            size=16, degraded=batch.degraded,
        )  # fmt: skip
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
    assert data.num_faces == (6, 6)
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
     {"holdout": float("nan")}, {"val_batches": -1}, {"seed": -1}],
)  # fmt: skip
def test_refuses_bad_numbers(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        module(["a", "b"], **bad)


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
