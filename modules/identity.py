"""The implicit identity representation: whose face it is, from keypoints and features.

The source's keypoints know the shape of the face, the pooled feature its looks (MCNet).
"""

from typing import Literal

import torch
from torch import Tensor, nn

Evidence = Literal["keypoints and feature", "keypoints", "feature"]


class ImplicitIdentity(nn.Module):
    """Projected feature and source keypoints -> the identity representation.

    ``evidence`` chooses what it is made from: both, or one alone, as in the paper's ablation.
    Gradients flow into the feature and into the keypoints.
    """

    def __init__(self, channels: int, num_kp: int, hidden: int, evidence: Evidence) -> None:
        super().__init__()
        self.uses_feature = "feature" in evidence
        self.uses_keypoints = "keypoints" in evidence
        size = self.uses_feature * channels + self.uses_keypoints * 2 * num_kp
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, projected: Tensor, positions: Tensor) -> Tensor:
        """(B, C, H, W) and source keypoint positions (B, K, 2) -> (B, C)."""
        evidence = []
        if self.uses_feature:
            evidence.append(projected.mean(dim=(2, 3)))
        if self.uses_keypoints:
            evidence.append(positions.flatten(1).to(projected.dtype))
        return self.mlp(torch.cat(evidence, dim=1))
