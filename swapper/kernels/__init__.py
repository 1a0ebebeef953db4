"""Hot operations: specification, plain torch reference and, for most, a Triton kernel."""
