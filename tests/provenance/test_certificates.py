"""Signers: the user's own and the local one."""

from __future__ import annotations

import datetime
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from swapper.errors import ProvenanceError
from swapper.provenance import local_authority
from swapper.provenance.certificates import (
    Signer,
    is_current,
    is_trusted,
    missing_requirements,
    read_certificates,
    verify_chain,
    verify_signature,
)
from tests.provenance.certificates import certify, new_key, pem, write_identity
from tests.refusals import refusal_of


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_local_signer_is_made_once_and_kept_private(tmp_path: Path) -> None:
    home = tmp_path / "config" / "identity"
    signer = Signer.local(home)
    assert signer.algorithm == "ES256"
    assert signer.name == "swapper local signer"
    assert (mode(home), mode(home / "signer.pem"), mode(home / "authority.pem")) == (
        0o700,
        0o600,
        0o600,
    )
    assert b"PRIVATE" not in (home / "root.pem").read_bytes()
    assert [path.name for path in home.parent.iterdir()] == ["identity"]
    again = Signer.local(home)
    assert again.chain == signer.chain
    assert again.key_pem == signer.key_pem


def test_the_local_leaf_fits_the_profile(tmp_path: Path) -> None:
    signer = Signer.local(tmp_path / "identity")
    leaf, authority = signer.chain
    assert missing_requirements(leaf) == []
    assert verify_chain(signer.chain)
    assert is_current(leaf)
    life = leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert 365 < life.days <= 730
    assert authority.not_valid_after_utc > leaf.not_valid_after_utc
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    roots = read_certificates(tmp_path / "identity" / "root.pem")
    assert roots == [authority]
    assert is_trusted(signer.chain, roots)
    assert not is_trusted(signer.chain, Signer.local(tmp_path / "other").chain[1:])


def test_the_default_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path / "mine"))
    assert local_authority.identity_folder() == tmp_path / "mine" / "identity"
    assert Signer.local().chain == Signer.local(tmp_path / "mine" / "identity").chain
    monkeypatch.delenv("SWAPPER_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_authority.identity_folder() == tmp_path / ".config" / "swapper" / "identity"


def test_many_at_once_agree_on_one_signer(tmp_path: Path) -> None:
    home = tmp_path / "identity"
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: Signer.local(home), range(16)))
    assert len({signer.key_pem for signer in signers}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


@pytest.mark.parametrize("days", [-0.5, 10])
def test_a_leaf_is_renewed_before_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    home = tmp_path / "identity"
    monkeypatch.setattr(local_authority, "_LEAF_DAYS", days)
    monkeypatch.setattr(local_authority, "_RENEW_DAYS", -10_000)
    old = Signer.local(home)
    assert is_current(old.chain[0]) == (days > 0)
    monkeypatch.undo()
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path))
    new = Signer.local(home)
    assert new.chain[0] != old.chain[0]
    assert new.key_pem != old.key_pem
    assert new.chain[1] == old.chain[1]  # whoever trusts the root keeps trusting
    assert is_current(new.chain[0])
    assert mode(home / "signer.pem") == 0o600
    assert Signer.local(home).chain == new.chain
    assert len(list(home.iterdir())) == 3


def test_a_key_that_others_can_read_is_made_private_again(tmp_path: Path) -> None:
    home = tmp_path / "identity"
    Signer.local(home)
    (home / "signer.pem").chmod(0o644)
    Signer.local(home)
    assert mode(home / "signer.pem") == 0o600


@pytest.mark.parametrize("name", ["signer.pem", "authority.pem"])
def test_a_missing_or_broken_local_signer_says_what_to_do(tmp_path: Path, name: str) -> None:
    home = tmp_path / "identity"
    Signer.local(home)
    (home / name).unlink()
    with pytest.raises(ProvenanceError, match=f"{name}: .*damaged; move {home} away"):
        Signer.local(home)
    if name == "signer.pem":
        (home / name).write_bytes(b"-----BEGIN PRIVATE KEY-----\nrubbish\n")
        with pytest.raises(ProvenanceError, match=f"{name}: .*damaged; move {home} away"):
            Signer.local(home)


