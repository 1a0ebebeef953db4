"""``model.md``: what a model is, for the person who gets it."""
