"""Pictures, videos and sound: files in and out."""
