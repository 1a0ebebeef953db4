"""What was found out, laid out for a person to read."""
