"""Affect codes, neutrals, concepts and controls, computed from estimators' readings."""
