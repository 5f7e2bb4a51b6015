"""Draw pairs of frames of one clip: random ones for training, fixed ones for validation.

Every random choice is a function of (seed, epoch, index) alone: a resumed run continues exactly,
and neither the number of workers nor that of processes changes the pairs.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from datasets.augmentation import augment
from datasets.clips import Clip
from datasets.config import DataConfig
from datasets.frame_cache import CachedClip
from datasets.landmark_files import landmark_file
from datasets.stills import Still
from datasets.streaming.storage import StreamError
from datasets.training_clips import TrainingClip
from media.pictures import channels_first, resized
from modules.face_landmarks import NUM_LANDMARKS
from utils.errors import InputError
from utils.wording import counted

logger = logging.getLogger(__name__)

Key = tuple[int, int]  # epoch and index
AnyClip = TypeVar("AnyClip", bound=TrainingClip)

MAX_DRAWS = 10  # of clips for one pair; after that the damage is more than that of single clips
GOLDEN_RATIO = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly, however many


class TrainingPair(NamedTuple):
    """Two frames of one clip, uint8 until they are on the device."""

    source: Tensor  # (3, H, W) uint8
    driving: Tensor  # (3, H, W) uint8
    landmarks: Tensor  # (2, 68, 2) of source and driving, (x, y) in [-1, 1]; NaN: unknown
    clip: str
    unreadable: tuple[str, ...] = ()  # names of clips that could not be read for this pair


class FramePairs(NamedTuple):
    """Batch of pairs on the device, with the facial landmarks of their frames."""

    source: Tensor  # (B, 3, H, W) in [0, 1]
    driving: Tensor  # (B, 3, H, W) in [0, 1]
    landmarks: Tensor  # (B, 2, 68, 2) of source and driving in [-1, 1]; NaN: unknown


def unlabelled(source: Tensor, driving: Tensor) -> FramePairs:
    """Make pairs of frames (B, 3, H, W) in [0, 1] whose landmarks are unknown."""
    return FramePairs(
        source, driving, source.new_full((len(source), 2, NUM_LANDMARKS, 2), torch.nan)
    )


class Batch(NamedTuple):
    """Batch of pairs in the memory of the CPU."""

    source: Tensor  # (B, 3, H, W) uint8
    driving: Tensor  # (B, 3, H, W) uint8
    landmarks: Tensor  # (B, 2, 68, 2)
    clips: list[str]
    unreadable: list[str]

    def frames(self, device: torch.device) -> FramePairs:
        """Copy the pairs to a device, images in [0, 1] in PyTorch's default type, float32."""
        source, driving = (
            images.to(device, non_blocking=True).to(torch.get_default_dtype()).div_(255)
            for images in (self.source, self.driving)
        )
        return FramePairs(source, driving, self.landmarks.to(device, non_blocking=True))


class PairDataset(Dataset[TrainingPair]):
    """Random pairs by keys (epoch, index).

    An epoch passes ``config.repeats`` times over the clips or, with identity sampling, over the
    people, each time with a random clip of the person.  Random ``stills`` of random people take
    the place of a share of the pairs.
    """

    def __init__(
        self,
        clips: Sequence[TrainingClip],
        config: DataConfig,
        seed: int,
        stills: Sequence[Still] = (),
    ) -> None:
        self.clips, self.config, self.seed = clips, config, seed
        self.choices = _by_identity(clips) if config.identity_sampling else [[c] for c in clips]
        self.stills = _by_identity(stills)

    def __len__(self) -> int:
        return len(self.choices) * self.config.repeats

    def __getitem__(self, key: Key) -> TrainingPair:
        """Draw the pair of a key; it names unreadable clips, in whose place another is drawn."""
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        choices: Sequence[TrainingClip] = self.choices[index % len(self.choices)]
        unreadable: list[str] = []
        settings = self.config.stills
        if self.stills and settings is not None and rng.random() < settings.share:
            choices = self.stills[int(rng.integers(len(self.stills)))]
        while len(unreadable) < MAX_DRAWS:
            clip = choices[int(rng.integers(len(choices)))]
            try:
                numbers = _two_frames(clip, rng)
                pair = load_frames(clip, numbers, self.config.frame_size)
                landmarks = load_landmarks(clip, numbers, self.config.landmarks)
            except StreamError:
                raise  # it holds for all clips, and pairs must not depend on a connection
            except InputError:
                unreadable.append(clip.name)
                choices = self.clips
            else:
                (source, driving), landmarks = augment(
                    pair,
                    landmarks,
                    self.config.augmentation,
                    rng,
                    still=settings if isinstance(clip, Still) else None,
                )
                return TrainingPair(source, driving, landmarks, clip.name, tuple(unreadable))
        raise InputError(f"{MAX_DRAWS} clips in a row are unreadable, the last {unreadable[-1]}.")


