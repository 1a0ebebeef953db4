"""Certificates of every kind for the tests."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swapper.provenance.certificates import PrivateKey

EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION


def new_key(kind: str = "P-256") -> PrivateKey:
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "RSA-1024":
        return rsa.generate_private_key(public_exponent=65537, key_size=1024)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}[kind]())


def certify(
    key: PrivateKey,
    name: str,
    issuer: tuple[PrivateKey, x509.Certificate] | None = None,
    *,
    authority: bool = False,
    uses: list[x509.ObjectIdentifier] | None = None,
    digital_signature: bool = True,
    starts: int = -1,
    ends: float = 90,
) -> x509.Certificate:
    """A certificate valid from `starts` to `ends` days from now."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Films"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    signing, parent = issuer or (key, None)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.subject if parent else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=starts))
        .not_valid_after(now + datetime.timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=digital_signature and not authority,
                content_commitment=not digital_signature,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    wanted = [EMAIL] if uses is None and not authority else uses
    if wanted:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
    algorithm = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signing, algorithm)


def pem(*things: x509.Certificate | PrivateKey, password: bytes | None = None) -> bytes:
    parts = []
    for thing in things:
        if isinstance(thing, x509.Certificate):
            parts.append(thing.public_bytes(serialization.Encoding.PEM))
        else:
            encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
            if password:
                encryption = serialization.BestAvailableEncryption(password)
            parts.append(
                thing.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
                )
            )
    return b"".join(parts)


def write_identity(
    folder: Path, kind: str = "P-256", *, starts: int = -1, ends: float = 90
) -> tuple[Path, Path, Path]:
    """Chain, key and root of a studio's signer with an intermediate authority."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, middle_key, key = new_key(), new_key(), new_key(kind)
    root = certify(root_key, "Test Root", authority=True, ends=3650)
    middle = certify(middle_key, "Test Middle", (root_key, root), authority=True, ends=1000)
    leaf = certify(key, "Test Studio", (middle_key, middle), starts=starts, ends=ends)
    chain_path, key_path, root_path = folder / "chain.pem", folder / "key.pem", folder / "root.pem"
    chain_path.write_bytes(pem(leaf, middle))
    key_path.write_bytes(pem(key))
    root_path.write_bytes(pem(root))
    return chain_path, key_path, root_path
