"""The hot operations: each a contract and a plain torch reference."""
