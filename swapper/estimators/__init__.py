"""Frozen expression networks: embeddings, emotions and action units of faces."""
