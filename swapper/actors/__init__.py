"""Parametric performers with ground truth: the same performance on any face, to the pixel."""
