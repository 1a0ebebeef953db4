"""C2PA manifests of converted files: signing and verifying.

The manifest names the performer's footage as parent, declares the file a composite with trained
algorithmic media, and carries a custom assertion: model, identities, rights. It is signed without a
time stamp authority, so it works offline and fetches nothing; other verifiers report an unknown
signer unless they are given the signer's root.

Source: C2PA Technical Specification 2.2, https://spec.c2pa.org.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import c2pa
from cryptography import x509

from swapper.errors import ProvenanceError
from swapper.files import one_line, sha256_of
from swapper.provenance.certificates import Signer, certificate_bytes, read_certificates
from swapper.provenance.sidecar import (
    Verdict,
    sidecar_path,
    unknown_signer,
    verify_sidecar,
    write_sidecar,
)

__all__ = ["Claim", "SignedFile", "Signer", "Verdict", "sign", "verify"]

ASSERTION = "org.swapper.conversion"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_FORMATS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
_UNKNOWN_FORMAT = "application/octet-stream"
# No network access, and no thumbnail, which would contain the performer's picture.
_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
# Failures about the signer; every other failure is about the content.
_SIGNER_FAILURES = {
    "signingCredential.untrusted": "",
    "signingCredential.expired": "the signer's certificate has expired",
    "claimSignature.outsideValidity": "signed outside the validity of the signer's certificate",
}
# Byte markers of a manifest store in PNG, JPEG and MP4.
_MANIFEST_MARKERS = (b"caBX", b"jumbc2pa", bytes.fromhex("d8fec3d61b0e483c92975828877ec481"))


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim about a converted file, stored as a custom assertion.

    Attributes:
        title: Name of the file.
        model_sha256: sha256 of the model's weights, hex.
        model_name: Name of the model.
        identities: "name" and "rights" of each identity that appears.
        performer_rights: Right by which the performer's footage is used, if stated.
        software: "swapper/<version>".
        parameters: Settings of the conversion; plain values.
    """

    title: str
    model_sha256: str
    model_name: str
    identities: list[dict[str, str]]
    performer_rights: str | None = None
    software: str = "swapper"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignedFile:
    """Where the provenance of a signed file is: in which file, itself or a sidecar next to it."""

    kind: Literal["embedded", "sidecar"]
    path: Path


def sign(path: Path, parent: Path | None, claim: Claim, signer: Signer) -> SignedFile:
    """Sign a finished file: embedded where its format allows it, else in a sidecar.

    Args:
        path: File to sign; replaced atomically.
        parent: The performer's footage that it was made from, if any.
        claim: Claim about the file.
        signer: Key and certificates to sign with.

    Raises:
        ProvenanceError: A file is missing, or signing fails; `path` is then unchanged.
        MediaError: A file cannot be read, or the sidecar not written.
    """
    for file in (path, parent):
        if file is not None and not file.is_file():
            raise ProvenanceError(
                f"{file}: no such file to sign or to name as parent; check the path"
            )
    claim_data = asdict(claim) | {
        "parameters": dict(claim.parameters),
        "parent_name": parent.name if parent else None,
        "parent_sha256": sha256_of(parent) if parent else None,
    }
    media_type = _FORMATS.get(path.suffix.lower())
    if media_type is None:
        return SignedFile("sidecar", write_sidecar(path, claim_data, signer))
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.signing{path.suffix}")
    try:
        builder = _builder(path, media_type, parent, claim_data)
        with path.open("rb") as unsigned, temporary.open("w+b") as signed:
            builder.sign(_native_signer(signer), media_type, unsigned, signed)
            signed.flush()
            os.fsync(signed.fileno())
        shutil.copymode(path, temporary)
        temporary.replace(path)
    except (c2pa.C2paError, OSError) as error:
        raise ProvenanceError(
            f"{path}: cannot be signed ({one_line(error)}); free space, or try provenance=none"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    sidecar_path(path).unlink(missing_ok=True)  # of an earlier file by that name
    return SignedFile("embedded", path)


def verify(path: Path, trust: Sequence[Path] = ()) -> Verdict:
    """Verify a file's provenance.

    Args:
        path: Any file.
        trust: PEM files of trusted root certificates. The local CA is trusted only if given.

    Raises:
        ProvenanceError: The file or a root cannot be read.
    """
    if not path.is_file():
        raise ProvenanceError(f"{path}: no such file; check the path")
    roots = [root for file in trust for root in read_certificates(file)]
    embedded = _verify_embedded(path, roots)
    if embedded.state != "none" or not sidecar_path(path).is_file():
        return embedded
    return verify_sidecar(path, roots)


def _builder(
    path: Path, media_type: str, parent: Path | None, claim_data: Mapping[str, Any]
) -> c2pa.Builder:
    """Return a manifest builder; falls back to an opaque parent, then to none."""
    definition = _definition(path, media_type, claim_data)
    if parent is not None:
        formats = (_FORMATS.get(parent.suffix.lower(), _UNKNOWN_FORMAT), _UNKNOWN_FORMAT)
        ingredient = {"title": parent.name, "relationship": "parentOf"}
        for media_format in dict.fromkeys(formats):
            builder = c2pa.Builder(definition, context=c2pa.Context.from_dict(_SETTINGS))
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            try:
                with parent.open("rb") as stream:
                    builder.add_ingredient(ingredient, media_format, stream)
            except c2pa.C2paError:
                builder.close()
                continue
            return builder
    builder = c2pa.Builder(definition, context=c2pa.Context.from_dict(_SETTINGS))
    builder.set_intent(
        c2pa.C2paBuilderIntent.CREATE,
        c2pa.C2paDigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA,
    )
    return builder


def _definition(path: Path, media_type: str, claim_data: Mapping[str, Any]) -> dict[str, Any]:
    name, _, version = str(claim_data["software"]).partition("/")
    edited = {
        "action": "c2pa.edited",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": name, "version": version or "0"},
        "parameters": {"description": "face swapped by a trained model"},
    }
    return {
        "claim_generator_info": [{"name": name, "version": version or "0"}],
        "title": claim_data["title"],
        "format": media_type,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [edited]}},
            {"label": ASSERTION, "data": dict(claim_data)},
        ],
    }


