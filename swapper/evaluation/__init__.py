"""A swap against its performer: readings, scores and judges."""
