"""Inference: swap faces with a trained model, conditioned on the performer's affect."""
