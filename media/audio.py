"""Copy the sound of one video into another, packet by packet, or encoded anew as AAC."""

import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet

from media.decoder import open_container, open_video, shown_stream
from media.timeline import Timeline

logger = logging.getLogger(__name__)

COPIED = {"aac", "ac3", "opus"}  # codecs that players accept in an mp4
LAYOUTS = {1: "mono", 6: "5.1"}  # of AAC, by the number of channels; stereo for others
RATES = set(av.Codec("aac", "w").audio_rates or ())  # samples per second of AAC
OTHER_RATE = 48000
BIT_RATE = 96_000  # per channel
MAX_SILENCE = 60  # seconds, of a gap in the sound

Packets = Iterator["Packet[av.AudioStream]"]


class AudioCopy:
    """First sound track of a video that can be decoded, as a new stream of ``output``.

    A video without sound gives no packets; a track that cannot be decoded is logged.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._path, self._output = path, output
        with open_video(path) as video:
            self._start = video.start()  # seconds
        self._input = open_container(path)
        self._packets: Packets = iter(())
        self._next: Packet[av.AudioStream] | None = None
        for number in range(len(self._input.streams.audio)):
            self._packets = self._track(number)
            self._next = next(self._packets, None)
            if self._next is not None:
                break
            logger.warning(
                "%s: sound track %d cannot be decoded; going on without it.", path, number
            )

    def until(self, end: Fraction) -> Packets:
        """Yield the next packets that end within ``end`` seconds of the first frame."""
        while self._next is not None:
            packet = self._next
            over = ((packet.pts or 0) + (packet.duration or 0)) * Fraction(packet.time_base)
            if over > end:
                return
            if over >= 0:
                yield packet
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._input.close()

    def _track(self, number: int) -> Packets:
        """Packets of a track, timed from the first frame; none where it cannot be decoded."""
        self._input.close()
        self._input = open_container(self._path)  # at its beginning, whatever was tried before
        track = self._input.streams.audio[number]
        codec = track.codec_context
        if codec is None:  # FFmpeg does not know it
            return iter(())
        return self._copied(track) if codec.codec.canonical_name in COPIED else self._encoded(track)

    def _on_timeline(self, track: av.AudioStream) -> Packets:
        """Packets of a track on the timeline of the pictures."""
        video = shown_stream(self._input, self._path)
        for packet in Timeline(self._input, video).packets(track):
            if packet.stream.index == track.index:
                yield cast("Packet[av.AudioStream]", packet)

    def _copied(self, track: av.AudioStream) -> Packets:
        """Packets of a track as they are, timed from the first frame."""
        copy = self._output.add_stream_from_template(track)
        for packet in self._on_timeline(track):
            if packet.pts is not None:
                shift = round(self._start / Fraction(packet.time_base))
                packet.dts = (packet.pts if packet.dts is None else packet.dts) - shift
                packet.pts -= shift
                packet.stream = copy
                yield packet

    def _encoded(self, track: av.AudioStream) -> Packets:
        """Packets of a track encoded as AAC."""
        frames = self._decoded(track)
        first = next(frames, None)
        if first is None:
            return
        rate = first.sample_rate if first.sample_rate in RATES else OTHER_RATE
        layout = LAYOUTS.get(len(first.layout.channels), "stereo")
        stream = self._output.add_stream("aac", rate=rate, layout=layout)
        stream.bit_rate = BIT_RATE * len(stream.layout.channels)
        for frame in _resampled(first, frames, rate, layout):
            yield from stream.encode(frame)
        yield from stream.encode(None)

    def _decoded(self, track: av.AudioStream) -> Iterator[av.AudioFrame]:
        """Frames of a track, timed in samples from the first frame of the video."""
        end, is_damaged = Fraction(0), False  # of the sound so far, in seconds
        for packet in self._on_timeline(track):
            try:
                frames = track.decode(packet)
            except av.FFmpegError:
                if not is_damaged:
                    logger.warning("%s: damaged sound is left out.", self._path)
                is_damaged = True
                continue
            for frame in frames:
                begin = end
                if frame.pts is not None and frame.time_base is not None:
                    begin = frame.pts * Fraction(frame.time_base) - self._start
                if begin > end + MAX_SILENCE:
                    return
                end = begin + Fraction(frame.samples, frame.sample_rate)
                frame.pts = round(begin * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
                yield frame


def _resampled(
    first: av.AudioFrame, others: Iterator[av.AudioFrame], rate: int, layout: str
) -> Iterator[av.AudioFrame]:
    """Resample frames to another rate and layout from time 0 on, with silence in the gaps."""
    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=first.sample_rate,
        format=first.format,
        layout=first.layout,
        time_base=Fraction(1, first.sample_rate),
    )
    resample = graph.add(
        "aresample",
        f"async=1:first_pts=0:out_sample_fmt=fltp:out_sample_rate={rate}:out_chlayout={layout}",
    )
    graph.link_nodes(source, resample, graph.add("abuffersink")).configure()
    for frame in itertools.chain([first], others, [None]):
        graph.push(frame)
        while True:
            try:
                yield cast(av.AudioFrame, graph.pull())
            except (av.BlockingIOError, av.EOFError):  # nothing more for now, or at all
                break
