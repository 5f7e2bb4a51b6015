"""Clips in shards that are read one at a time, from a folder or a URL."""
