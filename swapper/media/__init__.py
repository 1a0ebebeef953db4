"""Video, stills and provenance."""
