"""Make training sets from raw videos, with the commands of ``python -m datasets``."""
