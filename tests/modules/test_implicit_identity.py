import pytest
import torch

from modules.geometry import Keypoints
from modules.implicit_identity import ImplicitIdentity

FEATURE, POSITIONS = torch.randn(2, 6, 5, 7), torch.randn(2, 4, 2)
LANDMARKS = torch.randn(2, 9, 2)


def face(positions: torch.Tensor = POSITIONS, landmarks: torch.Tensor = LANDMARKS) -> Keypoints:
    return Keypoints(positions, torch.eye(2).expand(2, 4, 2, 2), landmarks)


def make_identity(evidence: str) -> ImplicitIdentity:
    torch.manual_seed(0)
    return ImplicitIdentity(6, num_kp=4, hidden=8, evidence=evidence, num_landmarks=9)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ("keypoints and feature", (True, True, False)),
        ("keypoints", (False, True, False)),
        ("feature", (True, False, False)),
        ("keypoints, landmarks and feature", (True, True, True)),
    ],
)
def test_the_identity_is_made_from_the_evidence_chosen(evidence, expected):
    identity = make_identity(evidence)
    before = identity(FEATURE, face())
    assert before.shape == (2, 6)
    others = [
        identity(FEATURE + 1, face()),
        identity(FEATURE, face(POSITIONS + 1)),
        identity(FEATURE, face(landmarks=LANDMARKS + 1)),
    ]
    assert tuple(not torch.equal(before, other) for other in others) == expected


def test_only_the_mean_of_the_feature_counts():
    identity = make_identity("keypoints and feature")
    shuffled = FEATURE.flatten(2)[:, :, torch.randperm(35)].view_as(FEATURE)
    torch.testing.assert_close(identity(FEATURE, face()), identity(shuffled, face()))
