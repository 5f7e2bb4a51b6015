"""Render parametric talking heads: a person (identity) in motion (poses) as pictures."""
