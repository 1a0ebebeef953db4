"""A recogniser of the user's: its crops are the field's, its file is held against its network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from swapper.errors import EstimatorError
from swapper.faces.geometry import similarity_between, transform_points
from swapper.faces.recognition import COSINE, Recogniser
from swapper.faces.recognition_timm import SIDE, TEMPLATE, TimmRecogniser, five_points
from tests.drawing import ALICE, draw

timm = pytest.importorskip("timm", reason="pip install 'swapper[recogniser]'")

ARCH = "vit_tiny_patch16_224"
TINY: dict[str, Any] = {"img_size": SIDE, "patch_size": 28, "num_classes": 16, "depth": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the published files' layout, a twelfth as deep, and random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model(ARCH, **TINY).state_dict(), path)
    return str(path)


def crop_of(
    image: np.ndarray[Any, np.dtype[np.uint8]], landmarks: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Crops need no weights."""
    return TimmRecogniser(ARCH, "none.safetensors").crop(image, landmarks)


def crops(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_embeddings_are_of_unit_length_and_know_no_batch(weights: str) -> None:
    recogniser = TimmRecogniser(ARCH, weights, TINY, licence="drawn here")
    whoever: Recogniser = recogniser  # it keeps the protocol
    assert (whoever.name, whoever.licence, whoever.measure) == (ARCH, "drawn here", COSINE)
    recogniser.prepare()
    found = recogniser.embed(crops(5))
    assert found.shape == (5, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(recogniser.embed(crops(5), batch_size=2), found, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3
    name, _, digest = recogniser.lineage.partition(":")
    assert (name, len(digest)) == (ARCH, 64)
    with pytest.raises(ValueError, match=r"crops must be uint8 \(N, 112, 112, 3\)"):
        recogniser.embed(crops(2)[:, :50])


def test_the_published_layout_is_made(tmp_path: Path) -> None:
    """As the config has it; weights and bytes as its authors and users count them."""
    arguments = {"img_size": SIDE, "patch_size": 8, "num_classes": 512}
    net = timm.create_model(ARCH, **arguments)
    assert sum(each.numel() for each in net.parameters()) == 5_512_640
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    # The header holds every name and shape, so that a file of other ones is of another size.
    assert (tmp_path / "model.safetensors").stat().st_size == 22_064_240
    recogniser = TimmRecogniser(ARCH, str(tmp_path / "model.safetensors"), arguments)
    assert recogniser.embed(crops(1)).shape == (1, 512)


def test_crops_lie_on_the_template() -> None:
    image, landmarks = draw(240, 0.3, ALICE)[:2]
    crop = crop_of(image, landmarks)
    assert crop.shape == (SIDE, SIDE, 3)
    matrix = similarity_between(five_points(landmarks), TEMPLATE)
    laid = transform_points(matrix, landmarks.astype(np.float32))
    assert np.abs(five_points(laid) - TEMPLATE).max() < 12  # a drawn face is no average one
    # Wherever the face is and however large, the crop is the same.
    turned = np.array([[0.5, -0.2, 60.0], [0.2, 0.5, 10.0]])
    moved = transform_points(turned, landmarks.astype(np.float32))
    again = similarity_between(five_points(moved), TEMPLATE)
    np.testing.assert_allclose(transform_points(again, moved), laid, atol=1e-2)


def test_a_face_of_the_templates_own_shape_lies_on_it_to_a_hundredth() -> None:
    turned = np.array([[3.1, -0.9, 400.0], [0.9, 3.1, 120.0]])
    there = transform_points(turned, TEMPLATE)
    landmarks = np.zeros((68, 2), np.float32)
    landmarks[36:42], landmarks[42:48] = there[0], there[1]
    landmarks[[30, 48, 54]] = there[2:]
    matrix = similarity_between(five_points(landmarks), TEMPLATE)
    laid = transform_points(matrix, five_points(landmarks))
    np.testing.assert_allclose(laid, TEMPLATE, atol=0.01)
    # Painted where they lie in the picture, they show where the template has them.
    image = np.zeros((720, 960, 3), np.uint8)
    for n, (x, y) in enumerate(np.round(there).astype(int)):
        image[y - 3 : y + 4, x - 3 : x + 4] = 50 * (n + 1)
    crop = crop_of(image, landmarks)
    for n, (x, y) in enumerate(np.round(TEMPLATE).astype(int)):
        assert abs(int(crop[y, x, 0]) - 50 * (n + 1)) < 20
    assert np.count_nonzero(crop[..., 0] > 25) < 5 * 25


@pytest.mark.parametrize("landmarks", [np.full((68, 2), np.nan), np.ones((5, 2)), np.ones((68, 2))])
def test_what_are_no_landmarks_is_refused(landmarks: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    with pytest.raises(ValueError, match=r"landmarks (must be|fall on one point)"):
        crop_of(crops(1)[0], landmarks)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
        ({"arguments": {**TINY, "num_classes": 8}}, "holds no weights of"),
        ({"arch": "vit_of_nobody"}, "recogniser.arch=vit_of_nobody: timm cannot make it"),
        ({"arguments": {"patch": 3}}, "timm cannot make it"),
        ({"arguments": {**TINY, "num_heads": 5}}, "timm cannot make it"),
        ({"arguments": {**TINY, "patch_size": 0}}, "timm cannot make it"),
        ({"arch": "hf_hub:someone/vit"}, "must be an architecture of timm's"),
        ({"arch": "local-dir:folder"}, "must be an architecture of timm's"),
    ],
)
def test_what_does_not_fit_is_one_line(weights: str, changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"arch": ARCH, "weights": weights, "arguments": TINY}
    with pytest.raises(EstimatorError, match=words) as caught:
        TimmRecogniser(**settings | changes).prepare()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pretrained", "checkpoint_path", "pretrained_cfg"])
def test_timm_is_given_no_other_file_to_read(weights: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"arguments.{name}: loads other weights"):
        TimmRecogniser(ARCH, weights, {**TINY, name: "other.pth"})


@pytest.mark.parametrize(
    ("arguments", "change", "words"),
    [
        ({**TINY, "img_size": 224}, None, "takes no crop of 112 px"),
        ({**TINY, "num_classes": 0, "global_pool": ""}, None, "answers no vectors"),
        (TINY, 0.0, "answers with zeros or no numbers"),
        (TINY, float("nan"), "answers with zeros or no numbers"),
    ],
)
def test_a_network_of_no_use_is_told_before_any_clip(
    tmp_path: Path, arguments: dict[str, Any], change: float | None, words: str
) -> None:
    net = timm.create_model(ARCH, **arguments)
    tensors = {
        name: value if change is None else torch.full_like(value, change)
        for name, value in net.state_dict().items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(EstimatorError, match=words) as caught:
        TimmRecogniser(ARCH, str(tmp_path / "model.safetensors"), arguments).prepare()
    assert "\n" not in str(caught.value)


def test_preparing_keeps_the_random_numbers_and_moves_when_asked(weights: str) -> None:
    recogniser = TimmRecogniser(ARCH, weights, TINY)
    before = torch.random.get_rng_state()
    recogniser.prepare()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert recogniser.embed(crops(0)).shape == (0, 16)
    recogniser.prepare("meta")
    with pytest.raises(RuntimeError, match="meta"):  # it went there, where no numbers are
        recogniser.embed(crops(1))


def test_only_safetensors_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(EstimatorError, match=r"only \.safetensors is read"):
        TimmRecogniser(ARCH, str(path), TINY).prepare()


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(EstimatorError, match="holds no weights of"):
        TimmRecogniser(ARCH, str(path), TINY).prepare()


def test_without_timm_the_cure_is_told(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EstimatorError, match=r"pip install 'swapper\[recogniser\]'"):
        TimmRecogniser(ARCH, weights, TINY).prepare()
