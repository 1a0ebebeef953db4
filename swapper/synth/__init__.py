"""Synthetic performances: emotions, motion, and the ground truth of each frame."""
