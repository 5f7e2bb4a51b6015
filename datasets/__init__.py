"""Talking-head clips: read, written, drawn in pairs, and generated."""
