"""The HTML report of an evaluation, and the JSON next to it."""
