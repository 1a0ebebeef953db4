"""Signed JSON sidecars for files whose format cannot embed a manifest."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
class Verdict:
    """Result of verifying a file's provenance.

    Attributes:
        state: "trusted": intact, signed under a given root; "unknown signer": intact, signed by
            a signer that no given root vouches for; "tampered": file or provenance changed; "none".
        signer: Name in the signer's certificate.
        claim: The custom assertion, if present and unchanged.
        reasons: Human-readable reasons.
        where: Where the provenance was found.
    """

    state: Literal["trusted", "unknown signer", "tampered", "none"]
    signer: str | None = None
    claim: dict[str, Any] | None = None
    reasons: list[str] = field(default_factory=list)
    where: Literal["embedded", "sidecar"] | None = None


def unknown_signer(name: str | None) -> str:
    """Return the reason that a signer, by name, is unknown."""
    return (
        f"no trusted root vouches for {name or 'the signer'}; public verifiers will not know it "
        "either (pass its root certificate as trust=)"
    )


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


def verify_sidecar(path: Path, roots: Sequence[x509.Certificate]) -> Verdict:
    """Verify the sidecar of `path`, which must exist, and `path` against it.

    Raises:
        MediaError: The file cannot be read.
    """
    parsed = _parse(sidecar_path(path))
    if parsed is None:
        return _tampered("the sidecar is not a provenance file of this program")
    payload, algorithm, signature, chain = parsed
    signer = common_name(chain[0])
    if not verify_signature(chain[0], algorithm, signature, _canonical(payload)):
        return _tampered("the sidecar was changed after it was signed", signer)
    if missing_requirements(chain[0]) or not verify_chain(chain):
        return _tampered("the sidecar's certificates do not allow its signer to sign", signer)
    claim = payload["claim"]
    if payload["sha256"] != sha256_of(path):
        return _tampered("the file was changed after it was signed", signer, claim)
    if not is_current(chain[0]):
        reasons = ["the signer's certificate has expired"]
    elif is_trusted(chain, roots):
        return Verdict("trusted", signer, claim, [], "sidecar")
    else:
        reasons = [unknown_signer(signer)]
    return Verdict("unknown signer", signer, claim, reasons, "sidecar")


def _tampered(
    reason: str, signer: str | None = None, claim: dict[str, Any] | None = None
) -> Verdict:
    return Verdict("tampered", signer, claim, [reason], "sidecar")


def _canonical(payload: Mapping[str, Any]) -> bytes:
    """Return the bytes to sign: JSON with sorted keys, no spaces, ASCII only."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode("ascii")


def _parse(path: Path) -> tuple[dict[str, Any], str, bytes, list[x509.Certificate]] | None:
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # bad JSON, base64, certificate or encoding
    return (payload, algorithm, signature, chain) if well_formed else None
