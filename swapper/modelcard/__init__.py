"""``model.md``: the model card."""
