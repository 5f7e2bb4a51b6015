"""Find the end of a GIF's pictures, for files without an end mark or with bytes after it.

Players show such files.  FFmpeg takes the bytes for frames, and shows a picture that was cut in the
middle without a warning.
"""

from utils.errors import InputError

MAGIC = (b"GIF87a", b"GIF89a")
EXTENSION, IMAGE, END = b"!", b",", b";"
HEADER, IMAGE_HEADER = 13, 10  # bytes, without the table of colours that may follow
LONGEST = 255  # bytes of a sub-block: all of a picture but the last have as many


class _Cut(Exception):
    """Error of a file that ends within a block."""


def whole_gif(data: bytes, name: object) -> bytes:
    """Cut a GIF after its last picture and add an end mark.

    Raises InputError where it ends within a picture.
    """
    try:
        end = _end_of_pictures(data)
    except _Cut as error:
        raise InputError(f"{name} is damaged: it ends within a frame.") from error
    return data[:end] + END


def _end_of_pictures(data: bytes) -> int:
    """Position of the first byte after the last picture."""
    position = end = HEADER + _size_of_colours(data, HEADER - 3)
    while (kind := data[position : position + 1]) in (EXTENSION, IMAGE):
        if kind == EXTENSION:
            position = _after_sub_blocks(data, position + 2)
        else:
            position += IMAGE_HEADER + _size_of_colours(data, position + IMAGE_HEADER - 1)
            position = end = _after_sub_blocks(data, position + 1)
    return end


def _size_of_colours(data: bytes, flags: int) -> int:
    """Number of bytes of the table of colours that the byte at ``flags`` announces."""
    if flags >= len(data):
        raise _Cut
    return 3 * 2 ** (data[flags] % 8 + 1) if data[flags] & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    """Position after sub-blocks and their terminator, which may be missing at the file's end."""
    length = LONGEST
    while position < len(data):
        length = data[position]
        position += 1 + length
        if length == 0:
            return position
    if position > len(data) or length == LONGEST:
        raise _Cut
    return position
