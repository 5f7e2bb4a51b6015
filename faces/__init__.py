"""Find faces in pictures and videos, crop them as in training, and locate their landmarks."""
