"""Evaluation of generated frames: metrics, protocols, statistics and reports."""
