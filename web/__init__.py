"""Serve the animation to a browser: a page, an HTTP API, and a camera that drives a portrait."""
