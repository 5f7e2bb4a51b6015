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
        self._form: tuple[object, ...] | None = None  # of the stored frames for which this is set:
        self._graph, self._inner = Graph(), box

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """Crop a frame: (side, side, 3), anti-aliased."""
        form = frame.width, frame.height, frame.format.name, Orientation.of(frame)
        if self._form is None and self.display.own_size(frame) == self.display.size:
            self._form = form
            self._set_up(frame)
        if self._form != form:  # the video changes in mid-stream
            return resized(self.display.picture(frame), (self.side, self.side), self.box)
        self._graph.push(frame)
        part = cast(av.VideoFrame, self._graph.pull())
        image = self.display.in_srgb(to_rgb(part, tags=frame))
        return resized(image, (self.side, self.side), self._inner)

    def _set_up(self, frame: av.VideoFrame) -> None:
        """Make the filters that crop stored frames of one size and pixel format, before RGB."""
        orientation = Orientation.of(frame)
        stored = frame.width, frame.height
        width, height = stored[::-1] if orientation.transposed else stored
        box = self.box.scaled(width / self.display.size[1], height / self.display.size[0])
        left, right = _outwards(box.left, box.right, width)
        top, bottom = _outwards(box.top, box.bottom, height)
        self._inner = box.shifted(-left, -top)
        # exact: otherwise FFmpeg makes odd sides even, and cuts off a part of the box
        crop = f"{right - left}:{bottom - top}:{left}:{top}:exact=1"
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        filters = [*orientation.filters, ("crop", crop), ("buffersink", "")]
        steps = [self._graph.add(name, arguments) for name, arguments in filters]
        self._graph.link_nodes(source, *steps).configure()


def _outwards(start: float, end: float, limit: int) -> tuple[int, int]:
    """Extend one side of the box by a margin and to whole colours, within the picture."""
    first = max(math.floor(start / COLOUR) * COLOUR - MARGIN, 0)
    return first, min(math.ceil(end / COLOUR) * COLOUR + MARGIN, limit)
