"""Hydra configs: one root per verb, one folder per group."""
