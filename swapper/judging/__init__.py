"""People as judges: the page that asks them, what they answered, and what came out."""
