import pytest
import torch

from modules.identity import ImplicitIdentity

FEATURE, POSITIONS = torch.randn(2, 6, 5, 7), torch.randn(2, 4, 2)


def changes(evidence: str) -> tuple[bool, bool]:
    """Whether the identity depends on the feature, and on the keypoints."""
    torch.manual_seed(0)
    identity = ImplicitIdentity(channels=6, num_kp=4, hidden=8, evidence=evidence)
    before = identity(FEATURE, POSITIONS)
    assert before.shape == (2, 6)
    feature, positions = identity(FEATURE + 1, POSITIONS), identity(FEATURE, POSITIONS + 1)
    return not torch.equal(before, feature), not torch.equal(before, positions)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ("keypoints and feature", (True, True)),
        ("keypoints", (False, True)),
        ("feature", (True, False)),
    ],
)
def test_the_identity_is_made_from_the_evidence_chosen(evidence, expected):
    assert changes(evidence) == expected


def test_only_the_mean_of_the_feature_counts():
    torch.manual_seed(0)
    identity = ImplicitIdentity(6, 4, 8, "keypoints and feature")
    shuffled = FEATURE.flatten(2)[:, :, torch.randperm(35)].view_as(FEATURE)
    torch.testing.assert_close(identity(FEATURE, POSITIONS), identity(shuffled, POSITIONS))
