"""Reconstruction and expression losses."""
