"""Where a video is cut from one scene to the next, by FFmpeg's scene score of the frames."""

from fractions import Fraction

import av
from av.filter import Graph

from media.pictures import Picture

# Of the score, from 0 to 1.  Of 97 cuts between different clips of talking people the lowest
# scored 0.21, and 5 of 7320 frames within clips scored more, in two clips filmed by hand from very
# near.  A cut that is missed joins two people; one too many costs no more than a split.
THRESHOLD = 0.2


class CutFinder:
    """Told the frames of a video one after the other, knows at which of them a scene begins.

    It keeps the last frame alone.  The colours count too: pass RGB, about 256 pixels wide.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self.graph: Graph | None = None
        self.count = 0

    def begins_scene(self, frame: Picture) -> bool:
        """Whether the frame, of the same size as those before it, is the first after a cut."""
        self.graph = self.graph or self._graph(frame)
        shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
        shown.pts, self.count = self.count, self.count + 1
        self.graph.push(shown)
        try:
            self.graph.pull()
        except BlockingIOError:  # the filter kept the frame back: no cut
            return False
        return True

    def _graph(self, frame: Picture) -> Graph:
        height, width, _ = frame.shape
        graph = Graph()
        graph.link_nodes(
            graph.add_buffer(
                width=width,
                height=height,
                format=av.VideoFormat("rgb24"),
                time_base=Fraction(1, 25),
            ),
            graph.add("select", f"gt(scene,{self.threshold})"),
            graph.add("buffersink"),
        ).configure()
        return graph
