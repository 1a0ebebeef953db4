"""Configs of training: its root and one folder per group."""
