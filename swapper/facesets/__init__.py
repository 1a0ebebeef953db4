"""Facesets on disk: reading, writing and checking them."""