class PairSampler(Sampler[list[Key]]):
    """Keys (epoch, index) of the batches of one process, without end.

    Every epoch is shuffled anew, and its short last batch is dropped.  Batch t of all processes
    together is the same for any number of them; process ``rank`` has its rows from
    ``rank * batch_size`` on.  ``start_batch`` is the first t.
    """

    def __init__(
        self,
        num_pairs: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
    ) -> None:
        self.num_pairs, self.batch_size, self.seed = num_pairs, batch_size, seed
        self.rank, self.world_size, self.start_batch = rank, world_size, start_batch
        self.batches_per_epoch = num_pairs // (batch_size * world_size)
        if self.batches_per_epoch == 0:
            raise InputError(
                f"An epoch of {counted(num_pairs, 'pair')} does not fill a batch of "
                f"{batch_size * world_size}: raise data.repeats or lower train.batch_size."
            )

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first = divmod(self.start_batch, self.batches_per_epoch)
        while True:
            rng = np.random.default_rng([self.seed, epoch, self.num_pairs])  # no index is that
            order = rng.permutation(self.num_pairs).tolist()
            for batch in range(first, self.batches_per_epoch):
                start = (batch * self.world_size + self.rank) * self.batch_size
                yield [(epoch, index) for index in order[start : start + self.batch_size]]
            epoch, first = epoch + 1, 0


def collate(pairs: Sequence[TrainingPair]) -> Batch:
    """Stack pairs to a batch."""
    return Batch(
        torch.stack([pair.source for pair in pairs]),
        torch.stack([pair.driving for pair in pairs]),
        torch.stack([pair.landmarks for pair in pairs]),
        [pair.clip for pair in pairs],
        [name for pair in pairs for name in pair.unreadable],
    )


def load_frames(clip: TrainingClip, numbers: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Read frames of a clip, (N, 3, H, W) uint8 of the given height and width."""
    return channels_first([resized(frame, size) for frame in clip.frames(numbers)]).contiguous()


def load_landmarks(clip: TrainingClip, numbers: Sequence[int], folder: Path | None) -> Tensor:
    """Read landmarks of frames of a clip, (N, 68, 2) in [-1, 1]; NaN where ``folder`` has none."""
    file = None
    if folder is not None and isinstance(clip, Clip | CachedClip):
        file = landmark_file(folder, clip.path)
    if file is None:
        return torch.full((len(numbers), NUM_LANDMARKS, 2), torch.nan)
    return torch.from_numpy(file.read(numbers))


def fixed_pairs(
    clips: Sequence[TrainingClip], config: DataConfig, count: int
) -> list[TrainingPair]:
    """Choose pairs for validation, spread over people, clips and frames; no choice is random.

    The source is the first frame of a clip, the driving frame comes from its later three
    quarters.  An unreadable clip is named in the log and left out.
    """
    order = _in_turns([clip for clip in clips if clip.num_frames > 1])
    pairs: list[TrainingPair] = []
    while order and len(pairs) < count:
        clip = order[len(pairs) % len(order)]
        position = 0.25 + 0.75 * (len(pairs) * GOLDEN_RATIO % 1)
        frame = max(1, round(position * (clip.num_frames - 1)))
        try:
            source, driving = load_frames(clip, [0, frame], config.frame_size)
            landmarks = load_landmarks(clip, [0, frame], config.landmarks)
        except StreamError:
            raise
        except InputError as error:
            logger.warning("Clip left out: %s", error)
            order.remove(clip)
        else:
            pairs.append(TrainingPair(source, driving, landmarks, clip.name))
    if not pairs:
        raise InputError("No clip of the test split has two readable frames: add one that has.")
    return pairs


def _by_identity(clips: Iterable[AnyClip]) -> list[list[AnyClip]]:
    people: dict[str, list[AnyClip]] = {}
    for clip in clips:
        people.setdefault(clip.identity, []).append(clip)
    return list(people.values())


def _in_turns(clips: Iterable[TrainingClip]) -> list[TrainingClip]:
    """Order the clips: the first of every person, then the second, and so on."""
    rounds = zip_longest(*_by_identity(clips))
    return [clip for turn in rounds for clip in turn if clip is not None]


def _two_frames(clip: TrainingClip, rng: np.random.Generator) -> list[int]:
    """Draw two frame numbers in order, which differ where the clip has two frames."""
    if clip.num_frames == 1:
        return [0, 0]
    return sorted(rng.choice(clip.num_frames, size=2, replace=False).tolist())
