"""Face detection, alignment, masks, compositing and recognition."""
