"""The benchmark of the kernels, tiny: what is wrong is not timed, what is told was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from swapper.kernels import dispatch
from swapper.kernels.dssim import dssim_l1
from swapper.kernels.film import film_lrelu

CPU = torch.device("cpu")
QUICK = ["--device", "cpu", "--models", "original", "--rounds", "2", "--pictures", "2"]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cheap(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceilings are fixed, and little is cleared before a run: neither is what is tried here."""
    copy = {"op": "ceiling", "variant": "copy", "shape": [1], "dtype": "float32", "gb_s": 10.0}
    monkeypatch.setattr(bench, "ceilings", lambda *_: [copy])
    monkeypatch.setattr(bench.sys.modules["kernel_trials"], "SCRATCH_BYTES", 1 << 16)


def rows_of(bench: ModuleType, path: Path, *arguments: str) -> list[dict[str, Any]]:
    assert bench.main([*QUICK, "--output", str(path), *arguments]) == 0
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("cheap")
def test_rows_and_table(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--op", "film_lrelu", "--quick", "--variants", "naive", "reference", "kernel"]
    rows = rows_of(bench, tmp_path / "rows.jsonl", *asked)[1:]
    assert [(row["direction"], row["variant"]) for row in rows] == [
        (direction, variant)
        for direction in ("fwd", "bwd", "full")
        for variant in ("naive", "reference", "kernel")
    ]
    stamp = {"commit", "torch", "device", "date", "command", "threads"}
    for row in rows:
        assert stamp <= set(row)
        assert row["shape"] == [1, 256, 32, 32]
        assert row["calls_a_step"] == 2
        assert row["predicted_ms"] is None
        if row["variant"] == "kernel":
            assert row["refused"] == "absent: kernels are for CUDA devices"
            assert "ms" not in row
            continue
        assert row["error"] < row["tolerance"]
        assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"]
        passes = {"fwd": 2, "bwd": 3, "full": 5}[row["direction"]]
        assert row["bytes"] == passes * 4 * 256 * 32 * 32
        assert row["gb_s"] == pytest.approx(row["bytes"] / row["ms"] / 1e6)
        assert row["copy_share"] == pytest.approx(row["gb_s"] / 10)
        assert row["spread_low"] <= 1 <= row["spread_high"]
    assert rows[0]["ratio"] == rows[0]["ratio_low"] == 1
    assert rows[0]["verdict"] == "baseline"
    told = capsys.readouterr().out
    assert "## film_lrelu" in told
    assert "absent: kernels are for CUDA devices" in told


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("operation", ["dssim_l1", "warp_pair"])
def test_every_eager_form_is_right(bench: ModuleType, tmp_path: Path, operation: str) -> None:
    eager = [each.name for each in bench.OPERATIONS[operation] if not each.compiled]
    rows = rows_of(bench, tmp_path / "rows", "--op", operation, "--variants", *eager)[1:]
    measured = [row for row in rows if row["variant"] != "kernel"]
    assert {row["variant"] for row in measured} == {*eager} - {"kernel"}
    assert not any(row["refused"] for row in measured)


def test_the_form_for_inductor_is_right(load_script: Callable[[str], ModuleType]) -> None:
    forms = load_script("kernel_variants")
    random = torch.Generator().manual_seed(0)
    pred, target, mask = (
        torch.rand(2, c, 21, 29, dtype=torch.float64, generator=random) for c in (3, 3, 1)
    )
    expected = dssim_l1(pred, target, mask)
    for blur in (forms.square_blur, forms.separable_blur, forms.shifted_blur):
        got = forms.blurring_dssim(pred, target, mask, window=11, sigma=1.5, scales=3, blur=blur)
        torch.testing.assert_close(got, expected)


@pytest.mark.usefixtures("cheap")
def test_what_is_wrong_is_not_timed(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_gradient(x: Tensor, gamma: Tensor | None, beta: Tensor, **others: Any) -> Tensor:
        return film_lrelu(x, gamma, beta + 1e-3 * (beta - beta.detach()), **others)

    def fails(**_: object) -> Tensor:
        raise RuntimeError("no such luck\nand more")

    forms = [
        bench.Variant("wrong", wrong_gradient),
        bench.Variant("failing", fails),
        bench.Variant("right", film_lrelu),
    ]
    monkeypatch.setitem(bench.OPERATIONS, "film_lrelu", [*bench.OPERATIONS["film_lrelu"], *forms])
    monkeypatch.setattr(bench, "NAMES", (*bench.NAMES, *(each.name for each in forms)))
    names = ["--variants", *(each.name for each in forms)]
    rows = rows_of(bench, tmp_path / "rows", "--op", "film_lrelu", "--quick", *names)[1:]
    for wrong, failing, right in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert wrong["refused"].startswith("wrong: 0.001 from float64")
        assert failing["refused"] == "RuntimeError: no such luck"
        assert "ms" not in wrong
        assert "ms" not in failing
        assert right["verdict"] == "baseline"
        assert right["ms"] > 0


def test_ratios_and_verdicts(bench: ModuleType) -> None:
    times = {
        "first": [1.0, 2.0, 4.0, 8.0],
        "first again": [1.1, 1.8, 4.0, 8.0],
        "same": [1.0, 2.0, 4.2, 7.9],
        "twice": [0.5, 1.0, 2.0, 4.0],
        "half": [2.0, 4.0, 8.0, 16.0],
    }
    rows = {
        name: bench.compared(name, "first", ["twice", "half"], times)
        for name in times
        if name != "first again"
    }
    assert rows["first"]["verdict"] == "baseline"
    assert rows["same"]["verdict"] == "no difference"
    assert rows["twice"]["verdict"] == "faster"
    assert rows["half"]["verdict"] == "slower"
    assert rows["half"]["ratio"] == pytest.approx(2.0)
    assert rows["half"]["rival"] == "twice"
    assert rows["half"]["rival_ratio"] == pytest.approx(4.0)
    assert rows["first"]["spread_low"] == pytest.approx(1 / rows["first"]["spread_high"])


def test_sites_are_the_networks_own(load_script: Callable[[str], ModuleType]) -> None:
    cases = load_script("kernel_cases")
    sites = cases.film_sites("df256", 64)
    assert [site.shape for site in sites if site.upscale == 2] == [
        (32, 2048, 8, 8), (32, 1024, 16, 16), (32, 512, 32, 32), (32, 256, 64, 64)
    ]  # fmt: skip
    assert [site.scaled for site in sites if site.upscale == 2] == [True, True, True, False]
    assert all(site.calls == 2 for site in sites if site.upscale == 2)
    assert [site.shape for site in sites if site.upscale == 1] == [(64, 128, 128, 128)]


def test_predictions_are_for_the_devices_that_they_were_made_for(
    load_script: Callable[[str], ModuleType],
) -> None:
    cases = load_script("kernel_cases")
    (case,) = cases.cases_of("dssim_l1", "original", 4, CPU)
    assert cases.predicted_ms(case, "kernel", "full", "AMD EPYC") is None
    low, high = cases.predicted_ms(case, "kernel", "full", "NVIDIA H200")
    assert (low, high) == pytest.approx((0.6 / 256, 1.0 / 256))
    (site,) = cases.cases_of("film_lrelu", "original", 4, CPU, largest=True)
    floor, _ = cases.predicted_ms(site, "kernel", "full", "NVIDIA H100 80GB HBM3")
    assert floor == pytest.approx(1e3 * site.bytes["full"] / 3.87e12)


@pytest.mark.usefixtures("cheap")
def test_a_prediction_stands_beside_what_was_measured(
    bench: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "environment", lambda _: {"device": "as if NVIDIA H200"})
    asked = ["--op", "warp_pair", "--variants", "naive", "reference", "kernel"]
    naive, reference, kernel = rows_of(bench, tmp_path / "rows", *asked)[1:]
    share = 2 * 64**2 / (64 * 256**2)
    assert naive["predicted_ms"] == pytest.approx([0.65 * share] * 2)
    assert reference["predicted_ms"] is None
    assert kernel["predicted_ms"] == pytest.approx([0.02 * share, 0.05 * share])
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "peak MB" in line).endswith("| predicted ms |")
    assert next(line for line in lines if "| naive |" in line).endswith("| 0.00127 |")
    assert next(line for line in lines if "| kernel |" in line).endswith("| 3.91e-05 to 9.77e-05 |")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--variants", "fastest"], "--variants fastest: must be one of naive"),
        (["--op", "dssim"], "--op dssim: must be one of film_lrelu, dssim_l1, warp_pair"),
        (["--device", "abacus"], "--device abacus: must be cuda or cpu"),
        (["--device", "cuda:99"], "--device cuda:99:"),
        (["--rounds", "0"], "--rounds 0: must be at least 1"),
        (["--pictures", "3"], "--pictures 3: must be even"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(
    bench: ModuleType, wrong: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(wrong) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told


@pytest.mark.usefixtures("cheap")
def test_the_choice_of_kernels_is_put_back(bench: ModuleType, tmp_path: Path) -> None:
    with dispatch.using("auto"):
        before = dispatch.backend()
        rows_of(bench, tmp_path / "rows", "--op", "warp_pair", "--variants", "reference")
        assert dispatch.backend() == before
