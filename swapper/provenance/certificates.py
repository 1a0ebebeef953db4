"""Certificate chains and private keys: loading, signing, verifying."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from swapper.errors import ProvenanceError

Algorithm = Literal["ES256", "ES384", "ES512", "PS256", "EdDSA"]
Extension = TypeVar("Extension", bound=x509.ExtensionType)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_CURVES: dict[str, Algorithm] = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
# Extended key usages that C2PA's profile accepts: e-mail protection, document signing.
SIGNING_USES = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ObjectIdentifier("1.3.6.1.5.5.7.3.36"))
_MAX_PEM = 1 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """A private key with its certificate chain.

    Attributes:
        chain: Leaf first, each issued by the next.
        key: Private key of the leaf.
        algorithm: Signature algorithm of the key.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    algorithm: Algorithm

    @classmethod
    def from_files(cls, certificate_chain: Path, private_key: Path) -> Signer:
        """Load the user's certificate chain (leaf first) and unencrypted key, both PEM.

        Raises:
            ProvenanceError: They cannot be read, do not belong together, or may not sign content.
        """
        chain = _certificates(certificate_chain, _pem(certificate_chain))
        signer = _signer(chain, _private_key(private_key, _pem(private_key)), certificate_chain)
        _check_leaf(signer.chain[0], certificate_chain)
        return signer

    @classmethod
    def from_pem(cls, pem: bytes, path: Path) -> Signer:
        """Load key and chain from the content of one PEM file.

        Raises:
            ProvenanceError: They do not belong together.
        """
        return _signer(_certificates(path, pem), _private_key(path, pem), path)

    @classmethod
    def local(cls, home: Path | None = None) -> Signer:
        """Return this installation's signer, created on first use and renewed before expiry.

        Args:
            home: Its folder; by default $SWAPPER_HOME/identity or ~/.config/swapper/identity.

        Raises:
            ProvenanceError: It can be neither read nor created.
        """
        from swapper.provenance.local_authority import local_signer

        return local_signer(home)

    @property
    def name(self) -> str:
        """The leaf's common name."""
        return common_name(self.chain[0])

    @property
    def chain_pem(self) -> str:
        """The chain as PEM, leaf first."""
        return b"".join(certificate_bytes(each) for each in self.chain).decode("ascii")

    @property
    def key_pem(self) -> str:
        """The key as unencrypted PKCS #8 PEM."""
        return key_bytes(self.key).decode("ascii")

    def sign(self, data: bytes) -> bytes:
        """Return a detached signature; EC signatures are DER."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(_hash(self.algorithm)))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, _pss(), hashes.SHA256())
        return self.key.sign(data)


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate's subject, or else the whole subject."""
    attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else certificate.subject.rfc4514_string()


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM file.

    Raises:
        ProvenanceError: It cannot be read or holds none.
    """
    return list(_certificates(path, _pem(path)))


def verify_signature(leaf: x509.Certificate, algorithm: str, signature: bytes, data: bytes) -> bool:
    """Return whether `signature` over `data` was made with the leaf's key and `algorithm`."""
    key = leaf.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            if _CURVES.get(key.curve.name) != algorithm:
                return False
            key.verify(signature, data, ec.ECDSA(_hash(algorithm)))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm == "PS256":
            key.verify(signature, data, _pss(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm == "EdDSA":
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def verify_chain(chain: Sequence[x509.Certificate]) -> bool:
    """Return whether each certificate is issued by the next, which must be a CA."""
    return all(
        _is_authority(upper) and _issued(lower, upper) for lower, upper in itertools.pairwise(chain)
    )


def is_trusted(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    """Return whether a verified chain ends in, or is issued by, one of the roots."""
    top = chain[-1]
    return any(root in chain or (_is_authority(root) and _issued(top, root)) for root in roots)


def is_current(certificate: x509.Certificate) -> bool:
    """Return whether the certificate is valid now."""
    now = datetime.datetime.now(datetime.UTC)
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def missing_requirements(leaf: x509.Certificate) -> list[str]:
    """Return what a certificate lacks to sign content under C2PA's profile; empty if nothing."""
    usage = _extension(leaf, x509.KeyUsage)
    uses = _extension(leaf, x509.ExtendedKeyUsage)
    requirements = {
        "key usage digitalSignature": usage is not None and usage.digital_signature,
        "extended key usage emailProtection": uses is not None
        and any(use in uses for use in SIGNING_USES),
        "authority key identifier": _extension(leaf, x509.AuthorityKeyIdentifier) is not None,
    }
    return [name for name, is_met in requirements.items() if not is_met]


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_leaf(leaf: x509.Certificate, path: Path) -> None:
    missing = missing_requirements(leaf)
    if missing:
        raise ProvenanceError(
            f"{path}: the certificate may not sign content, it lacks {', '.join(missing)}; "
            "ask its issuer for one that has them"
        )
    if not is_current(leaf):
        raise ProvenanceError(
            f"{path}: the certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}, not today; renew it"
        )


def _signer(chain: tuple[x509.Certificate, ...], key: PrivateKey, path: Path) -> Signer:
    if chain[0].public_key() != key.public_key():
        raise ProvenanceError(
            f"{path}: its first certificate is not that of the private key; "
            "put the key's own certificate first, its issuers after it"
        )
    if not verify_chain(chain):
        raise ProvenanceError(
            f"{path}: its certificates do not certify each other; list the leaf, then its issuers"
        )
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = _CURVES.get(key.curve.name)
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "PS256" if key.key_size >= 2048 else None
    else:
        algorithm = "EdDSA"
    if algorithm is None:
        raise ProvenanceError(f"{path}: its key is too weak or odd; use P-256 or RSA of 2048 bits")
    return Signer(chain, key, algorithm)


def _pem(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_PEM:
            raise ProvenanceError(f"{path}: too large for a PEM file; check the path")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ProvenanceError(
            f"{path}: cannot be read ({reason}); check path and rights"
        ) from error


def _certificates(path: Path, pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise ProvenanceError(f"{path}: holds no PEM certificates; check the path") from error


def _private_key(path: Path, pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ProvenanceError(
            f"{path}: the private key is encrypted; decrypt it, as with openssl pkcs8"
        ) from error
    except ValueError as error:
        raise ProvenanceError(f"{path}: holds no usable PEM private key; check the path") from error
    if not isinstance(
        key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    ):
        raise ProvenanceError(f"{path}: its kind of key cannot sign; use EC P-256 or RSA")
    return key


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = _extension(certificate, x509.BasicConstraints)
    except ValueError:
        return False
    return constraints is not None and constraints.ca


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def key_bytes(key: PrivateKey) -> bytes:
    """A key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_bytes(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    return {"ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512()}[algorithm]


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
