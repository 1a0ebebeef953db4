"""Blind user study of swaps: the page for participants, and the analysis of their answers."""
