"""End-to-end demo on two synthetic actors with exact ground truth."""
