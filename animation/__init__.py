"""Animate a portrait: from a picture and a driving motion to a video file."""
