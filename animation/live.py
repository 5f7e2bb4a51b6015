"""Animate a source by the pictures of a camera, each at once and alone.

    live = LiveAnimation(animator, fit_source(animator, source, policy), policy)
    for picture, seconds in camera:
        live.follow_face(picture, seconds)
        frame = live.crop(picture)
        if frame is not None:
            show(live.animate(frame, seconds))

The camera's face is cropped as in training.  It is searched from time to time, on another thread if
wanted: the crop stays where it is as long as the face is near it, so that nothing trembles.  Motion
is relative to the pose of the first frame, or to that of the frame after ``set_neutral``.
"""

from collections import deque

import torch
from torch import Tensor

from animation.animator import Animator
from animation.cropper import CropPolicy, FittedSource
from animation.motion_transfer import AS_DRIVEN, MotionStrength, RelativeMotion
from animation.neutral_face import NeutralSoFar
from faces.crop import FaceCrop
from faces.main_face import main_face, overlap, seen_again
from inference.fused_network import FusedEncoded
from media.pictures import Box, Picture, Size, resized
from modules.geometry import Keypoints

EVERY = 0.4  # seconds between two searches for the face
LOST_AFTER = 1.5  # seconds in which no search sees it: the cascade misses a face now and then
NEAR = 0.35  # intersection over union with the place that the crop was made for, at least
STILL_FOR = 1.0  # seconds
STILL = 0.03  # distance in [-1, 1] that no keypoint exceeds in a face that is held still


class FaceFollower:
    """Crop around the face of a camera, which is made anew where the face has moved away."""

    def __init__(self, policy: CropPolicy, size: Size) -> None:
        """Crop to frames of ``size`` (H, W) as the ``policy`` says, but only where a face is."""
        self.policy, self.size = policy, size
        self.crop: FaceCrop | None = None  # None: no face has been found yet, or it is lost
        self._picture_size: Size | None = None  # that the crop is made for
        self._place: Box | None = None  # of the face in the crop
        self._searched = self._seen = -float("inf")  # in seconds

    def look(self, picture: Picture, seconds: float) -> None:
        """Search the face in a picture (H, W, 3), unless it was searched just before."""
        if seconds - self._searched < EVERY:
            return
        self._searched = seconds
        size = picture.shape[:2]
        known = self._place if self.crop is not None and size == self._picture_size else None
        again = None if known is None else seen_again(picture, known)
        if known is not None and again is None and seconds - self._seen < LOST_AFTER:
            return
        if known is None or again is None or overlap(known, again) < NEAR:
            again = main_face(picture, large_only=True)
        if again is None:
            self.crop = None
            return
        self._seen = seconds
        if self._place is None or size != self._picture_size or overlap(self._place, again) < NEAR:
            self._place, self._picture_size = again, size
        self.crop = FaceCrop.around(self._place, self.policy.face_crop, self.size)

    def frame(self, picture: Picture) -> Picture | None:
        """Crop a picture (H, W, 3) to a frame; None where there is no face to crop."""
        crop, size = self.crop, self._picture_size  # both may change on another thread
        if crop is None or size is None:
            return None
        return crop.frame(resized(picture, size))


class LiveAnimation:
    """Animation of one source by a stream of pictures whose end is not known."""

    def __init__(
        self,
        animator: Animator,
        source: FittedSource,
        policy: CropPolicy | None = None,
        *,
        strength: MotionStrength = AS_DRIVEN,
    ) -> None:
        """Take pictures as a whole without a ``policy``.  Raises InputError for the strength."""
        self.animator, self.source = animator, source
        self.follower = None if policy is None else FaceFollower(policy, animator.size)
        self._encoded: FusedEncoded | None = None
        self._relative: RelativeMotion | None = None
        self._is_chosen = False  # the neutral pose, by ``set_neutral``
        self._positions: deque[tuple[float, Tensor]] = deque()  # (K, 2) of the last frames
        self.strength = strength

    @property
    def strength(self) -> MotionStrength:
        """Strength of the motion, 0 to 2, which may be changed between two frames."""
        return self._strength

    @strength.setter
    def strength(self, strength: MotionStrength) -> None:
        strength.require_usable(self.animator.detects_landmarks)
        self._strength = strength

    def set_neutral(self) -> None:
        """Let motion be relative to the pose of the next frame."""
        self._relative, self._is_chosen = None, True

    def follow_face(self, picture: Picture, seconds: float) -> None:
        """Search the face in a picture (H, W, 3) where it is time to; the slow part of cropping."""
        if self.follower is not None:
            self.follower.look(picture, seconds)

    def crop(self, picture: Picture) -> Picture | None:
        """Bring a picture (h, w, 3) to the network's size (H, W, 3); None while no face is seen."""
        if self.follower is None:
            return self.animator.fit(picture)
        return self.follower.frame(picture)

    def animate(self, frame: Picture, seconds: float) -> Picture:
        """Render the source in the pose of a cropped frame (H, W, 3), taken at ``seconds``.

        Times rise: frames of the last second are remembered, to tell whether the face is still.
        """
        if self._encoded is None:
            self._encoded = self.animator.encode(self.source.picture)
        keypoints = self.animator.detect([frame])
        self._remember(keypoints, seconds)
        relative = self._relative  # another thread may call ``set_neutral``
        if relative is None:
            relative = self._relative = self._relative_to(keypoints, self._encoded.keypoints)
        relative.strength = self._strength
        (rendered,) = self.animator.render(self._encoded, relative(keypoints))
        return self.source.to_output(rendered)

    def _relative_to(self, initial: Keypoints, source: Keypoints) -> RelativeMotion:
        """Begin motion relative to an initial pose; expressions too, if the user chose it."""
        neutral = None
        if self.animator.detects_landmarks and not self._is_chosen:
            neutral = NeutralSoFar(source.landmarks, self.animator.aspect)
        return RelativeMotion(
            source,
            initial,
            strength=self._strength,
            neutral=neutral,
            aspect=self.animator.aspect,
        )

    def _remember(self, keypoints: Keypoints, seconds: float) -> None:
        """Keep the positions of the last frames, as long ago as ``STILL_FOR`` at least."""
        self._positions.append((seconds, keypoints.positions[0]))
        while len(self._positions) > 1 and self._positions[1][0] <= seconds - STILL_FOR:
            self._positions.popleft()

    @property
    def is_still(self) -> bool:
        """Whether the face was held still until the last frame: a good moment for ``set_neutral``.

        Never after the neutral pose was chosen.
        """
        if self._is_chosen or len(self._positions) < 2:
            return False
        if self._positions[-1][0] - self._positions[0][0] < STILL_FOR:
            return False
        positions = torch.stack([each for _, each in self._positions])
        extent = (positions.amax(dim=0) - positions.amin(dim=0)).norm(dim=-1)
        return bool(extent.max() < STILL)
