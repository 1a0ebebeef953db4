"""Finding, aligning, masking and blending faces."""
