"""Find the neutral face of a driving video: mouth closed, eyes open, posed as the source is.

Expressions are relative to it, so a video may begin with an open mouth or with closed eyes.
Landmarks are (T, 68, 2), (x, y) in [-1, 1] of frames that are ``aspect`` times as wide as high.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from animation.head_motion import face_centre, face_unit, landmark_unit, rigid_points
from animation.landmark_motion import LIDS, LIPS, USUAL_EYES, downwards, openings

CLOSED_MOUTH = 0.03  # opening of a mouth at rest, in eye distances
MOUTH, EYES = 2.0, 0.5  # weights of the cost beside the pose
STEP = 0.05  # costs of one step are the same: the earlier frame is kept, and nothing flickers


def neutral_cost(landmarks: Tensor, source: Tensor, aspect: float = 1.0) -> Tensor:
    """Measure how far faces are from neutral, (T,), 0 at best.

        cost = rms(p^D - p^S) + 2 max(0, mouth - 0.03) + 0.5 max(0, 1 - eyes / usual)

    ``p`` are the rigid points, centred and of mean square 1, which a face that turns or tilts
    leaves; a turn of 20 degrees costs as much as a mouth open by 0.1 eye distances.
    """
    square = landmark_unit(aspect, landmarks.device)
    landmarks, source = landmarks * square, source * square
    mouth, eyes = (
        openings(landmarks, gaps, downwards(landmarks, gaps)).mean(dim=-1) for gaps in (LIPS, LIDS)
    )
    unit = face_unit(landmarks)[:, 0, 0]
    pose = (pose_shape(landmarks) - pose_shape(source)).square().sum(dim=-1).mean(dim=-1).sqrt()
    opened, shut = F.relu(mouth / unit - CLOSED_MOUTH), F.relu(1 - eyes / unit / USUAL_EYES)
    return pose + MOUTH * opened + EYES * shut


def pose_shape(landmarks: Tensor) -> Tensor:
    """Rigid points, centred and divided by their root mean square distance: (T, R, 2)."""
    points = rigid_points(landmarks) - face_centre(landmarks)
    return points / points.square().sum(dim=-1).mean(dim=-1).sqrt()[:, None, None].clamp_min(1e-6)


def best_so_far(costs: Tensor) -> Tensor:
    """Index of the best of the first i costs, for each i of (T,).

    Computed on the costs' device: a live animation does not wait for it.  Costs are compared in
    steps of ``STEP``, and of equal ones the earliest is the best.
    """
    steps = (costs / STEP).clamp_max(1e6).floor().long()
    order = steps * len(costs) + torch.arange(len(costs), device=costs.device)
    return order.cummin(dim=0).indices


def find_neutral(landmarks: Tensor, source: Tensor, aspect: float = 1.0) -> int:
    """Find the frame of landmarks (T, 68, 2) whose face is the most neutral."""
    return int(best_so_far(neutral_cost(landmarks, source, aspect))[-1])


class NeutralSoFar:
    """Neutral face of a stream, among the frames that have been seen."""

    def __init__(self, source: Tensor, aspect: float = 1.0) -> None:
        """Start with the landmarks of the source picture, (1, 68, 2)."""
        self.source, self.aspect = source, aspect
        self.best: Tensor | None = None  # (1, 68, 2)

    def __call__(self, landmarks: Tensor) -> Tensor:
        """Find the neutral face so far at each of the next frames: (B, 68, 2)."""
        seen = landmarks if self.best is None else torch.cat([self.best, landmarks])
        best = seen[best_so_far(neutral_cost(seen, self.source, self.aspect))]
        self.best = best[-1:]
        return best[-len(landmarks) :]
