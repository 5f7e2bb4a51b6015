"""The sound of one video copied into another, packet by packet, without decoding."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet

from datasets.video_file import open_container, shown_stream

logger = logging.getLogger(__name__)


class Sound:
    """The first sound stream of a video as a new stream of ``output``.

    There are no packets when the video has no sound, or a sound that ``output`` cannot hold,
    which is logged.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._input = open_container(path)
        self._packets: Iterator[Packet[av.AudioStream]] = iter(())
        self._start = Fraction(0)  # seconds at which the first frame of the input is shown
        video = shown_stream(self._input, path)
        self._start = (video.start_time or 0) * Fraction(video.time_base or 1)
        for sound in self._input.streams.audio[:1]:
            try:
                self._copy = output.add_stream_from_template(sound)
            except ValueError:
                codec = sound.codec_context.name
                logger.warning(
                    "%s: sound in %s cannot go in an mp4; going on without.", path, codec
                )
            else:
                self._packets = self._input.demux(sound)
        self._next = next(self._packets, None)

    def until(self, end: Fraction) -> Iterator["Packet[av.AudioStream]"]:
        """The packets not yet given that are over ``end`` seconds after the first frame."""
        while self._next is not None:
            packet, tick = self._next, Fraction(self._next.time_base)
            if packet.pts is not None:
                over = (packet.pts + (packet.duration or 0)) * tick - self._start
                if over > end:
                    return
                if over >= 0:
                    shift = round(self._start / tick)
                    packet.dts = (packet.pts if packet.dts is None else packet.dts) - shift
                    packet.pts -= shift
                    packet.stream = self._copy
                    yield packet
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._input.close()
