"""Benchmarks of animating, training and loading data, compared with a plain network."""
