"""Provenance: written, read back, and missed when something was changed."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import c2pa
import cv2
import pytest

from swapper.errors import MediaError, ProvenanceError
from swapper.files import sha256_of
from swapper.media.images import read_image, write_image
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from swapper.provenance.certificates import Signer
from swapper.provenance.manifest import SOURCE_TYPE, Claim, SignedFile, sign, verify
from swapper.provenance.sidecar import sidecar_path
from tests.media.clips import picture, planes, write_clip
from tests.provenance.certificates import certify, new_key, pem, write_identity

CLAIM = Claim(
    title="result",
    model_sha256="ab" * 32,
    model_name="two-people",
    identities=[{"name": "Ada", "rights": "written consent of 2026-03-01"}],
    performer_rights="employee",
    software="swapper/0.1.0",
    parameters={"crf": 16, "strength": 0.5, "smooth": True, "colour": "lab"},
)
EMBEDDED = [".mp4", ".mov", ".png", ".jpg", ".webp", ".tif"]
SIDECAR = [".mkv", ".webm"]


def make(path: Path, frames: int = 5) -> Path:
    """A small file of the kind that the suffix names."""
    if path.suffix in (".png", ".jpg", ".webp", ".tif"):
        write_image(path, picture(0), quality=100)
    elif path.suffix == ".webm":
        write_clip(path, codec="libvpx-vp9", frames=frames, options={"lossless": "1"})
    else:
        write_clip(path, frames=frames)
    return path


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.local(tmp_path / "identity")


def signed(folder: Path, suffix: str, signer: Signer) -> Path:
    folder.mkdir(exist_ok=True)
    parent = make(folder / f"parent{suffix}")
    path = make(folder / f"out{suffix}")
    sign(path, parent, CLAIM, signer)
    return path


def raw_report(path: Path) -> dict[str, Any]:
    with c2pa.Reader(path) as reader:
        report: dict[str, Any] = json.loads(reader.json())
        return report


@pytest.mark.parametrize("suffix", [*EMBEDDED, *SIDECAR])
def test_what_is_signed_is_read_back(tmp_path: Path, signer: Signer, suffix: str) -> None:
    parent, path = make(tmp_path / f"parent{suffix}"), make(tmp_path / f"out{suffix}")
    assert verify(path).state == "none"
    manifested = sign(path, parent, CLAIM, signer)
    if suffix in EMBEDDED:
        assert manifested == SignedFile("embedded", path)
        assert not sidecar_path(path).exists()
    else:
        assert manifested == SignedFile("sidecar", tmp_path / f"out{suffix}.provenance.json")
    verdict = verify(path)
    assert verdict.state == "unknown signer"
    assert verdict.where == manifested.kind
    assert verdict.signer == "swapper local signer"
    assert verdict.claim is not None
    assert verdict.claim["identities"] == CLAIM.identities
    assert verdict.claim["model_sha256"] == CLAIM.model_sha256
    assert verdict.claim["performer_rights"] == "employee"
    assert verdict.claim["software"] == "swapper/0.1.0"
    assert verdict.claim["parameters"] == CLAIM.parameters
    assert verdict.claim["parent_name"] == parent.name
    assert verdict.claim["parent_sha256"] == sha256_of(parent)
    assert "public verifiers will not know it" in " ".join(verdict.reasons)
    trusted = verify(path, [tmp_path / "identity" / "root.pem"])
    assert (trusted.state, trusted.reasons) == ("trusted", [])
    stranger = write_identity(tmp_path / "stranger")[2]
    assert verify(path, [stranger]).state == "unknown signer"
    leftovers = {each.name for each in tmp_path.iterdir() if each.name.startswith(".")}
    assert leftovers == set()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".png"])
def test_the_manifest_says_what_was_done(tmp_path: Path, signer: Signer, suffix: str) -> None:
    path = signed(tmp_path, suffix, signer)
    report = raw_report(path)
    manifest = report["manifests"][report["active_manifest"]]
    assert [(each["title"], each["relationship"]) for each in manifest["ingredients"]] == [
        (f"parent{suffix}", "parentOf")
    ]
    assert "thumbnail" not in manifest
    assert "thumbnail" not in manifest["ingredients"][0]
    actions = next(
        each["data"]["actions"]
        for each in manifest["assertions"]
        if each["label"].startswith("c2pa.actions")
    )
    assert [each["action"] for each in actions] == ["c2pa.opened", "c2pa.edited"]
    assert actions[1]["digitalSourceType"] == SOURCE_TYPE
    assert manifest["claim_generator_info"][0]["name"] == "swapper"
    assert report["validation_state"] == "Valid"


def test_signing_leaves_the_content_alone(tmp_path: Path, signer: Signer) -> None:
    clip, still = make(tmp_path / "out.mp4"), make(tmp_path / "out.png")
    before = [planes(frame.raw)[0].tobytes() for frame in VideoReader(clip)]
    clip.chmod(0o640)
    sign(clip, make(tmp_path / "in.mp4"), CLAIM, signer)
    sign(still, None, CLAIM, signer)
    reader = VideoReader(clip)
    assert [planes(frame.raw)[0].tobytes() for frame in reader] == before
    assert reader.stopped is None
    assert clip.stat().st_mode & 0o777 == 0o640
    assert (read_image(still) == picture(0)).all()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".png", ".jpg"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_one_flipped_byte_is_tampering(
    tmp_path: Path, signer: Signer, suffix: str, share: float
) -> None:
    path = signed(tmp_path, suffix, signer)
    data = bytearray(path.read_bytes())
    media = {".png": b"IDAT", ".jpg": b"\xff\xda"}.get(suffix, b"mdat")
    start = data.rindex(media) + 16
    end = len(data) if suffix == ".jpg" else start + int.from_bytes(data[start - 20 : start - 16])
    position = start + int(share * (min(end, len(data)) - 64 - start))
    data[position] ^= 0x01
    path.write_bytes(data)
    verdict = verify(path, [tmp_path / "identity" / "root.pem"])
    assert verdict.state == "tampered"
    assert verdict.claim is not None  # untouched itself: whence the file was made is known
    assert "ismatch" in " ".join(verdict.reasons)


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_a_change_of_the_manifest_is_tampering(tmp_path: Path, signer: Signer, suffix: str) -> None:
    path = signed(tmp_path, suffix, signer)
    data = path.read_bytes()
    assert data.count(b"written consent") == 1
    path.write_bytes(data.replace(b"written consent", b"spoken! consent"))
    verdict = verify(path)
    assert (verdict.state, verdict.claim) == ("tampered", None)
    position = data.index(b"c2pa.signature") + 200
    path.write_bytes(data[:position] + b"\x00\x00\x00\x00" + data[position + 4 :])
    assert verify(path).state == "tampered"


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_every_flip_is_noticed_somehow(tmp_path: Path, signer: Signer, suffix: str) -> None:
    # A coarse sweep over the whole file, manifest included. A flip may hide the manifest from
    # readers, but it must never leave a changed file with a clean bill.
    path = signed(tmp_path, suffix, signer)
    data = path.read_bytes()
    for position in range(40, len(data), max(1, len(data) // 30)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        verdict = verify(path, [tmp_path / "identity" / "root.pem"])
        if verdict.state == "trusted":  # padding outside the hash, e.g. a free box
            assert verdict.claim is not None
            assert verdict.claim["identities"] == CLAIM.identities
            assert _pictures(path) == _pictures_of(data, path)


def _pictures(path: Path) -> list[bytes]:
    if path.suffix == ".png":
        return [cv2.imread(str(path)).tobytes()]  # read_image minds a checksum of the manifest
    return [planes(frame.raw)[0].tobytes() for frame in VideoReader(path)]


def _pictures_of(data: bytes, path: Path) -> list[bytes]:
    twin = path.with_name(f"twin{path.suffix}")
    twin.write_bytes(data)
    return _pictures(twin)


def test_a_file_saved_anew_has_lost_its_provenance(tmp_path: Path, signer: Signer) -> None:
    still, clip = signed(tmp_path / "a", ".png", signer), signed(tmp_path / "b", ".mp4", signer)
    write_image(still, read_image(still))
    assert verify(still).state == "none"
    reader = VideoReader(clip)
    with VideoWriter(tmp_path / "again.mp4", reader) as writer:
        for frame in reader:
            writer.write(frame)
    verdict = verify(tmp_path / "again.mp4")
    assert (verdict.state, verdict.claim, verdict.where) == ("none", None, None)


@pytest.mark.parametrize("suffix", SIDECAR)
def test_a_sidecar_tells_what_was_changed(tmp_path: Path, signer: Signer, suffix: str) -> None:
    path = signed(tmp_path, suffix, signer)
    sidecar = sidecar_path(path)
    data, text = path.read_bytes(), sidecar.read_text()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    verdict = verify(path)
    assert (verdict.state, verdict.where) == ("tampered", "sidecar")
    assert verdict.reasons == ["the file was changed after it was signed"]
    path.write_bytes(data)
    sidecar.write_text(text.replace("written consent", "spoken consent"))
    verdict = verify(path)
    assert verdict.state == "tampered"
    assert verdict.reasons == ["the sidecar was changed after it was signed"]
    assert verdict.claim is None
    sidecar.write_text(text)
    assert verify(path).state == "unknown signer"
    sidecar.unlink()
    assert verify(path).state == "none"


def _broken_sidecars(document: dict[str, Any]) -> list[str]:
    broken = ["", "null", "[]", "{}", "[" * 100_000, '{"payload": NaN}']
    for key in document:
        for value in (None, 7, "x", [], {}):
            broken.append(json.dumps({**document, key: value}))
    for key in ("schema", "sha256", "claim"):
        payload = {name: each for name, each in document["payload"].items() if name != key}
        broken.append(json.dumps({**document, "payload": payload}))
    return broken


def test_hostile_sidecars_are_tampered_ones(tmp_path: Path, signer: Signer) -> None:
    path = signed(tmp_path, ".mkv", signer)
    sidecar = sidecar_path(path)
    document = json.loads(sidecar.read_text())
    for text in _broken_sidecars(document):
        sidecar.write_text(text)
        assert verify(path).state == "tampered", text[:80]
    sidecar.write_bytes(b"\xff\xfe" * 100)
    assert verify(path).state == "tampered"
    sidecar.write_text(json.dumps(document) + " " * (5 << 20))
    assert verify(path).state == "tampered"


def test_a_sidecar_signed_by_a_certificate_that_may_not_is_no_proof(tmp_path: Path) -> None:
    # An authority's own certificate, or a chain that does not certify its leaf.
    chain, key, root = write_identity(tmp_path / "studio")
    signer = Signer.from_files(chain, key)
    rogue_key = new_key()
    rogue = certify(rogue_key, "Test Studio")
    for forged in (
        Signer((rogue, *signer.chain[1:]), rogue_key, "ES256"),
        Signer((certify(rogue_key, "Server", uses=[]),), rogue_key, "ES256"),
    ):
        path = signed(tmp_path, ".mkv", forged)
        verdict = verify(path, [root])
        assert verdict.state == "tampered"
        assert "do not allow" in verdict.reasons[0]


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA", "Ed25519"])
@pytest.mark.parametrize("suffix", [".png", ".mkv"])
def test_ones_own_certificate(tmp_path: Path, suffix: str, kind: str) -> None:
    chain, key, root = write_identity(tmp_path / "studio", kind)
    path = signed(tmp_path, suffix, Signer.from_files(chain, key))
    assert verify(path).state == "unknown signer"
    verdict = verify(path, [root])
    assert (verdict.state, verdict.signer) == ("trusted", "Test Studio")


def expired(folder: Path) -> tuple[Signer, Path]:
    """A signer whose certificate ran out ten days ago, and its root."""
    chain, key, root = write_identity(folder, starts=-20, ends=-10)
    return Signer.from_pem(chain.read_bytes() + key.read_bytes(), chain), root


def test_an_expired_certificate_is_not_tampering(tmp_path: Path) -> None:
    signer, root = expired(tmp_path / "studio")
    verdict = verify(signed(tmp_path, ".mkv", signer), [root])
    assert verdict.state == "unknown signer"
    assert verdict.claim is not None
    assert "the signer's certificate has expired" in verdict.reasons


def test_a_certificate_that_expired_since_is_not_tampering_either(tmp_path: Path) -> None:
    chain, key, root = write_identity(tmp_path / "studio", ends=2 / 86400)
    path = signed(tmp_path, ".png", Signer.from_files(chain, key))
    deadline = time.monotonic() + 60
    while (verdict := verify(path, [root])).state == "trusted" and time.monotonic() < deadline:
        time.sleep(0.25)
    assert (verdict.state, verdict.reasons) == (
        "unknown signer",
        ["the signer's certificate has expired"],
    )
    assert verdict.claim is not None


def test_c2pa_does_not_sign_with_an_expired_certificate(tmp_path: Path) -> None:
    signer, _ = expired(tmp_path / "studio")
    with pytest.raises(ProvenanceError, match="cannot be signed"):
        signed(tmp_path, ".png", signer)


def test_a_parent_with_its_own_manifest_is_kept_in_the_story(
    tmp_path: Path, signer: Signer
) -> None:
    for suffix in (".png", ".mp4"):
        folder = tmp_path / suffix[1:]
        first = signed(folder, suffix, signer)
        second = make(folder / f"second{suffix}")
        sign(second, first, CLAIM, signer)
        assert verify(second, [tmp_path / "identity" / "root.pem"]).state == "trusted"
        assert len(raw_report(second)["manifests"]) == 2


def test_a_tampered_parent_is_reported_but_not_blamed_on_the_child(
    tmp_path: Path, signer: Signer
) -> None:
    first = signed(tmp_path, ".png", signer)
    data = first.read_bytes()
    first.write_bytes(data.replace(b"written consent", b"spoken! consent"))
    second = make(tmp_path / "second.png")
    sign(second, first, CLAIM, signer)
    verdict = verify(second)
    assert verdict.state == "unknown signer"
    assert any("parent" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("kind", [".mkv", ".avi", ".txt", "damaged.png", "damaged.mp4"])
def test_a_parent_that_c2pa_cannot_read_is_named_all_the_same(
    tmp_path: Path, signer: Signer, kind: str
) -> None:
    if kind == ".avi":
        write_clip(tmp_path / "in.avi", options={"bf": "0", "qp": "0"})
        parent = tmp_path / "in.avi"
    elif kind == ".txt" or kind.startswith("damaged"):
        parent = tmp_path / (kind if "." in kind[1:] else f"in{kind}")
        parent.write_bytes(b"no picture " * 50)
    else:
        parent = make(tmp_path / f"in{kind}")
    path = make(tmp_path / "out.mp4")
    sign(path, parent, CLAIM, signer)
    verdict = verify(path, [tmp_path / "identity" / "root.pem"])
    assert verdict.state == "trusted"
    assert verdict.claim is not None
    assert verdict.claim["parent_sha256"] == sha256_of(parent)


def test_files_without_provenance(tmp_path: Path) -> None:
    for suffix in [*EMBEDDED, *SIDECAR]:
        assert verify(make(tmp_path / f"plain{suffix}")).state == "none"
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.mp4").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name in ("notes.txt", "fake.mp4", "empty.png"):
        assert verify(tmp_path / name).state == "none"


def test_missing_files(tmp_path: Path, signer: Signer) -> None:
    path = make(tmp_path / "out.png")
    with pytest.raises(ProvenanceError, match=r"nowhere\.png: no such file"):
        verify(tmp_path / "nowhere.png")
    with pytest.raises(ProvenanceError, match=r"nowhere\.png: no such file"):
        sign(tmp_path / "nowhere.png", path, CLAIM, signer)
    with pytest.raises(ProvenanceError, match=r"nowhere\.mp4: no such file"):
        sign(path, tmp_path / "nowhere.mp4", CLAIM, signer)
    with pytest.raises(ProvenanceError, match=r"nowhere\.pem: cannot be read"):
        verify(path, [tmp_path / "nowhere.pem"])
    assert verify(path).state == "none"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, signer: Signer, suffix: str) -> None:
    path, parent = make(tmp_path / f"out{suffix}"), make(tmp_path / f"in{suffix}")
    before = path.read_bytes()
    names = sorted(each.name for each in tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises((ProvenanceError, MediaError), match="cannot be") as caught:
            sign(path, parent, CLAIM, signer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == names


def test_signing_inside_clears_an_older_sidecar(tmp_path: Path, signer: Signer) -> None:
    path = make(tmp_path / "out.png")
    sidecar_path(path).write_text("{}")
    sign(path, None, CLAIM, signer)
    assert not sidecar_path(path).exists()


def test_a_certificate_of_no_use_to_c2pa_is_refused_in_one_line(tmp_path: Path) -> None:
    key = new_key()
    leaf = certify(key, "Server", uses=[])
    path = make(tmp_path / "out.png")
    before = path.read_bytes()
    with pytest.raises(ProvenanceError, match="cannot be signed") as caught:
        sign(path, None, CLAIM, Signer((leaf,), key, "ES256"))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert pem(leaf)
