"""A part of a video's frames, upright, resized to a frame of the data set."""

import math
from typing import cast

import av
from av.filter import Graph

from datasets.geometry import Box
from datasets.pictures import Picture, resized
from datasets.video_file import to_rgb
from modules.errors import InputError

MARGIN = 4  # pixels around the box for the interpolation of its borders
COLOUR = 4  # pixels that share one, across and down, at most (4:1:1, 4:1:0)
# The filters that turn a frame counterclockwise, by the number of quarters
TURNS: tuple[list[tuple[str, str]], ...] = (
    [],
    [("transpose", "cclock")],
    [("hflip", ""), ("vflip", "")],
    [("transpose", "clock")],
)


class Region:
    """Cuts a box out of upright frames of ``size`` (width, height), and makes it a square.

    Only the box is converted to RGB: with colours interpolated that costs more than decoding.
    """

    def __init__(self, box: Box, size: tuple[int, int], side: int) -> None:
        """``box`` in pixels, also in parts of them; ``side`` of the result."""
        self.size, self.side = size, side
        width, height = size
        self.left, right = _outwards(box.left, box.right, width)
        self.top, bottom = _outwards(box.top, box.bottom, height)
        # exact, or an odd side is made even, and less is left than the box asks for
        self.crop = f"{right - self.left}:{bottom - self.top}:{self.left}:{self.top}:exact=1"
        self.box = Box(
            box.left - self.left, box.top - self.top, box.right - self.left, box.bottom - self.top
        )
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """(side, side, 3), anti-aliased.  Raises InputError where the frame has another size."""
        stored = frame.width, frame.height
        if (stored[::-1] if frame.rotation % 180 else stored) != self.size:
            raise InputError("The video changes its size in mid-stream: convert it to one size.")
        if self._graph is None:
            self._graph = self._filters(frame)
        self._graph.push(frame)
        part = cast(av.VideoFrame, self._graph.pull())
        return resized(to_rgb(part, tags=frame), (self.side, self.side), self.box)

    def _filters(self, frame: av.VideoFrame) -> Graph:
        """What turns a frame upright and leaves the part around the box."""
        graph = Graph()
        steps = [*TURNS[frame.rotation // 90 % 4], ("crop", self.crop), ("buffersink", "")]
        last = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        for name, arguments in steps:
            step = graph.add(name, arguments)
            last.link_to(step)
            last = step
        graph.configure()
        return graph


def _outwards(start: float, end: float, limit: int) -> tuple[int, int]:
    """A side of the part: the box's with a margin, of whole colours as far as the picture goes."""
    first = max(math.floor(start / COLOUR) * COLOUR - MARGIN, 0)
    return first, min(math.ceil(end / COLOUR) * COLOUR + MARGIN, limit)
