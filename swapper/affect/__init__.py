"""What a face seems to feel: frozen estimators."""
