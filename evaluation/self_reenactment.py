"""Self-reenactment: units whose driving frame is the truth, and the renderer of a network.

The protocols of the papers: **video** (FOMM), where the first frame of a test clip is driven by
every frame of it, and **pairs** (DaGAN, MCNet), where a list names two frames of one person.  Both
take the driving keypoints as they are (absolute motion).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from animation.animator import Animator
from datasets.clips import Clip, iterate_frames
from datasets.frame_finder import FrameRef, read_refs
from datasets.pair_list import Pair
from evaluation.metrics.landmarks import GivenLandmarks, given_files
from evaluation.metrics.pixels import to_pictures
from evaluation.work_units import Dropped, FrameBatch, Unit, UnitFrame, read_units
from inference.fused_network import FusedEncoded
from media.pictures import Picture
from utils.errors import InputError

Resize = Callable[[Picture], Picture]


def clip_unit(clip: Clip, resize: Resize, landmarks: Path | None = None) -> Unit:
    """Make the unit of a clip whose first frame is the source of all its frames.

    ``landmarks`` is the folder with those of the driving frames.
    """
    return Unit(
        name=clip.name,
        num_frames=clip.num_frames,
        files=[clip.path, *given_files(landmarks, [clip.path])],
        read=partial(read_clip, clip, resize, landmarks),
    )


def read_clip(clip: Clip, resize: Resize, landmarks: Path | None) -> Iterator[UnitFrame]:
    """Read the frames of a clip, driven from the first."""
    source, given = None, GivenLandmarks(landmarks, clip.path)
    for number, image in enumerate(iterate_frames(clip.path)):
        real = resize(image)
        source = real if source is None else source
        yield UnitFrame(
            clip=clip.name,
            identity=clip.identity,
            frame=f"{number:07d}",
            source=source,
            real=real,
            generated=None,
            landmarks=given(number, real),
        )


def pair_units(pairs: Sequence[Pair], resize: Resize, landmarks: Path | None = None) -> list[Unit]:
    """Make a unit of the pairs of each driving clip."""
    clips: dict[str, list[Pair]] = {}
    for pair in pairs:
        assert isinstance(pair.driving, FrameRef)
        clips.setdefault(pair.driving.clip, []).append(pair)
    units = []
    for name, members in clips.items():
        files = [ref.path for pair in members for ref in (pair.source, pair.driving)]
        files += given_files(landmarks, (clip_of(pair.driving) for pair in members))
        read = partial(read_pairs, name, members, resize, landmarks)
        units.append(Unit(name, len(members), list(dict.fromkeys(files)), read))
    return units


def read_pairs(
    clip: str, pairs: Sequence[Pair], resize: Resize, landmarks: Path | None
) -> Iterator[UnitFrame | Dropped]:
    """Read the pairs of one driving clip."""
    uses = Counter(map(name_within_clip, pairs))
    given = cache(partial(GivenLandmarks, landmarks))  # by clip
    for pair in pairs:
        assert isinstance(pair.driving, FrameRef)
        name = name_within_clip(pair)
        try:
            source, real = (resize(image) for image in read_refs([pair.source, pair.driving]))
        except InputError as error:
            yield Dropped(pair.name, str(error))
            continue
        frame = pair.driving.path if pair.driving.number is None else pair.driving.number
        yield UnitFrame(
            clip=clip,
            identity=pair.driving.identity,
            frame=name if uses[name] == 1 else pair.name,
            source=source,
            real=real,
            generated=None,
            landmarks=given(clip_of(pair.driving))(frame, real),
        )


def name_within_clip(pair: Pair) -> str:
    """Name the driving frame among the pairs of its clip: two may differ in best_frame."""
    assert isinstance(pair.driving, FrameRef)
    inside = pair.source.clip == pair.driving.clip
    return f"{pair.driving.name} from {pair.source.name}" if inside else pair.name


def clip_of(ref: FrameRef | Clip) -> Path:
    """Return the video, strip or folder of frames that a frame is in."""
    assert isinstance(ref, FrameRef)
    return ref.path.parent if ref.number is None else ref.path


def first_pictures(units: Sequence[Unit]) -> Iterator[tuple[Picture, Picture]]:
    """Read the source and the first driving frame of each unit, as far as they can be read."""
    with read_units(units, batch_size=1) as read:
        for _, item in read:
            if isinstance(item, FrameBatch) and item.source is not None:
                yield item.source[0], item.real[0]


class Source:
    """Source of a batch of frames, or of many, which the first of them encodes."""

    def __init__(self, pictures: np.ndarray) -> None:
        """Take one picture for all frames of a batch, or one for each: (1 or B, H, W, 3)."""
        self.pictures = pictures
        self.lock = Lock()
        self.encoded: FusedEncoded | None = None

    def encode(self, animator: Animator) -> FusedEncoded:
        """Encode the pictures, unless that has been done."""
        with self.lock:
            if self.encoded is None:
                self.encoded = animator.encode(*self.pictures)
            return self.encoded


class Renderer:
    """Renderer of batches of driving frames by a network, from their sources.

    Several threads may render at once; a source that lasts for several batches is encoded once.
    """

    def __init__(self, animator: Animator) -> None:
        self.animator = animator
        self.lock = Lock()
        self.source = Source(np.empty(0))  # of the batch that was begun last

    def __call__(self, source: np.ndarray, driving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Render ``driving`` (B, H, W, 3) from ``source`` (1 or B, H, W, 3); RGB uint8.

        Returns the generated frames (B, H, W, 3), RGB uint8, and which of them are finite (B,).
        """
        with self.lock:
            if not np.array_equal(source, self.source.pictures):
                self.source = Source(source)
            own = self.source
        encoded = own.encode(self.animator)
        prediction = self.animator.predict(encoded, self.animator.detect(list(driving)))
        finite = torch.isfinite(prediction).flatten(1).all(dim=1)
        return to_pictures(prediction.nan_to_num(0)), finite.cpu().numpy()
