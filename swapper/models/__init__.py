"""The shared encoder, the decoders of each identity, and their files."""
