"""Two drawn actors, from nothing to a swap held against its exact answer."""
