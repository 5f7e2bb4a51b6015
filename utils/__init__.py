"""Errors, files, devices, processes and signals: what every package uses."""