def _native_signer(signer: Signer) -> c2pa.Signer:
    algorithm = "ed25519" if signer.algorithm == "EdDSA" else signer.algorithm.lower()
    chain, key = signer.chain_pem.encode("ascii"), signer.key_pem.encode("ascii")
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm.encode("ascii"), chain, key, None))


def _verify_embedded(path: Path, roots: Sequence[x509.Certificate]) -> Verdict:
    settings = dict(_SETTINGS)
    if roots:
        anchors = b"".join(certificate_bytes(root) for root in roots).decode("ascii")
        settings["trust"] = {"user_anchors": anchors}
    context = c2pa.Context.from_dict(settings)
    try:
        with path.open("rb") as stream:
            media_type = _FORMATS.get(path.suffix.lower())
            with c2pa.Reader(media_type, stream, context=context) as reader:
                report = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Verdict("none")
    except (c2pa.C2paError, ValueError) as error:
        if not _has_manifest_marker(path):
            return Verdict("none")
        return Verdict(
            "tampered", reasons=[f"its manifest is broken: {one_line(error)}"], where="embedded"
        )
    except OSError as error:
        raise ProvenanceError(
            f"{path}: cannot be read ({one_line(error)}); check its rights"
        ) from error
    return _verdict_of(report)


def _verdict_of(report: Mapping[str, Any]) -> Verdict:
    """Convert c2pa's validation report into a verdict."""
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    signer = signature.get("common_name") or signature.get("issuer")
    results = report.get("validation_results", {}).get("activeManifest", {})
    failures = results.get("failure", [])
    reasons = [_SIGNER_FAILURES.get(failure["code"], _finding(failure)) for failure in failures]
    reasons += [
        f"of its parent: {_finding(failure)}" for failure in _parent_failures(report, manifest)
    ]
    about_content = any(failure["code"] not in _SIGNER_FAILURES for failure in failures)
    state: Literal["trusted", "unknown signer", "tampered"] = "unknown signer"
    if about_content or (not failures and report.get("validation_state") == "Invalid"):
        state = "tampered"
    elif report.get("validation_state") == "Trusted":
        state = "trusted"
    unique_reasons = [reason for reason in dict.fromkeys(reasons) if reason]
    is_expired = "signingCredential.expired" in (failure["code"] for failure in failures)
    if state == "unknown signer" and not is_expired:
        unique_reasons.append(unknown_signer(signer))
    return Verdict(state, signer, _claim(manifest, results), unique_reasons, "embedded")


def _parent_failures(
    report: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield failures in the content of the parents: at signing time, and since then."""
    results = [
        ingredient.get("validation_results", {}).get("activeManifest", {})
        for ingredient in manifest.get("ingredients", [])
    ]
    deltas = report.get("validation_results", {}).get("ingredientDeltas", [])
    results += [ingredient.get("validationDeltas", {}) for ingredient in deltas]
    for ingredient in results:
        yield from (
            fail for fail in ingredient.get("failure", []) if fail["code"] not in _SIGNER_FAILURES
        )


def _claim(manifest: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the custom assertion if it is unchanged since signing."""
    passed = results.get("success", [])
    is_signed = any(entry["code"] == "claimSignature.validated" for entry in passed)
    is_unchanged = any(
        entry["code"] == "assertion.hashedURI.match" and entry["url"].endswith(f"/{ASSERTION}")
        for entry in passed
    )
    if not (is_signed and is_unchanged):
        return None
    for entry in manifest.get("assertions", []):
        if entry["label"] == ASSERTION and isinstance(entry["data"], dict):
            return dict(entry["data"])
    return None


def _finding(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('explanation') or 'check failed'} ({entry['code']})"


def _has_manifest_marker(path: Path) -> bool:
    """Return whether a file contains the marker of a manifest store."""
    with path.open("rb") as stream:
        before = b""
        while block := stream.read(1 << 20):
            if any(mark in before + block for mark in _MANIFEST_MARKERS):
                return True
            before = block[-16:]
    return False
