"""Training with Lightning: module, callbacks, checkpoints."""
