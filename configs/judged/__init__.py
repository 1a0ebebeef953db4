"""Configs of the verbs that judge: their roots, and a reader that only measures."""
