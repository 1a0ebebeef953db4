"""The options of every verb."""
