"""Convert stored video frames to what is displayed: upright, with square pixels, in sRGB.

A file states how to turn, mirror, stretch and colour its stored frames.  All of that is done here,
and all frames get one size, so that everything else works on plain pictures.
"""

import struct
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from media.codecs import FULL_RANGE, LIMITED_RANGE, ONE_THREAD
from media.colours import srgb_table
from media.pictures import ALIKE, Picture, on_black, over_white, resized, size_within

# FFmpeg's numbers for bicubic, accurate rounding and full chroma.  By default it rounds all colours
# down, by a level, and repeats the chroma of 2 x 2 pixels instead of interpolating it
EXACT = 0x4 | 0x40000 | 0x2000
EXIF = 31  # FFmpeg's number of this kind of side data


class Orientation(NamedTuple):
    """Orientation of a stored frame: transposed, then mirrored, it is upright."""

    transposed: bool
    mirrored: bool  # left and right exchanged, after the transposition
    flipped: bool  # top and bottom

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Orientation":
        """Read the frame's display matrix, to the nearest quarter of a turn."""
        try:
            stated = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:
            stated = without_exif(frame).side_data.get("DISPLAYMATRIX")
        if stated is None:
            return cls(False, False, False)
        # x' = a x + c y and y' = b x + d y, with y downwards
        a, b, _, c, d = struct.unpack("=5i", bytes(cast(Any, stated))[:20])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def upright(self, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn (H, W, C) as stored, or (W, H, C), upright."""
        turned = stored.swapaxes(0, 1) if self.transposed else stored
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned[::-1] if self.flipped else turned)

    @property
    def filters(self) -> list[tuple[str, str]]:
        """FFmpeg's filters for the orientation, with their arguments."""
        steps = {
            ("transpose", "cclock_flip"): self.transposed,
            ("hflip", ""): self.mirrored,
            ("vflip", ""): self.flipped,
        }
        return [step for step, is_taken in steps.items() if is_taken]


class Display(NamedTuple):
    """Size, shape of the pixels and colours of all frames of a video."""

    size: tuple[int, int]  # height and width of the first frame, upright and with square pixels
    pixel_aspect: Fraction  # width / height of a stored pixel
    primaries: int  # FFmpeg's number of the colours of red, green and blue
    transfer: int  # FFmpeg's number of the curve from light to values

    @classmethod
    def of(cls, stream: av.VideoStream, first: av.VideoFrame) -> "Display":
        """Read the statements of a stream, once its first frame is decoded."""
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        if abs(aspect - 1) < ALIKE:  # encoders that round sides to even numbers state 1216:1215
            aspect = Fraction(1)
        codec: Any = stream.codec_context
        unsized = cls((0, 0), aspect, int(codec.color_primaries), int(codec.color_trc))
        return unsized._replace(size=unsized.own_size(first))

    def own_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Height and width of a frame, upright and with square pixels."""
        width = max(round(frame.width * self.pixel_aspect), 1)
        is_transposed = Orientation.of(frame).transposed
        return (width, frame.height) if is_transposed else (frame.height, width)

    def picture(self, frame: av.VideoFrame, *, quickly: bool = False) -> Picture:
        """Convert a frame to a picture (H, W, 3).

        One whose size differs from the first one's is resized; where its shape differs too, it
        is put in the middle, on black.  ``quickly`` lets FFmpeg resize, which is less exact.
        """
        height, width = size_within(self.own_size(frame), self.size)
        if quickly:
            stored = (width, height) if Orientation.of(frame).transposed else (height, width)
            small = frame.to_ndarray(
                height=stored[0], width=stored[1], format="rgb24", **ONE_THREAD
            )
            image = Orientation.of(frame).upright(cast(Picture, small))
        else:
            image = resized(upright(frame), (height, width))
        return on_black(self.in_srgb(image), self.size)

    def in_srgb(self, image: Picture) -> Picture:
        """Convert an RGB picture from the video's colours to sRGB."""
        table = srgb_table(self.primaries, self.transfer)
        return image if table is None else table(image)


def without_exif(frame: av.VideoFrame) -> av.VideoFrame:
    """Drop the EXIF that photographs in Motion JPEG bring along: PyAV 17 and 18 fail at it."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    drop = graph.add("sidedata", f"mode=delete:type={EXIF}")
    graph.link_nodes(source, drop, graph.add("buffersink")).configure()
    graph.push(frame)
    return cast(av.VideoFrame, graph.pull())


def upright(frame: av.VideoFrame) -> Picture:
    """Convert a frame to RGB, turned and mirrored by its display matrix, over white."""
    if any(component.is_alpha for component in frame.format.components):
        image = over_white(to_rgb(frame, "rgba"))
    else:
        image = to_rgb(frame)
    return Orientation.of(frame).upright(image)


def to_rgb(
    frame: av.VideoFrame, format: str = "rgb24", *, tags: av.VideoFrame | None = None
) -> NDArray[np.uint8]:
    """Convert a stored frame to an RGB format by the colour matrix and range of ``tags``.

    Without ``tags`` they are those of the frame itself.
    """
    tags = tags or frame
    # PyAV 16 uses the tags only if the ranges differ; that of the RGB side changes nothing
    other_range = FULL_RANGE if tags.color_range != FULL_RANGE else LIMITED_RANGE
    array = frame.to_ndarray(
        format=format,
        interpolation=EXACT,
        src_colorspace=tags.colorspace,
        src_color_range=tags.color_range,
        dst_color_range=other_range,
        **ONE_THREAD,
    )
    return cast(NDArray[np.uint8], array)
