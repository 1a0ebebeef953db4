"""What ``import swapper`` gives: light, typed, and as the verbs do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import swapper
from swapper.errors import ModelError, UsageError
from swapper.models.autoencoder import build_model
from swapper.models.model_file import ModelIdentity, ModelMetadata, save_model
from tests.drawing import ALICE, draw


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> swapper.Model:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    net = build_model({"name": "df", "identities": ["alice", "bob"], "resolution": 64, "width": 4,
                       "latent": 8})  # fmt: skip
    identities = [ModelIdentity("alice", "drawn"), ModelIdentity("bob", "drawn, too")]
    save_model(
        folder, ModelMetadata(net.config, identities, "face", 7, "swapper"), net.state_dict()
    )
    return swapper.load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def picture() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    image, landmarks = draw(160, 0.3, ALICE)[:2]
    return image, landmarks.astype(np.float32)


def test_names_are_there_and_no_others() -> None:
    """That the import is light, tests/test_architecture.py proves in a process of its own."""
    assert set(swapper.__all__) <= set(dir(swapper))
    assert all(callable(getattr(swapper, name)) for name in swapper.__all__ if name[0] != "_")
    assert "an identity's" in (swapper.swap_frame.__doc__ or "").splitlines()[0]
    with pytest.raises(AttributeError, match="swap_everything"):
        _ = swapper.swap_everything  # type: ignore[attr-defined]


def test_a_model_tells_of_itself(model: swapper.Model) -> None:
    assert model.identities == ("alice", "bob")
    assert (model.resolution, model.step, model.has_affect) == (64, 7, False)
    assert model.rights("bob") == "drawn, too"
    assert len(model.sha256) == 64
    assert repr(model) == "Model(df, 64 px, alice, bob, on cpu)"


def test_a_face_is_swapped_and_nothing_else(
    model: swapper.Model, picture: tuple[NDArray[np.uint8], NDArray[np.float32]]
) -> None:
    image, landmarks = picture
    before = image.copy()
    found = swapper.swap_frame(model, image, "bob", landmarks)
    assert (image == before).all()
    assert found.frame.shape == image.shape
    assert found.frame.dtype == np.uint8
    assert found.blend_mask.shape == image.shape[:2]
    assert 0 <= found.blend_mask.min() < found.blend_mask.max() <= 1
    outside = found.blend_mask == 0
    assert (found.frame[outside] == image[outside]).all()
    assert (found.frame[~outside] != image[~outside]).any()
    assert len(found.faces) == 1
    again = swapper.swap_frame(model, image, "bob", landmarks.astype(np.float64))
    assert (again.frame == found.frame).all()
    other = swapper.swap_frame(model, image, "alice", landmarks)
    assert (other.frame != found.frame).any()


def test_faces_are_found_by_an_aligner(
    model: swapper.Model, picture: tuple[NDArray[np.uint8], NDArray[np.float32]]
) -> None:
    image, landmarks = picture
    from swapper.types import Face

    class Finder:
        def __init__(self, *faces: Face) -> None:
            self.faces = list(faces)

        def __call__(self, frame: object) -> list[Face]:
            return self.faces

    small = Face((landmarks - 80) * 0.4 + np.float32(30))
    both = Finder(Face(landmarks), small)
    one = swapper.swap_frame(model, image, "bob", aligner=both)  # type: ignore[arg-type]
    two = swapper.swap_frame(model, image, "bob", aligner=both, faces="all")  # type: ignore[arg-type]
    assert (len(one.faces), len(two.faces)) == (1, 2)
    nobody = swapper.swap_frame(model, image, "bob", aligner=Finder())  # type: ignore[arg-type]
    assert nobody.faces == ()
    assert (nobody.frame == image).all()
    assert nobody.blend_mask.max() == 0


def test_what_is_wrong_is_told(
    model: swapper.Model, picture: tuple[NDArray[np.uint8], NDArray[np.float32]], tmp_path: Path
) -> None:
    image, landmarks = picture
    with pytest.raises(ModelError, match="carol"):
        swapper.swap_frame(model, image, "carol", landmarks)
    with pytest.raises(ValueError, match=r"frame .*uint8 \(H, W, 3\)"):
        swapper.swap_frame(model, image.astype(np.float32), "bob", landmarks)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="landmarks must be"):
        swapper.swap_frame(model, image, "bob", landmarks[:5])
    with pytest.raises(ValueError, match=r"faces .*largest .*all"):
        swapper.swap_frame(model, image, "bob", landmarks, faces="some")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="guidance_scale"):
        swapper.swap_frame(
            model, image, "bob", landmarks, affect=swapper.AffectOptions(guidance_scale=9.0)
        )
    with pytest.raises(ModelError):
        swapper.load_model(tmp_path / "nowhere", device="cpu")
    with pytest.raises(ValueError, match="precision must be"):
        swapper.load_model(tmp_path, precision="8")  # type: ignore[arg-type]
