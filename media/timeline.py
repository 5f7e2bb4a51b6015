"""Put the packets of a media file on one timeline, also where recordings were joined.

Where the time stamps of the video restart or jump, as they do in recordings that were appended to
each other, what follows is shifted to begin when the last frame ends; sound keeps its place beside
the pictures.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

# Seconds, as in the ffmpeg program: stamps in disorder are no restart, and only containers made for
# broadcasts jump, where others have a long frame
DISORDER, JUMP = 0.1, 10.0
TIMES_JUMP = 0x0200  # FFmpeg's number, among the flags of such containers

Waiting = deque[tuple["Packet[Stream]", bool]]


class Track(NamedTuple):
    """State of a stream as far as it was read, in seconds of the timeline."""

    shift: float  # of its stamps
    last: float  # decoding time of the last packet
    lasts: float  # duration of the last packet
    end: float  # of all that is shown
    waits_for: int = 0  # the join of the video that its own restart belongs to


class Timeline:
    """Packets of a container on one timeline, which its video leads."""

    def __init__(self, container: InputContainer, video: av.VideoStream) -> None:
        self.container, self.video = container, video
        self.jumps = bool(container.format.flags & TIMES_JUMP)
        self.frame_seconds = 1 / float(video.average_rate or video.guessed_rate or 25)
        self.tracks: dict[int, Track] = {}
        self.shift, self.num_joins = 0.0, 0  # of the video, so far

    def packets(self, *streams: Stream) -> Iterator["Packet[Stream]"]:
        """Yield the packets from here to the end, of the video and of these streams, or of all.

        They are marked as corrupt where a part is missing.  At the join of transport streams, whose
        counters restart, FFmpeg marks one of the last two packets though it is complete.
        """
        self.tracks.clear()
        self.shift, self.num_joins = 0.0, 0
        waiting: Waiting = deque()  # each with whether a recording may begin there
        for packet in self.container.demux(*([self.video, *streams] if streams else [])):
            waiting.append((packet, self.place(packet)))
            while waiting and self.is_judged(waiting):
                yield waiting.popleft()[0]
        yield from (packet for packet, _ in waiting)

    def is_judged(self, waiting: Waiting) -> bool:
        """Correct the first packet's mark; tell whether enough later packets are known for it."""
        (first, _), *others = waiting
        later = [(packet, begins) for packet, begins in others if packet.size]
        if not first.is_corrupt:
            return True
        if first.stream.index != self.video.index:
            first.is_corrupt = not later  # at the end of a file that was cut
            return bool(later)
        begin = [begins for packet, begins in later if packet.stream.index == self.video.index]
        first.is_corrupt = not any(begin[:2])
        return len(begin) >= 2 or not first.is_corrupt

    def place(self, packet: "Packet[Stream]") -> bool:
        """Shift a packet to its place; tell whether another recording may begin with it."""
        index, tick = packet.stream.index, float(packet.time_base or 1)
        track = self.tracks.get(index)
        shift, begins = self.shift if track is None else track.shift, False
        if packet.dts is not None:
            decoded = packet.dts * tick
            shown = decoded if packet.pts is None else packet.pts * tick
            leads = index == self.video.index
            lasts = (packet.duration or 0) * tick or (self.frame_seconds if leads else 0.0)
            end, waits_for = shown + shift, 0
            if track is not None:
                shift, waits_for = self.usual_shift(track, decoded, leads)
                expected = track.last + track.lasts
                gap = decoded + shift - expected
                restarts = decoded + shift < track.last - DISORDER or (self.jumps and gap > JUMP)
                if restarts:
                    shift = max(expected - decoded, track.end - shown)
                    waits_for = self.num_joins + 1
                    if leads:
                        shift = self.join(shift)
                begins = restarts or (packet.is_keyframe and abs(gap) <= tick)
                end = track.end
            end = max(end, shown + shift + lasts)
            self.tracks[index] = Track(shift, decoded + shift, lasts, end, waits_for)
        ticks = round(shift / tick)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        return begins

    def usual_shift(self, track: Track, decoded: float, leads: bool) -> tuple[float, int]:
        """Shift of a track's next packet if nothing restarts there, and the join it waits for."""
        if leads or track.waits_for > self.num_joins:
            return track.shift, track.waits_for
        if track.waits_for:
            return self.shift, 0
        # some packets of a stream come after the first of the next recording's video
        expected = track.last + track.lasts
        return min(track.shift, self.shift, key=lambda own: abs(decoded + own - expected)), 0

    def join(self, shift: float) -> float:
        """Continue the video with a shift, or a larger one where sound has continued already."""
        waiting = [track for track in self.tracks.values() if track.waits_for > self.num_joins]
        self.shift = max([shift, *(track.shift - track.lasts / 2 for track in waiting)])
        self.num_joins += 1
        return self.shift
