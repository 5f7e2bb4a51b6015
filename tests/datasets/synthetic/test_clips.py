"""Generated talking heads: what is drawn, and how clips are written."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from datasets.config import SyntheticConfig
from datasets.synthetic import clips
from datasets.synthetic.clips import generate
from datasets.synthetic.motion import Pose, draw_motion
from datasets.synthetic.person import Identity, draw_identity
from datasets.synthetic.rasteriser import rasterise
from datasets.synthetic.render import render
from media.video import frames_at, probe
from utils.errors import InputError

TINY = SyntheticConfig(train_identities=2, test_identities=1, frames=3, size=32, seed=4)


def person(number: int) -> Identity:
    return draw_identity(np.random.default_rng([3, number]))


# --- drawing --------------------------------------------------------------------------------


def test_a_seed_fixes_person_motion_and_picture():
    first, second = (draw_identity(np.random.default_rng(5)) for _ in range(2))
    poses = [draw_motion(np.random.default_rng(6), frames=9, rate=25) for _ in range(2)]
    assert first == second
    assert poses[0] == poses[1]
    np.testing.assert_array_equal(
        render(first, poses[0][4], size=48), render(second, poses[1][4], size=48)
    )


def test_people_differ_in_every_trait():
    people = [person(number) for number in range(40)]
    assert all(len(set(trait)) > 10 for trait in zip(*people, strict=True))
    pictures = [render(one, Pose(), size=48).astype(float) for one in people[:6]]
    assert all(abs(a - b).mean() > 10 for a, b in pairwise(pictures))


def test_a_picture_is_the_same_at_another_size():
    large = render(person(1), Pose(yaw=0.3, jaw=0.5), size=96).astype(float)
    small = render(person(1), Pose(yaw=0.3, jaw=0.5), size=48)
    halved = large.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
    assert abs(halved - small).mean() < 4


@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=0.6, jaw=1.0), Pose(-0.5, 0.25, 0.2)])
def test_a_person_has_no_holes_through_which_the_background_shows(pose: Pose):
    wall = (0.0, 1.0, 0.0)
    for number in range(6):
        identity = person(number)._replace(walls=(wall, wall, wall), hair_length=0.0)
        red, green, blue = render(identity, pose, size=128).transpose(2, 0, 1).astype(int)
        body = green - np.maximum(red, blue) < 90
        assert (binary_fill_holes(body) == body).all()


def test_motion_is_smooth_and_wide():
    poses = np.array(draw_motion(np.random.default_rng(0), frames=250, rate=25))
    yaw, jaw = poses[:, 0], poses[:, Pose._fields.index("jaw")]
    assert np.ptp(yaw) > np.radians(40)
    assert abs(np.diff(yaw)).max() < np.radians(7)
    assert jaw.min() < 0.01
    assert jaw.max() > 0.8


def test_copying_the_first_frame_leaves_much_to_learn():
    errors = []
    for number in range(3):
        poses = draw_motion(np.random.default_rng(number), frames=48, rate=25)[::6]
        first, *others = (render(person(number), pose, size=48) / 255 for pose in poses)
        errors += [np.square(other - first).mean() for other in others]
    psnr = -10 * np.log10(errors).mean()
    assert 15 < psnr < 21


# --- poses ----------------------------------------------------------------------------------


def irises(pose: Pose) -> np.ndarray:
    """The middle of both irises in a picture of somebody with blue ones, (x, y) in [-1, 1]."""
    red = (0.6, 0.1, 0.1)
    identity = person(2)._replace(iris=(0.0, 0.0, 1.0), cloth=red, trim=red, walls=(red, red, red))
    red, green, blue = render(identity, pose, size=192).transpose(2, 0, 1).astype(int)
    row, column = np.nonzero(blue - np.maximum(red, green) > 25)
    points = 2 * np.stack([column, row], axis=1) / 191 - 1
    on_the_left = points[:, 0] < points[:, 0].mean()
    return np.stack([points[on_the_left].mean(0), points[~on_the_left].mean(0)])


def test_eyes_go_where_the_pose_says():
    straight = irises(Pose())
    np.testing.assert_allclose(straight[0] * [-1, 1], straight[1], atol=0.02)
    # A shift is in image units at the depth of the pivot; nearer points move a little more.
    shifted = irises(Pose(shift_x=0.2, shift_y=-0.1)) - straight
    np.testing.assert_allclose(shifted, [[0.2, -0.1]] * 2, rtol=0.25)
    left, right = irises(Pose(roll=0.3))
    assert np.arctan2(*(right - left)[::-1]) == pytest.approx(0.3, abs=0.04)
    assert (irises(Pose(yaw=0.4)) - straight)[:, 0].min() > 0.1
    assert (irises(Pose(pitch=0.2)) - straight)[:, 1].min() > 0.05
    assert (irises(Pose(gaze_x=1.0)) - straight)[:, 0].min() > 0.01


@pytest.mark.parametrize("number", [0, 2])
def test_an_open_mouth_and_open_eyes_are_seen(number: int):
    def seen(pose: Pose) -> np.ndarray:
        return render(person(number)._replace(beard=0.0), pose, size=96).astype(int)

    opened = seen(Pose(jaw=1.0))[48:80, 36:60].min(axis=-1) < 60  # dark between the lips
    assert opened.sum() > (seen(Pose())[48:80, 36:60].min(axis=-1) < 60).sum() + 20
    eyes = np.abs(seen(Pose()) - seen(Pose(blink=1.0))).max(axis=-1) > 40
    assert eyes[:30].sum() == 0 < eyes[30:60].sum()


# --- rasteriser -----------------------------------------------------------------------------


def test_two_triangles_cover_a_square_without_gap_and_the_nearer_one_wins():
    square = np.array([[0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 9, 0]], dtype=np.float32)
    nearer = np.array([[2, 2, 1], [6, 2, 1], [2, 6, 1]], dtype=np.float32)
    shown = rasterise(
        np.concatenate([square, nearer]), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]]), size=10
    )
    assert sorted(shown.pixels) == list(range(100))
    owner = np.empty(100, dtype=int)
    owner[shown.pixels] = shown.triangles
    row, column = np.divmod(np.arange(100), 10)
    in_front = (row >= 2) & (column >= 2) & (row + column <= 8)
    np.testing.assert_array_equal(owner == 2, in_front)
    np.testing.assert_allclose(shown.weights.sum(axis=0), 1, atol=1e-5)


def test_triangles_seen_from_behind_or_outside_the_picture_are_left_out():
    points = np.array([[1, 1, 0], [5, 1, 0], [1, 5, 0], [-9, 0, 0], [-5, 0, 0]], dtype=np.float32)
    shown = rasterise(points, np.array([[0, 2, 1], [3, 4, 3]]), size=8)
    assert len(shown.pixels) == 0


# --- clips ----------------------------------------------------------------------------------


def test_a_data_set_has_readable_clips_and_nobody_in_both_splits(tmp_path: Path):
    root = tmp_path / "heads"
    generate(root, TINY)
    names = {split: sorted(p.name for p in (root / split).iterdir()) for split in ("train", "test")}
    assert names == {
        "train": [f"id0000{i}#synthetic#000000#000003.mp4" for i in (0, 1)],
        "test": ["id00002#synthetic#000000#000003.mp4"],
    }
    clip = root / "test" / names["test"][0]
    assert probe(clip).num_frames == TINY.frames
    assert probe(clip).rate == TINY.rate

    identity = draw_identity(np.random.default_rng([TINY.seed, 2]))
    pose = draw_motion(np.random.default_rng([TINY.seed, 2, 1]), TINY.frames, TINY.rate)[2]
    (written,) = frames_at(clip, [2])
    assert abs(written.astype(float) - render(identity, pose, TINY.size)).mean() < 8


def test_the_same_settings_again_change_nothing_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "usable_cores", lambda: 1)
    generate(tmp_path, TINY)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    generate(tmp_path, TINY)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert SyntheticConfig(**json.loads((tmp_path / "synthetic.json").read_text())) == TINY
    with pytest.raises(InputError, match="other settings"):
        generate(tmp_path, TINY.model_copy(update={"seed": 5}))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        generate(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "usable_cores", lambda: 1)
    drawn = []

    def fail_at_last(identity: Identity, pose: Pose, size: int) -> np.ndarray:
        drawn.append(pose)
        if len(drawn) == 8:
            raise RuntimeError("out of paint")
        return np.zeros((size, size, 3), dtype=np.uint8)

    monkeypatch.setattr(clips, "render", fail_at_last)
    with pytest.raises(RuntimeError, match="out of paint"):
        generate(tmp_path / "deep" / "heads", TINY)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_configuration_does_not_load_the_renderer():
    script = "import sys, config; sys.exit('datasets.synthetic.render' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
