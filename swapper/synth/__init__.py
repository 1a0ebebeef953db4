"""Performances of actors: emotions played, movement, and the ground truth of each frame."""
