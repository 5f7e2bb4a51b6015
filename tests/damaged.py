"""Files that are not as they should be, made of whole ones: each is written beside its original."""

from pathlib import Path


def rewritten(path: Path, name: str, data: bytes) -> Path:
    """A file of these bytes beside another."""
    place = path.with_name(name)
    place.write_bytes(data)
    return place
