"""People as judges of a swap: the page that asks them, and the counts of their answers."""
