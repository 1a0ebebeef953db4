"""Configs of evaluate and compare: their roots, and instruments for evaluation only."""
