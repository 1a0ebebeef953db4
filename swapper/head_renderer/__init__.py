"""Drawing parametric heads: geometry, skin, light, lens and film."""
