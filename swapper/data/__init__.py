"""Facesets on disk, and how training samples them."""
