"""Metrics of frames and clips."""
