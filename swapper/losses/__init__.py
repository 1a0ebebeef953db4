"""What a swap is held to."""
