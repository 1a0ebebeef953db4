"""Verify the provenance of a file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from swapper.options.verbs import VerifyOptions
from swapper.provenance.manifest import Verdict, verify

_EXIT = {"trusted": 0, "unknown signer": 0, "tampered": 3, "none": 4}


def verify_file(options: VerifyOptions) -> int:
    """Print the verdict on ``options.file``.

    Returns:
        Exit status: 0 for an intact file (signer trusted or not), 3 for one changed after signing,
        4 for one without provenance.
    """
    trust = [options.trust] if isinstance(options.trust, str) else list(options.trust)
    verdict = verify(Path(options.file), [Path(each) for each in trust])
    if options.json:
        print(json.dumps(dataclasses.asdict(verdict), indent=2, default=str))
    else:
        print("\n".join(_describe(options.file, verdict)))
    return _EXIT[verdict.state]


def _describe(file: str, verdict: Verdict) -> list[str]:
    meaning = {
        "trusted": "intact; signed by someone whose root you trust",
        "unknown signer": "intact since it was signed, but by a signer that nobody vouches for",
        "tampered": "changed after it was signed, or its manifest was",
        "none": "no provenance found; it may never have had any, or lost it when it was saved anew",
    }[verdict.state]
    lines = [f"{file}: {verdict.state}: {meaning}"]
    if verdict.signer:
        lines.append(f"  signer: {verdict.signer}")
    claim = verdict.claim or {}
    for identity in claim.get("identities", []):
        lines.append(f"  identity: {identity.get('name')} ({identity.get('rights')})")
    for key in ("performer_rights", "model_name", "model_sha256", "software"):
        if claim.get(key):
            lines.append(f"  {key.replace('_', ' ')}: {claim[key]}")
    lines += [f"  {reason}" for reason in verdict.reasons]
    return lines
