"""The implicit identity representation: whose face it is, from keypoints and features.

The source's keypoints know the shape of the face, the pooled feature its looks (MCNet); facial
landmarks, where a network detects them, know the shape better.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.geometry import Keypoints

Evidence = Literal[
    "keypoints and feature", "keypoints", "feature", "keypoints, landmarks and feature"
]


class ImplicitIdentity(nn.Module):
    """Projected feature and source keypoints -> the identity representation.

    ``evidence`` chooses what it is made from: both, or one alone, as in the paper's ablation; or
    the landmarks too, of which there must be some.  Gradients flow into all of it.
    """

    def __init__(
        self, channels: int, num_kp: int, hidden: int, evidence: Evidence, num_landmarks: int = 0
    ) -> None:
        super().__init__()
        assert num_landmarks or not needs_landmarks(evidence)
        self.uses_feature = "feature" in evidence
        self.uses_keypoints = "keypoints" in evidence
        self.uses_landmarks = needs_landmarks(evidence)
        num_points = self.uses_keypoints * num_kp + self.uses_landmarks * num_landmarks
        size = self.uses_feature * channels + 2 * num_points
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, projected: Tensor, source_keypoints: Keypoints) -> Tensor:
        """A projected feature (B, C, H, W) and the source's keypoints -> (B, C)."""
        evidence = []
        if self.uses_feature:
            evidence.append(projected.mean(dim=(2, 3)))
        if self.uses_keypoints:
            evidence.append(source_keypoints.positions.flatten(1).to(projected.dtype))
        if self.uses_landmarks:
            evidence.append(source_keypoints.landmarks.flatten(1).to(projected.dtype))
        return self.mlp(torch.cat(evidence, dim=1))


def needs_landmarks(evidence: Evidence) -> bool:
    """Whether the identity is made from facial landmarks too."""
    return "landmarks" in evidence
