"""The benchmark of the training step, small: what it says must be what it did."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from swapper.models.autoencoder import DfAutoencoder
from tests.facesets.making import make_faceset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench(load_script: Callable[[str], ModuleType]) -> ModuleType:
    module = load_script("bench_train")
    small = partial(DfAutoencoder, resolution=64, width=4, latent=16)
    module.MODELS["small"] = module.Model(small, 64, on_cpu=2, on_gpu=2)
    return module


@pytest.fixture(scope="module")
def facesets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("facesets")
    return [str(make_faceset(folder, name, 24, seed)) for seed, name in enumerate(("ann", "bob"))]


def test_it_measures_and_tells(
    bench: ModuleType, facesets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.jsonl"
    arguments = f"--models small --device cpu --rounds 2 --steps 4 --workers 0 --output {output}"
    threads = torch.get_num_threads()
    assert bench.main([*arguments.split(), "--facesets", *facesets]) == 0
    torch.set_num_threads(threads)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    ladder = [row for row in rows if row["part"] == "ladder"]
    assert ladder[0]["rung"] == "plain loop"
    assert ladder[0]["ratio"] == ladder[0]["ratio_low"] == 1.0
    assert {row["part"] for row in rows} == {"ladder", "feeding", "loader", "loop"}
    for row in rows:
        assert row["measured"] is True
        assert {"model", "commit", "torch", "device", "date", "command", "pictures"} <= set(row)
    for row in ladder:
        assert row["seconds"] > 0
        assert row["predicted_seconds"] > 0
        assert row["pictures_a_second"] == pytest.approx(4 / row["seconds"])
        assert row["loss"] == pytest.approx(ladder[0]["loss"], rel=1e-4)
    told = capsys.readouterr().out
    assert "## small, 4 pictures a step" in told
    assert "Feeding 4 faces" in told
    assert "`swapper train`'s loop, 0 workers" in told


def test_predictions_are_marked(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.jsonl"
    assert (
        bench.main(["--predict", "NVIDIA H200", "--models", "df256", "--output", str(output)]) == 0
    )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert all(row["measured"] is False and row["part"] == "prediction" for row in rows)
    assert not any("seconds" in row for row in rows)
    predicted = [row["predicted_seconds"] for row in rows]
    assert [row["rung"] for row in rows][-1] == "+ kernels"
    assert predicted[-1] < predicted[0] / 2
    assert "| + kernels | – | – | – |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--predict", "abacus"], "--predict abacus:"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--facesets", "nowhere", "nothing", "--models", "original"], "nowhere: no such faceset"),
    ],
)
def test_what_is_wrong_is_one_line(
    bench: ModuleType, wrong: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--device", "cpu", *wrong]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told


def test_rungs_that_compute_something_else_are_refused(
    bench: ModuleType, facesets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bench.data_of(facesets, 64, 2, 0)
    batch = next(iter(data.train_dataloader()))
    torch.manual_seed(0)
    net = bench.MODELS["small"].make(data.identities)
    ladder = bench.rungs(CPU, bf16=False, small=True)
    steppers = [bench.Stepper(rung, copy.deepcopy(net), batch, CPU) for rung in ladder]
    bench.check_agree(steppers)

    def brighter(*_: object) -> Tensor:
        return torch.tensor(2.0, requires_grad=True)

    monkeypatch.setattr(steppers[1], "_loss", brighter)
    with pytest.raises(ValueError, match=r"one pass, banded DSSIM: .* 2"):
        bench.check_agree(steppers)


def test_pairs_are_compared_round_by_round(load_script: Callable[[str], ModuleType]) -> None:
    paired = load_script("paired")
    ratio = paired.paired_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0])
    assert ratio.median == pytest.approx(3.0)
    assert ratio.low < 3 < ratio.high
    with pytest.raises(ValueError, match="are not pairs"):
        paired.paired_ratio([1.0], [1.0, 2.0])
    order: list[str] = []
    runs = {name: partial(order.append, name) for name in "ab"}

    def clock(run: Callable[[], None]) -> float:
        run()
        return float(len(order))

    times = paired.interleaved(runs, 2, clock, warmups=0)
    assert "".join(order) == "abba"
    assert times == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
