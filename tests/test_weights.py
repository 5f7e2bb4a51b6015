"""The bundled network and motions."""

import numpy as np
import pytest

from animation.animate_file import AnimationOptions, animate_file
from animation.animator import Animator
from animation.bundled import MOTIONS, WEIGHTS, bundled_source, driving_path, motion_names
from animation.cropper import choose_policy, fit_source
from animation.motion_template import load_template
from animation.motion_transfer import frames_of
from config import checkpoint_config, load_config
from media.video import probe, read_frames
from modules.face_landmarks import measure_expressions

NAMES = ["expressions", "nodding", "talking"]

pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="weights/mcnet-lite.safetensors is not there"
)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator.from_checkpoint(WEIGHTS, device="cpu")


def test_they_are_small():
    assert WEIGHTS.stat().st_size < 30e6
    assert motion_names() == NAMES
    assert sum(path.stat().st_size for path in MOTIONS.iterdir()) < 1e6


@pytest.mark.parametrize("name", NAMES)
def test_a_motion_moves_the_portrait(animator, tmp_path, name):
    output, source = tmp_path / "frames", bundled_source()
    num_frames = len(load_template(driving_path(name)).keypoints.positions)
    policy = choose_policy(None, paste=False, checkpoint=WEIGHTS)
    assert policy is not None  # the face is cut out of the whole picture
    animate_file(
        animator,
        source,
        driving_path(name),
        f"{output}/",
        AnimationOptions(),
        policy=policy,
        frames=slice(0, min(num_frames, 60)),
    )
    frames = np.stack([frame.image for frame in read_frames(output)]).astype(int)
    assert len(frames) == min(num_frames, 60)
    assert probe(output).size[0] >= 256
    moved = np.abs(frames[1:] - frames[0]).mean(axis=(1, 2, 3))
    assert moved.max() > 1  # grey levels
    assert frames.std(axis=(1, 2)).min() > 10  # and is no flat picture


def test_talking_moves_the_mouth(animator):
    """Where the driving face opens its mouth the portrait does, as its own detector sees it."""
    keypoints = load_template(driving_path("talking")).keypoints
    driving = frames_of(keypoints, slice(0, 96, 3))
    portrait = fit_source(animator, bundled_source(), choose_policy(None, False, WEIGHTS))
    frames = list(animator.animate_keypoints(portrait.picture, [driving]))
    wanted = measure_expressions(driving.landmarks).mouth
    found = measure_expressions(animator.detect(frames).landmarks).mouth
    assert wanted.std() > 0.01  # of the distance of the eyes
    assert np.corrcoef(wanted, found)[0, 1] > 0.5
    assert found.std() > 0.3 * wanted.std()


def test_they_are_configured_as_lite_yaml():
    assert checkpoint_config(WEIGHTS).model == load_config("lite.yaml").model
