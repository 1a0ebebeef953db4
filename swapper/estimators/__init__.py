"""Frozen expression networks: what a face shows, as an embedding and as emotions."""
