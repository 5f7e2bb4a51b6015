"""The sound of one video copied into another, packet by packet, without decoding."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet

logger = logging.getLogger(__name__)


class Sound:
    """The first sound stream of a video, as a new stream of ``output``.

    Without such a stream, or with one that ``output`` cannot hold (which is logged), there are no
    packets.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._input = av.open(f"file:{path}")
        self._packets: Iterator[Packet] = iter(())
        self._start = Fraction(0)  # when the first frame of the input is shown, in seconds
        for video in self._input.streams.video[:1]:
            self._start = (video.start_time or 0) * Fraction(video.time_base)
        for sound in self._input.streams.audio[:1]:
            try:
                self._copy = output.add_stream_from_template(sound)
            except ValueError:
                codec = sound.codec_context.name
                logger.warning("%s: its sound (%s) cannot go in an mp4: none written", path, codec)
            else:
                self._tick = Fraction(sound.time_base)
                self._packets = self._input.demux(sound)
        self._next = next(self._packets, None)

    def until(self, end: Fraction) -> Iterator[Packet]:
        """The packets not yet given that are over ``end`` seconds after the first frame."""
        while self._next is not None:
            packet = self._next
            if packet.pts is not None:
                time = packet.pts * self._tick - self._start
                length = (packet.duration or 0) * self._tick
                if time + length > end:
                    return
                if time + length >= 0:
                    yield self._shifted(packet)
            self._next = next(self._packets, None)

    def _shifted(self, packet: Packet) -> Packet:
        shift = round(self._start / self._tick)
        packet.pts, packet.dts = packet.pts - shift, (packet.dts or packet.pts) - shift
        packet.stream = self._copy
        return packet

    def close(self) -> None:
        self._input.close()
