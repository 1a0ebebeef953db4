"""Signed provenance: C2PA manifests, sidecars and certificates."""
