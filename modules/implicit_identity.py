"""The implicit identity representation: whose face it is, from keypoints and features.

The source's keypoints tell the shape of the face, the pooled feature its appearance (MCNet); facial
landmarks, where a network detects them, tell the shape better.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.geometry import Keypoints

Evidence = Literal[
    "keypoints and feature", "keypoints", "feature", "keypoints, landmarks and feature"
]


class ImplicitIdentity(nn.Module):
    """Network from a projected feature and the source's keypoints to the identity representation.

    ``evidence`` chooses its inputs: both, or one of them as in the paper's ablation, or landmarks
    too, of which there must be some.  Gradients flow into all of them.
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
        """Compute the identity (B, C) from a projected feature (B, C, H, W) and the keypoints."""
        evidence = []
        if self.uses_feature:
            evidence.append(projected.mean(dim=(2, 3)))
        if self.uses_keypoints:
            evidence.append(source_keypoints.positions.flatten(1).to(projected.dtype))
        if self.uses_landmarks:
            evidence.append(source_keypoints.landmarks.flatten(1).to(projected.dtype))
        return self.mlp(torch.cat(evidence, dim=1))


def needs_landmarks(evidence: Evidence) -> bool:
    """Whether the identity is also made from facial landmarks."""
    return "landmarks" in evidence
