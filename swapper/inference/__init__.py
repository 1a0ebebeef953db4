"""A trained model at work: faces swapped, with the affect of the performer."""
