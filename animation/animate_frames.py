"""One animation of frames in memory, cut as the command cuts those of files."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from animation.animator import Animator, Motion
from animation.cropper import Framing, chosen_framing, fit_portrait, training_crop
from faces.main_face import median_face, spread
from media.pictures import Picture, resized

LOOKED_AT = 32  # frames of a stream, whose length is not known, in which the face is looked for


def animate_frames(
    animator: Animator,
    source: Picture,
    frames: Iterable[Picture],
    *,
    framing: Framing | None = None,
    paste: bool = False,
    motion: Motion = "relative",
    adapt_scale: bool = False,
    initial: Picture | None = None,
    batch_size: int | None = None,
) -> Iterator[Picture]:
    """The source re-enacted: one frame for each driving frame, RGB uint8 (H, W, 3).

    Without a ``framing`` faces are cut as by the command without --fit: where the animator's
    checkpoint says how, and a face is found; with ``paste`` in any case.  All driving frames have
    one cut, around the face in some of them, or in some of the first where ``frames`` is no
    sequence.  Relative motion counts from the driving frame ``initial``, or else from the first.
    """
    if framing is None and animator.checkpoint is not None:
        framing = chosen_framing(None, paste, animator.checkpoint)
    portrait = fit_portrait(animator, source, framing)
    known: Sequence[Picture]
    if isinstance(frames, Sequence | np.ndarray):
        known = list(frames)
    else:
        stream = iter(frames)
        known = list(itertools.islice(stream, LOOKED_AT))
        frames = itertools.chain(known, stream)
    if not known:
        return
    size = known[0].shape[:2]
    find = partial(median_face, spread(known))
    crop = training_crop(animator, framing, size, find, "the driving frames")

    def fit(frame: Picture) -> Picture:
        return animator.fit(frame) if crop is None else crop.frame(resized(frame, size))

    results = animator.animate(
        portrait.frame,
        map(fit, frames),
        motion=motion,
        adapt_scale=adapt_scale,
        initial=None if initial is None else fit(initial),
        batch_size=batch_size,
    )
    yield from map(portrait.output, results)
