"""Video, image and audio input and output."""
