"""Animate a list of pairs with one network into a folder that the evaluation reads."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from animation.animate_file import WAITING, AnimationOptions, animated, initial_keypoints
from animation.animator import Animator, Motion, batches
from animation.cropper import CropPolicy, driving_fit, fit_source
from animation.driving import DrivingVideo
from animation.motion_transfer import AS_DRIVEN, RelativeMotion
from animation.pair_folder import RECORD, Format, PairFolder
from datasets.clips import Clip
from datasets.pair_list import FrameRef, Pair, PairList, read_refs
from faces.main_face import main_face
from media.pictures import Picture, fitted
from media.video import read_frames
from modules.checkpoints import weights_file
from utils.errors import InputError
from utils.files import file_sha256, require_apart
from utils.prefetch import write_async
from utils.progress import progress_bar
from utils.wording import counted

LISTED = 5  # problems that are printed where there may be thousands


def animate_pairs(
    animator: Animator,
    pair_list: PairList,
    output: Path,
    options: AnimationOptions,
    *,
    format: Format = "png",
    checkpoint: str | Path | None = None,
    policy: CropPolicy | None = None,
) -> dict[str, str]:
    """Animate every pair of a list into a folder of pictures (see ``animation.pair_folder``).

    With a ``policy`` faces are cropped as in single animations, but not in frames that a protocol
    prescribes: InputError where it asks for just that.
    The folder of an earlier call with the same list, data root, checkpoint and settings is
    continued.  Returns the rows that are missing and the pairs that failed, with the reasons.
    Raises InputError where the folder meets one of the files that are read.
    """
    require_apart(output, *pair_list.inputs)
    if all(pair.of_protocol for pair in pair_list.pairs):
        if policy is not None and policy.always:
            raise InputError(
                f"The frames of {pair_list.path} are as their protocol prescribes: leave out --fit "
                "face and --paste."
            )
        policy = None
    options.require_usable(animator, policy)
    provenance = options.provenance(animator)
    settings: dict[str, Any] = {
        "pairs_sha256": pair_list.sha256,
        "root": None if pair_list.root is None else str(pair_list.root),
        "checkpoint_sha256": None if checkpoint is None else file_sha256(weights_file(checkpoint)),
        "size": list(animator.size),
        "fit": animator.resize_mode if policy is None else str(policy),
        "precision": animator.checked_precision(readable(pair_list.pairs)),
        "motion": options.motion or "as the protocol prescribes",
        "adapt_scale": options.adapt_scale,
        "best_frame": options.best_frame,
        "head": options.head,
        "expression": options.expression,
        "only": list(options.strength.parts),
    }
    motions = {pair.name: options.motion or pair.motion for pair in pair_list.pairs}
    num_absolute = list(motions.values()).count("absolute")
    if num_absolute and options.strength != AS_DRIVEN:
        raise InputError(
            "--head, --expression and --only need relative motion, and the protocol prescribes "
            f"absolute motion for {num_absolute} of the pairs: add --motion relative."
        )
    folder = PairFolder(output, settings, format, options.panels, provenance)
    folder.record(pair_list, motions, failed=None)
    failed: dict[str, str] = {}

    def animate(pairs: list[Pair]) -> tuple[int, dict[str, str]]:
        if all(map(folder.is_done, pairs)):
            return len(pairs), {}
        alike = replace(options, motion=motions[pairs[0].name])
        cropped = None if pairs[0].of_protocol else policy
        return len(pairs), PairRenderer(animator, folder, alike, cropped).animate(pairs)

    batch_size = options.batch_size or animator.batch_size
    if options.adapt_scale or animator.detects_landmarks:  # each pair has a scale of its own
        batch_size = 1
    together = rendered_together(pair_list.pairs, motions, batch_size)
    with progress_bar(total=len(pair_list.pairs), unit="pair") as progress:
        for is_clip, several in itertools.groupby(together, drives_by_clip):
            # The batches of a clip are computed side by side, and so are batches of pictures.
            animate_all = map if is_clip else animator.streams.map
            for count, reasons in animate_all(animate, several):
                failed |= reasons
                progress.update(count)
    folder.record(pair_list, motions, failed)
    return {**pair_list.missing, **failed}


def drives_by_clip(pairs: Sequence[Pair]) -> bool:
    """Tell whether a clip drives, which is rendered alone."""
    return isinstance(pairs[0].driving, Clip)


def readable(pairs: Iterable[Pair]) -> Iterator[tuple[Picture, Picture]]:
    """Read source and first driving frame, (H, W, 3) each, of the pairs whose files are sound."""
    for pair in pairs:
        try:
            yield pair.source.read(), first_picture(pair.driving)
        except InputError:
            continue


def first_picture(driving: FrameRef | Clip) -> Picture:
    """Read the picture (H, W, 3) that drives, or the first of a clip."""
    if isinstance(driving, FrameRef):
        return driving.read()
    return next(read_frames(driving.path)).image


def rendered_together(
    pairs: Sequence[Pair], motions: dict[str, Motion], batch_size: int
) -> Iterator[list[Pair]]:
    """Split pairs, in order, into clips alone and batches of pictures that move alike."""
    kinds = itertools.groupby(
        pairs,
        lambda pair: (isinstance(pair.driving, Clip), motions[pair.name], pair.of_protocol),
    )
    for (is_clip, *_), alike in kinds:
        yield from batches(alike, 1 if is_clip else batch_size)


class PairRenderer(NamedTuple):
    """Animation of pairs that move alike, into a folder."""

    animator: Animator
    folder: PairFolder
    options: AnimationOptions
    policy: CropPolicy | None

    def animate(self, pairs: list[Pair]) -> dict[str, str]:
        """Animate a batch of pairs; return why some failed, which does not stop the others."""
        try:
            if isinstance(pairs[0].driving, Clip):
                self.animate_clip(pairs[0], pairs[0].driving)
            else:
                self.animate_stills(pairs)
        except InputError as error:
            if len(pairs) == 1:
                return {pairs[0].name: str(error)}
            reasons = (self.animate([pair]).items() for pair in pairs)
            return dict(itertools.chain.from_iterable(reasons))
        return {}

    def animate_clip(self, pair: Pair, clip: Clip) -> None:
        """Write a source picture animated by all frames of a clip, (H, W, 3) each."""
        animator, options = self.animator, self.options
        source = fit_source(animator, pair.source.read(), self.policy, pair.source.path)
        driving = DrivingVideo(animator, clip.path, policy=self.policy)
        initial, best_frame = None, pair.best_frame or options.best_frame
        if best_frame is None and pair.of_protocol:
            best_frame = 0
        if options.motion == "relative" and isinstance(best_frame, FrameRef):
            picture = fitted(best_frame.read(), driving.video.size)
            initial = animator.detect([driving.fit(picture)])
        elif options.motion == "relative" and not isinstance(best_frame, FrameRef):
            initial = initial_keypoints(
                animator, source.picture, driving, best_frame, options.batch_size
            )
        panel = source.to_panel(source.picture)
        with (
            self.folder.clip_writer(pair, panel, driving.rate, driving.sound) as write,
            write_async(write, WAITING) as submit,
            animated(animator, source.picture, driving, initial, options) as results,
        ):
            for frame, result in results:
                (picture,) = frame.pictures
                submit(source.to_panel(picture), source.to_output(result), frame.time)

    def animate_stills(self, pairs: Sequence[Pair]) -> None:
        """Write pairs of pictures (H, W, 3), rendered as one batch."""
        animator, policy, options = self.animator, self.policy, self.options
        refs = [pair.driving for pair in pairs if isinstance(pair.driving, FrameRef)]
        best_refs = [pair.best_frame for pair in pairs if isinstance(pair.best_frame, FrameRef)]
        pictures = read_refs([*(pair.source for pair in pairs), *refs])
        sources = [
            fit_source(animator, picture, policy, pair.source.path)
            for pair, picture in zip(pairs, pictures, strict=False)
        ]
        pictures = pictures[len(pairs) :]
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        fits = [
            driving_fit(animator, policy, size, partial(main_face, picture), ref.path)
            for size, picture, ref in zip(sizes, pictures, refs, strict=True)
        ]
        seen = [fit(picture) for fit, picture in zip(fits, pictures, strict=True)]
        encoded = animator.encode(*(source.picture for source in sources))
        driving = animator.detect(seen)
        if options.motion == "relative":
            if len(best_refs) < len(pairs):
                raise InputError("Relative motion by a single picture needs a best_frame.")
            best = [  # cropped where the driving pictures are, which are of the same clips
                fit(fitted(picture, size))
                for fit, picture, size in zip(fits, read_refs(best_refs), sizes, strict=True)
            ]
            relative = RelativeMotion(
                encoded.keypoints,
                animator.detect(best),
                adapt_scale=options.adapt_scale,
                strength=options.strength,
                aspect=animator.aspect,
            )
            driving = relative(driving)
        results = animator.render(encoded, driving)
        for pair, source, frame, result in zip(pairs, sources, seen, results, strict=True):
            panels = source.to_panel(source.picture), source.to_panel(frame)
            self.folder.write_still(pair, *panels, source.to_output(result))


def report(problems: dict[str, str], output: Path) -> int:
    """Print the first rows that are missing or failed; return the command's exit code, 0 or 1."""
    if not problems:
        return 0
    are = "is" if len(problems) == 1 else "are"
    print(f"{counted(len(problems), 'pair')} {are} missing or failed:", file=sys.stderr)
    for name, reason in itertools.islice(problems.items(), LISTED):
        print(f"{name}: {reason}", file=sys.stderr)
    if len(problems) > LISTED:
        more = len(problems) - LISTED
        print(f"and {more} more: all are in {output / RECORD}", file=sys.stderr)
    return 1
