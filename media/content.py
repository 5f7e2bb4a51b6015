"""A file that is held in memory."""

from typing import NamedTuple


class Content(NamedTuple):
    """The bytes of a file, wherever they came from."""

    name: str  # what messages call it
    data: bytes
    checksum: int  # with name and length it tells the content from any other

    def __str__(self) -> str:
        return self.name
