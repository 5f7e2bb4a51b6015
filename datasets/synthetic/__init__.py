"""Parametric talking heads: who (identity), doing what (motion), as a picture (render)."""
