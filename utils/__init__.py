"""Errors, files, devices, processes and signals, used by every package."""
