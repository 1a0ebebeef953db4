"""Signed JSON sidecars for files whose format cannot embed a manifest."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from swapper.files import sha256_of, write_atomically
from swapper.provenance.certificates import (
    Signer,
    common_name,
    is_current,
    is_trusted,
    missing_requirements,
    verify_chain,
    verify_signature,
)

SCHEMA = "org.swapper.provenance/1"
_MAX_BYTES = 4 << 20
_MAX_CERTIFICATES = 10


@dataclass(frozen=True, slots=True)
class SidecarVerdict:
    """Result of verifying a sidecar.

    Attributes:
        intact: Whether signature and file are unchanged.
        trusted: Whether its chain ends in a given root.
        signer: Common name of the leaf, if it can be read.
        claim: The signed claim, if the signature is valid.
        reasons: Human-readable reasons why it is not intact or not trusted.
    """

    intact: bool
    trusted: bool
    signer: str | None
    claim: dict[str, Any] | None
    reasons: list[str]


def sidecar_path(path: Path) -> Path:
    """Return the sidecar path of `path`: its full name plus ``.provenance.json``."""
    return path.with_name(path.name + ".provenance.json")


def write_sidecar(path: Path, claim: Mapping[str, Any], signer: Signer) -> Path:
    """Sign a claim about a file's content and write it next to the file, atomically.

    Raises:
        MediaError: The file cannot be read or the sidecar not written.
    """
    payload = {
        "schema": SCHEMA,
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "signed_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "claim": dict(claim),
    }
    document = {
        "payload": payload,
        "algorithm": signer.algorithm,
        "signature": base64.b64encode(signer.sign(_canonical(payload))).decode("ascii"),
        "certificates": signer.chain_pem,
    }
    target = sidecar_path(path)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_atomically(target, text.encode("utf-8"))
    return target


def verify_sidecar(path: Path, roots: Sequence[x509.Certificate]) -> SidecarVerdict:
    """Verify the sidecar of `path`, which must exist, and `path` against it.

    Raises:
        MediaError: The file cannot be read.
    """
    parsed = _parse(sidecar_path(path))
    if parsed is None:
        return _broken("the sidecar is not a provenance file of this program")
    payload, algorithm, signature, chain = parsed
    signer = common_name(chain[0])
    if not verify_signature(chain[0], algorithm, signature, _canonical(payload)):
        return _broken("the sidecar was changed after it was signed", signer)
    if missing_requirements(chain[0]) or not verify_chain(chain):
        return _broken("the sidecar's certificates do not allow its signer to sign", signer)
    claim = payload["claim"]
    if payload["sha256"] != sha256_of(path):
        return SidecarVerdict(
            False, False, signer, claim, ["the file was changed after it was signed"]
        )
    reasons = [] if is_current(chain[0]) else ["the signer's certificate has expired"]
    trusted = is_trusted(chain, roots) and not reasons
    return SidecarVerdict(True, trusted, signer, claim, reasons)


def _broken(reason: str, signer: str | None = None) -> SidecarVerdict:
    return SidecarVerdict(False, False, signer, None, [reason])


def _canonical(payload: Mapping[str, Any]) -> bytes:
    """Return the bytes to sign: JSON with sorted keys, no spaces, ASCII only."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode("ascii")


def _parse(
    path: Path,
) -> tuple[dict[str, Any], str, bytes, list[x509.Certificate]] | None:
    """Return payload, algorithm, signature and chain; None if the file is malformed."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        document = json.loads(path.read_bytes())
        payload, algorithm = document["payload"], document["algorithm"]
        signature = base64.b64decode(document["signature"], validate=True)
        chain = x509.load_pem_x509_certificates(document["certificates"].encode("ascii"))
        well_formed = (
            payload["schema"] == SCHEMA
            and isinstance(payload["claim"], dict)
            and isinstance(payload["sha256"], str)
            and isinstance(algorithm, str)
            and 0 < len(chain) <= _MAX_CERTIFICATES
        )
        _canonical(payload)
    except (
        OSError,
        ValueError,  # bad JSON, base64, certificate or encoding
        binascii.Error,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return None
    return (payload, algorithm, signature, chain) if well_formed else None