def test_an_unreadable_local_signer_says_so(tmp_path: Path) -> None:
    home = tmp_path / "identity"
    Signer.local(home)
    (home / "signer.pem").unlink()
    (home / "signer.pem").mkdir()
    with pytest.raises(ProvenanceError, match=r"signer\.pem: "):
        Signer.local(home)
    (tmp_path / "file").touch()
    with pytest.raises(ProvenanceError, match="cannot be used"):
        Signer.local(tmp_path / "file" / "identity")


def test_a_key_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "identity"
    Signer.local(home)

    def refuse(path: Path) -> bytes:  # root may read everything, so no mode would do
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ProvenanceError, match="permissions"):
        Signer.local(home)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("P-256", "ES256"), ("P-384", "ES384"), ("RSA", "PS256"), ("Ed25519", "EdDSA")],
)
def test_ones_own_certificate(tmp_path: Path, kind: str, algorithm: str) -> None:
    chain, key, root = write_identity(tmp_path, kind)
    signer = Signer.from_files(chain, key)
    assert (signer.name, signer.algorithm) == ("Test Studio", algorithm)
    assert is_trusted(signer.chain, read_certificates(root))
    signature = signer.sign(b"data")
    leaf = signer.chain[0]
    assert verify_signature(leaf, algorithm, signature, b"data")
    assert not verify_signature(leaf, algorithm, signature, b"Data")
    assert not verify_signature(leaf, algorithm, signature[:-1], b"data")
    assert not verify_signature(leaf, "none", signature, b"data")


def refusal(chain: Path, key: Path) -> str:
    return refusal_of(ProvenanceError, Signer.from_files, chain, key)


def test_files_that_do_not_make_a_signer(tmp_path: Path) -> None:
    chain, key, root = write_identity(tmp_path)
    other = tmp_path / "other.pem"
    assert "cannot be read" in refusal(tmp_path / "nowhere.pem", key)
    assert "cannot be read" in refusal(chain, tmp_path)
    other.write_text("rubbish")
    assert "no PEM certificates" in refusal(other, key)
    assert "no usable PEM private key" in refusal(chain, other)
    other.write_bytes(pem(new_key(), password=b"secret"))
    assert "is encrypted; decrypt it" in refusal(chain, other)
    other.write_bytes(pem(new_key()))
    assert "put the key's own certificate first" in refusal(chain, other)
    middle_first = chain.read_bytes().split(b"-----END CERTIFICATE-----\n")
    other.write_bytes(b"-----END CERTIFICATE-----\n".join([*middle_first[1::-1], b""]))
    assert "put the key's own certificate first" in refusal(other, key)
    other.write_bytes(chain.read_bytes() + (tmp_path / "key.pem").read_bytes())
    leaf = chain.read_bytes().split(b"-----END CERTIFICATE-----\n")[0]
    other.write_bytes(leaf + b"-----END CERTIFICATE-----\n" + root.read_bytes())
    assert "do not certify each other" in refusal(other, key)
    other.write_bytes(b"x" * (2 << 20))
    assert "too large" in refusal(other, key)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"uses": [ExtendedKeyUsageOID.CODE_SIGNING]}, "lacks extended key usage emailProtection"),
        ({"uses": []}, "lacks extended key usage emailProtection"),
        ({"digital_signature": False}, "lacks key usage digitalSignature"),
        ({"starts": -20, "ends": -10}, "not today; renew it"),
        ({"starts": 10, "ends": 20}, "not today; renew it"),
    ],
)
def test_certificates_that_may_not_sign(
    tmp_path: Path, options: dict[str, object], said: str
) -> None:
    key = new_key()
    root_key = new_key()
    root = certify(root_key, "Test Root", authority=True)
    leaf = certify(key, "Leaf", (root_key, root), **options)  # type: ignore[arg-type]
    (tmp_path / "chain.pem").write_bytes(pem(leaf, root))
    (tmp_path / "key.pem").write_bytes(pem(key))
    assert said in refusal(tmp_path / "chain.pem", tmp_path / "key.pem")


def test_weak_keys_are_refused(tmp_path: Path) -> None:
    chain, key, _ = write_identity(tmp_path, "RSA-1024")
    assert "too weak" in refusal(chain, key)
