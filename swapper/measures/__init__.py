"""How far a swap is from the truth: pictures, traces over time, and how sure a mean is."""
