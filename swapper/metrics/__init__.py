"""Plain numbers from arrays: traces, agreement, image quality, and how sure a mean is."""
