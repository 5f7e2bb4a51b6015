"""From raw videos to a training set: the commands of ``python -m datasets``."""
