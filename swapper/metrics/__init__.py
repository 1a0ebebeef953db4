"""Metrics of arrays: traces, agreement, image quality, and confidence intervals."""
