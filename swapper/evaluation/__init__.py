"""Evaluation of a swap against its performer: readings, measures, ground truth, leaderboard."""
