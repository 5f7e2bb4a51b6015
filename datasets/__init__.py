"""Data sets of talking heads: prepare, inspect, read, stream and generate clips, and draw pairs."""
