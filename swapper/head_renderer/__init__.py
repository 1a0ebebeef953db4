"""Renderer of parametric heads: geometry, skin, light, lens and film."""
