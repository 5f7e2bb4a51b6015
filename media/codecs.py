"""Encode RGB frames as the packets of an mp4 or of a GIF."""

from fractions import Fraction
from typing import Any, cast

import av
from av.container import OutputContainer
from av.filter import Graph

# Threads for the conversion of a frame cost ten times the conversion; PyAV 16 starts none
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}

# FFmpeg's numbers
BT709 = 1  # as matrix, as primaries and as transfer curve
LIMITED_RANGE, FULL_RANGE = 1, 2  # of colour values


class H264:
    """Codec of an mp4: H.264 in 4:2:0, tagged BT.709; times are multiples of a tick in seconds."""

    shortest = 1  # least duration of a frame in ticks

    def __init__(
        self, tick: Fraction, crf: int, key_frame_every: int, threads: int, *, irregular: bool
    ) -> None:
        self.tick = tick
        self.options = {
            "crf": str(crf),
            "g": str(key_frame_every),
            "threads": str(threads),
            "sc_threshold": "0",  # no more key frames than these
            # else x264 rounds otherwise on other CPUs, and at random on those with AVX-512
            "x264-params": "cpu-independent=1",
        }
        if irregular:  # the mp4 would end too early by how much later B-frames are shown
            self.options["bf"] = "0"

    def add_stream(
        self, container: OutputContainer, rate: Fraction, height: int, width: int
    ) -> av.VideoStream:
        stream = container.add_stream("libx264", rate=rate, options=self.options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        codec = stream.codec_context
        codec.time_base = self.tick
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        return stream

    def convert(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Convert an RGB frame to frames to encode; None asks for those still held back."""
        if frame is None:
            return []
        return [
            frame.reformat(
                format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE, **ONE_THREAD
            )
        ]


class Gif:
    """Codec of a GIF: a palette for each frame; times in 10 ms."""

    tick = Fraction(1, 100)
    shortest = 2  # viewers show a frame of one tick for ten

    def add_stream(
        self, container: OutputContainer, rate: Fraction, height: int, width: int
    ) -> av.VideoStream:
        stream = container.add_stream("gif", rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        stream.codec_context.time_base = self.tick
        self._palette = self._palette_graph(height, width)
        return stream

    def convert(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Convert an RGB frame to frames to encode; None asks for those still held back."""
        self._palette.push(frame)
        converted: list[av.VideoFrame] = []
        while True:
            try:
                converted.append(cast(av.VideoFrame, self._palette.pull()))
            except (av.BlockingIOError, av.EOFError):  # nothing more for now, or at all
                return converted

    def _palette_graph(self, height: int, width: int) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=self.tick
        )
        split = graph.add("split")
        palette = graph.add("palettegen", "stats_mode=single")
        apply = graph.add("paletteuse", "new=1")
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(apply, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(apply, 0, 1)
        apply.link_to(sink)
        graph.configure()
        return graph
