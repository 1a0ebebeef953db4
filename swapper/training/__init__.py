"""The Lightning side: module, callbacks, checkpoints."""
