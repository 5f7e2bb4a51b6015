"""A list of pairs, animated with one network into a folder that the evaluation reads."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from animation.animator import Animator, Motion, batches
from animation.best_frame import WAITING, Options, animated, initial_keypoints
from animation.cropper import Framing, fit_portrait, picture_fitter
from animation.driving import DrivingVideo
from animation.motion_transfer import AS_DRIVEN, transfer_motion
from animation.pair_folder import RECORD, Format, PairFolder
from datasets.clips import Clip
from datasets.pair_list import FrameRef, Pair, PairList, read_refs
from media.pictures import Picture, fitted
from media.video import read_frames
from modules.checkpoints import weights_file
from utils.errors import InputError
from utils.files import file_sha256, require_apart
from utils.prefetch import write_async
from utils.progress import progress_bar
from utils.wording import counted

SHOWN = 5  # problems that are told where there may be thousands


def animate_pairs(
    animator: Animator,
    pair_list: PairList,
    output: Path,
    options: Options,
    *,
    format: Format = "png",
    checkpoint: str | Path | None = None,
    framing: Framing | None = None,
) -> dict[str, str]:
    """Animates every pair of a list into a folder (see ``animation.pair_folder``).

    With a ``framing`` faces are cut as in single animations, but not in frames that a protocol
    prescribes: InputError where it asks for just that.
    The folder of an earlier call with the same list, data root, checkpoint and settings is
    continued.  Returns the rows that are missing and the pairs that failed, with the reasons.
    Raises InputError where the folder meets one of the files that are read.
    """
    require_apart(output, *pair_list.inputs)
    if all(pair.of_protocol for pair in pair_list.pairs):
        if framing is not None and framing.always:
            raise InputError(
                f"The frames of {pair_list.path} are as their protocol prescribes: leave out --fit "
                "training and --paste."
            )
        framing = None
    if framing is not None and framing.paste and options.panels:
        raise InputError("--paste goes without --panels: leave out one of them.")
    options.strength.require_usable(animator.has_landmarks)
    settings: dict[str, Any] = {
        "pairs_sha256": pair_list.sha256,
        "root": None if pair_list.root is None else str(pair_list.root),
        "checkpoint_sha256": None if checkpoint is None else file_sha256(weights_file(checkpoint)),
        "size": list(animator.size),
        "fit": animator.how_to_fit if framing is None else framing.as_text(),
        "precision": animator.checked_precision(readable(pair_list.pairs)),
        "motion": options.motion or "as the protocol prescribes",
        "adapt_scale": options.adapt_scale,
        "best_frame": options.best_frame,
        "head": options.strength.head,
        "expression": options.strength.expression,
        "only": list(options.strength.parts),
    }
    motions = {pair.name: options.motion or pair.motion for pair in pair_list.pairs}
    num_absolute = list(motions.values()).count("absolute")
    if num_absolute and options.strength != AS_DRIVEN:
        raise InputError(
            "--head, --expression and --only need relative motion, and the protocol prescribes "
            f"absolute motion for {num_absolute} of the pairs: add --motion relative."
        )
    folder = PairFolder(output, settings, format, options.panels)
    folder.record(pair_list, motions, failed=None)
    failed: dict[str, str] = {}
    with progress_bar(total=len(pair_list.pairs), unit="pair") as progress:
        batch_size = options.batch_size or animator.batch_size
        if options.adapt_scale or animator.has_landmarks:  # each pair has a scale of its own
            batch_size = 1
        for pairs in rendered_together(pair_list.pairs, motions, batch_size):
            if not all(map(folder.is_done, pairs)):
                how = options._replace(motion=motions[pairs[0].name])
                cut = None if pairs[0].of_protocol else framing
                failed.update(animate_or_reasons(animator, pairs, folder, how, cut))
            progress.update(len(pairs))
    folder.record(pair_list, motions, failed)
    return {**pair_list.missing, **failed}


def readable(pairs: Iterable[Pair]) -> Iterator[tuple[Picture, Picture]]:
    """The source and the first driving frame of each pair whose files can be read."""
    for pair in pairs:
        try:
            source, driving = pair.source.read(), first_picture(pair.driving)
        except InputError:
            continue
        yield source, driving


def first_picture(driving: FrameRef | Clip) -> Picture:
    if isinstance(driving, FrameRef):
        return driving.read()
    return next(read_frames(driving.path)).image


def rendered_together(
    pairs: Sequence[Pair], motions: dict[str, Motion], batch_size: int
) -> Iterator[list[Pair]]:
    """The pairs in order: clips alone, pictures that move alike in batches."""
    kinds = itertools.groupby(
        pairs,
        lambda pair: (isinstance(pair.driving, Clip), motions[pair.name], pair.of_protocol),
    )
    for (is_clip, *_), alike in kinds:
        yield from batches(alike, 1 if is_clip else batch_size)


def animate_or_reasons(
    animator: Animator,
    pairs: list[Pair],
    folder: PairFolder,
    options: Options,
    framing: Framing | None,
) -> dict[str, str]:
    """Writes some pairs; returns why some cannot be, which does not stop the others."""
    try:
        if isinstance(pairs[0].driving, Clip):
            animate_clip(animator, pairs[0], folder, options, framing)
        else:
            animate_stills(animator, pairs, folder, options, framing)
    except InputError as error:
        if len(pairs) == 1:
            return {pairs[0].name: str(error)}
        reasons = [animate_or_reasons(animator, [pair], folder, options, framing) for pair in pairs]
        return {name: reason for each in reasons for name, reason in each.items()}
    return {}


def animate_clip(
    animator: Animator,
    pair: Pair,
    folder: PairFolder,
    options: Options,
    framing: Framing | None,
) -> None:
    """Writes a source picture animated by all frames of a clip."""
    assert isinstance(pair.driving, Clip)
    portrait = fit_portrait(animator, pair.source.read(), framing, pair.source.path)
    driving = DrivingVideo(animator, pair.driving.path, framing=framing)
    if isinstance(pair.best_frame, FrameRef):
        relative = options.motion == "relative"
        best = driving.fit(fitted(pair.best_frame.read(), driving.video.size))
        initial = animator.detect([best]) if relative else None
    else:
        first = 0 if pair.of_protocol else None
        best_frame = pair.best_frame or (
            first if options.best_frame is None else options.best_frame
        )
        initial = initial_keypoints(
            animator, portrait.frame, driving, options._replace(best_frame=best_frame)
        )
    with (
        folder.clip_writer(
            pair, portrait.seen(portrait.frame), driving.rate, driving.sound
        ) as write,
        write_async(write, WAITING) as submit,
        animated(animator, portrait.frame, driving, initial, options) as results,
    ):
        for moment, result in results:
            (frame,) = moment.pictures
            submit(portrait.seen(frame), portrait.output(result), moment.time)


def animate_stills(
    animator: Animator,
    pairs: Sequence[Pair],
    folder: PairFolder,
    options: Options,
    framing: Framing | None,
) -> None:
    """Writes pairs of pictures, rendered as one batch."""
    drivings = [pair.driving for pair in pairs if isinstance(pair.driving, FrameRef)]
    best_frames = [pair.best_frame for pair in pairs if isinstance(pair.best_frame, FrameRef)]
    images = read_refs([*(pair.source for pair in pairs), *drivings])
    portraits = [
        fit_portrait(animator, image, framing, pair.source.path)
        for pair, image in zip(pairs, images, strict=False)
    ]
    images = images[len(pairs) :]
    fitters = [
        picture_fitter(animator, image, ref.path, framing)
        for image, ref in zip(images, drivings, strict=True)
    ]
    seen = [fit(image) for fit, image in zip(fitters, images, strict=True)]
    encoded = animator.encode(*(portrait.frame for portrait in portraits))
    driving = animator.detect(seen)
    if options.motion == "relative":
        if len(best_frames) < len(pairs):
            raise InputError("Relative motion by a single picture needs a best_frame.")
        best = [  # cut where the driving pictures are, which are of the same clips
            fit(fitted(picture, image.shape[:2]))
            for fit, picture, image in zip(fitters, read_refs(best_frames), images, strict=True)
        ]
        initial = animator.detect(best)
        driving = transfer_motion(
            *(encoded.keypoints, driving, initial),
            scale=animator.movement_scale(encoded.keypoints, initial, options.adapt_scale),
            strength=options.strength,
            aspect=animator.aspect,
        )
    results = animator.render(encoded, driving)
    for pair, portrait, frame, result in zip(pairs, portraits, seen, results, strict=True):
        folder.write_still(
            pair,
            portrait.seen(portrait.frame),
            portrait.seen(frame),
            portrait.output(result),
        )


def report(problems: dict[str, str], output: Path) -> int:
    """Names the first rows that are missing or failed; the exit code of the command."""
    if problems:
        first = [f"{name}: {reason}" for name, reason in list(problems.items())[:SHOWN]]
        more = len(problems) - len(first)
        rest = [f"and {more} more: all are in {output / RECORD}"] if more else []
        are = "is" if len(problems) == 1 else "are"
        head = f"{counted(len(problems), 'pair')} {are} missing or failed:"
        lines = [head, *first, *rest]
        print("\n".join(lines), file=sys.stderr)
    return 1 if problems else 0
