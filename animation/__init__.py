"""Animate a source picture: from the picture and a driving motion to a video file."""
