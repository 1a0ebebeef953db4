"""This installation's signer: a self-signed CA, created once, and the leaves that it issues.

It proves that a file has not changed since this installation signed it. No public root vouches for
it, so other verifiers report an unknown signer unless they are given its ``root.pem``.
"""

from __future__ import annotations

import datetime
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swapper.errors import ProvenanceError
from swapper.provenance.certificates import Signer, certificate_bytes, key_bytes

_log = logging.getLogger(__name__)

LOCAL_NAME = "swapper local signer"
_AUTHORITY_YEARS = 20
_LEAF_DAYS = 730
_RENEW_DAYS = 30


def identity_folder() -> Path:
    """Return the signer's folder: $SWAPPER_HOME/identity or ~/.config/swapper/identity."""
    base = os.environ.get("SWAPPER_HOME")
    return (Path(base) if base else Path.home() / ".config" / "swapper") / "identity"


def local_signer(home: Path | None = None) -> Signer:
    """See `Signer.local`."""
    home = home or identity_folder()
    try:
        if not home.exists():
            _create(home)
        return _load(home)
    except OSError as error:
        raise ProvenanceError(
            f"{error.filename or home}: the local signer cannot be used "
            f"({error.strerror or error}); fix the permissions, or pass your own certificate"
        ) from error


def _create(home: Path) -> None:
    """Create CA and leaf atomically: another process sees the complete folder or none."""
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}."))  # mode 0700
    try:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _certify(key, None)
        _write_secret(draft / "authority.pem", key_bytes(key) + certificate_bytes(authority))
        (draft / "root.pem").write_bytes(certificate_bytes(authority))
        _write_secret(draft / "signer.pem", _new_leaf(key, authority))
        try:
            draft.rename(home)
        except OSError:
            if not home.exists():
                raise
            return  # another process created it first; use that one
        _log.info("created a local signer in %s; others can trust it by its root.pem", home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _load(home: Path) -> Signer:
    """Load the local signer; renew its leaf before it expires."""
    bundle, authority_path = home / "signer.pem", home / "authority.pem"
    for path in (bundle, authority_path):
        if not path.exists():
            raise ProvenanceError(_broken(path))
        if os.name != "nt" and path.stat().st_mode & 0o077:
            _log.warning("%s: was readable by others; it is private now", path)
            path.chmod(0o600)
    signer = _local_bundle(bundle)
    if signer.chain[0].not_valid_after_utc - _now() > datetime.timedelta(days=_RENEW_DAYS):
        return signer
    authority = _local_bundle(authority_path)
    if not isinstance(authority.key, ec.EllipticCurvePrivateKey):
        raise ProvenanceError(_broken(authority_path))
    _write_secret(bundle, _new_leaf(authority.key, authority.chain[0]))
    return _local_bundle(bundle)


def _local_bundle(path: Path) -> Signer:
    try:
        return Signer.from_pem(path.read_bytes(), path)
    except ProvenanceError as error:
        raise ProvenanceError(_broken(path)) from error


def _broken(path: Path) -> str:
    return f"{path}: the local signer is damaged; move {path.parent} away and a new one is created"


def _write_secret(path: Path, data: bytes) -> None:
    """Atomically write a file that only its owner can read."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _new_leaf(authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate) -> bytes:
    """Return key, leaf and CA as one PEM file, so that they always match."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certify(key, (authority_key, authority))
    return key_bytes(key) + certificate_bytes(leaf) + certificate_bytes(authority)


def _certify(
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None,
) -> x509.Certificate:
    """Return a leaf issued by `issuer`, or a new self-signed CA."""
    name = LOCAL_NAME if issuer else f"swapper local authority {secrets.token_hex(4)}"
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "swapper"),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])  # fmt: skip
    issuer_key, issuer_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    life = datetime.timedelta(days=_LEAF_DAYS if issuer else 365 * _AUTHORITY_YEARS)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + life)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if issuer:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(uses, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
