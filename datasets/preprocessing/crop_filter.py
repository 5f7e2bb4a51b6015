"""Crop the frames of a video, upright, and resize them to frames of the data set."""

import math
from typing import cast

import av
from av.filter import Graph

from media.display import Display, Orientation, to_rgb
from media.pictures import Box, Picture, resized

MARGIN = 4  # pixels around the box for the interpolation of its borders
COLOUR = 4  # pixels across and down that share one colour, at most (4:1:1, 4:1:0)


class CropFilter:
    """Crop a box of the frames of a video and resize it to a square.

    Only the box is converted to RGB: with interpolated colours that costs more than decoding.
    """

    def __init__(self, box: Box, display: Display, side: int) -> None:
        """``box`` is in pixels as displayed, not always whole; ``side`` is that of the result."""
        self.box, self.display, self.side = box, display, side
        self._cutter: tuple[tuple[object, ...], _Cutter] | None = None

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """Crop a frame: (side, side, 3), anti-aliased."""
        form = frame.width, frame.height, frame.format.name, Orientation.of(frame)
        if self._cutter is None and self.display.own_size(frame) == self.display.size:
            self._cutter = form, _Cutter(self.box, self.display, frame)
        if self._cutter is None or self._cutter[0] != form:  # the video changes in mid-stream
            return resized(self.display.picture(frame), (self.side, self.side), self.box)
        return self._cutter[1](frame, self.side)


class _Cutter:
    """Crop of a box from stored frames of one size and pixel format, before they are RGB."""

    def __init__(self, box: Box, display: Display, frame: av.VideoFrame) -> None:
        self.display = display
        orientation = Orientation.of(frame)
        stored = frame.width, frame.height
        width, height = stored[::-1] if orientation.transposed else stored
        box = box.scaled(width / display.size[1], height / display.size[0])  # in stored pixels
        left, right = _outwards(box.left, box.right, width)
        top, bottom = _outwards(box.top, box.bottom, height)
        self.box = box.shifted(-left, -top)
        # exact: otherwise FFmpeg makes odd sides even, and cuts off a part of the box
        crop = f"{right - left}:{bottom - top}:{left}:{top}:exact=1"
        self.graph = Graph()
        last = self.graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        for name, arguments in [*orientation.filters, ("crop", crop), ("buffersink", "")]:
            step = self.graph.add(name, arguments)
            last.link_to(step)
            last = step
        self.graph.configure()

    def __call__(self, frame: av.VideoFrame, side: int) -> Picture:
        self.graph.push(frame)
        part = cast(av.VideoFrame, self.graph.pull())
        image = self.display.in_srgb(to_rgb(part, tags=frame))
        return resized(image, (side, side), self.box)


def _outwards(start: float, end: float, limit: int) -> tuple[int, int]:
    """Extend one side of the box by a margin and to whole colours, within the picture."""
    first = max(math.floor(start / COLOUR) * COLOUR - MARGIN, 0)
    return first, min(math.ceil(end / COLOUR) * COLOUR + MARGIN, limit)
