from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import pytest

from datasets.preprocessing import scene_scan
from datasets.preprocessing.cutting import RawVideo
from datasets.preprocessing.scene_scan import CutFinder, cached_scan, find_scenes, scan_video
from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from faces.detectors import CascadeDetector, Face
from media.pictures import Box, Picture
from media.video import read_frames
from tests.datasets.conftest import solid, with_matrix
from tests.datasets.preprocessing.talking import Shot, SwayingHead, write_shots
from utils.errors import InputError, OutputError


class Recorder:
    """A detector that keeps what it is shown, and finds a face in the middle."""

    name = "cascade"

    def __init__(self) -> None:
        self.batches: list[list[Picture]] = []

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        self.batches.append(list(frames))
        height, width, _ = frames[0].shape
        return [[Face(Box(width / 4, height / 4, width / 2, height / 2))] for _ in frames]


def test_scenes_meet_at_the_cuts_and_faces_are_detected_five_times_a_second(tmp_path):
    shots = [Shot(33, (200, 30, 30)), Shot(48, (30, 30, 200)), Shot(7, (30, 160, 30))]
    detector = Recorder()
    scenes = find_scenes(RawVideo.open(write_shots(tmp_path / "v.mp4", *shots)), detector)
    assert [scene[:2] for scene in scenes] == [(0, 33), (33, 81), (81, 88)]
    for scene in scenes:
        assert [found.frame for found in scene.detections] == list(range(scene.start, scene.end, 5))
    assert max(map(len, detector.batches)) == 8
    colours = [frame[..., 0].mean() > 100 for batch in detector.batches for frame in batch]
    assert colours == [True] * 7 + [False] * 12


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(50), Fraction(10)])
def test_numbers_are_those_at_25_frames_a_second_whatever_the_rate(tmp_path, rate):
    shots = [Shot(int(2 * rate), (200, 30, 30)), Shot(int(3 * rate), (30, 30, 200))]
    path = write_shots(tmp_path / "v.mp4", *shots, rate=rate)
    raw = RawVideo.open(path)
    first, second = find_scenes(raw, Recorder())
    assert first.end == second.start
    assert abs(second.start - 50) <= 1
    assert second.end == raw.num_frames
    shown = {number: raw.time(number) for number in range(second.end)}
    begins = raw.index.times[int(2 * rate)]  # of the second shot
    assert shown[second.start] >= begins > shown[second.start - 1]


def test_a_rotated_video_is_scanned_upright(tmp_path):
    path = write_shots(tmp_path / "v.mp4", Shot(10, (20, 60, 90), SwayingHead(150, 5)))
    with_matrix(path, 0, 1, -1, 0)  # a quarter turn clockwise
    detector = Recorder()
    raw = RawVideo.open(path)
    (scene,) = find_scenes(raw, detector)
    assert raw.size == (230, 400)
    shown = next(read_frames(path)).image.astype(int)
    seen = detector.batches[0][0]
    assert seen.shape == shown.shape == (400, 230, 3)
    assert np.abs(seen - shown).mean() < 3
    assert scene.detections[0].faces == (Box(57.5, 100, 115, 200),)


def test_large_frames_are_scanned_at_a_smaller_size(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_scan, "SEEN_AT", 100)
    portrait = SwayingHead(150, 5)
    path = write_shots(tmp_path / "v.mp4", Shot(6, (20, 60, 90), portrait))
    detector = Recorder()
    (scene,) = find_scenes(RawVideo.open(path), detector)
    assert detector.batches[0][0].shape == (58, 100, 3)
    assert scene.detections[0].faces[0] == pytest.approx((100, 58, 200, 116), abs=1)


def test_the_face_of_the_astronaut_is_found_in_every_detection(tmp_path):
    portrait = SwayingHead(150, 5)
    path = write_shots(tmp_path / "v.mp4", Shot(30, (20, 60, 90), portrait))
    (scene,) = find_scenes(RawVideo.open(path), CascadeDetector())
    centres = np.array([found.faces[0].centre for found in scene.detections])
    np.testing.assert_allclose(centres, [[260, 104]] * 6, atol=12)


def test_what_was_found_is_kept_until_the_video_or_the_detector_changes(tmp_path):
    path, folder = tmp_path / "v.mp4", tmp_path / "kept"
    write_shots(path, Shot(30, (200, 30, 30)), Shot(30, (30, 30, 200)))
    assert cached_scan(path, "cascade", folder) is None
    first, second = Recorder(), Recorder()
    found = scan_video(path, first, folder)
    assert found.size == (400, 230)
    assert scan_video(path, second, folder) == found == cached_scan(path, "cascade", folder)
    assert first.batches
    assert not second.batches
    assert cached_scan(path, "face-alignment", folder) is None
    (kept,) = folder.iterdir()
    kept.write_text(kept.read_text()[:-20])
    assert cached_scan(path, "cascade", folder) is None
    assert scan_video(path, second, folder) == found
    write_shots(path, Shot(20, (200, 30, 30)))
    assert len(scan_video(path, second, folder).scenes) == 1


def test_a_video_that_cannot_be_read_leaves_nothing(tmp_path):
    path = write_shots(tmp_path / "v.mp4", Shot(60, (200, 30, 30)))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"v\.mp4"):
        scan_video(path, Recorder(), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_stops_everything(tmp_path):
    path = write_shots(tmp_path / "v.mp4", Shot(6, (200, 30, 30)))
    (tmp_path / "kept").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        scan_video(path, Recorder(), tmp_path / "kept")


def cuts(frames: Iterable[Picture]) -> list[int]:
    finder = CutFinder()
    return [number for number, frame in enumerate(frames) if finder.begins_scene(frame)]


def talking_head(seed: int, num_frames: int) -> list[Picture]:
    rng = np.random.default_rng(seed)
    identity = draw_identity(rng)
    return [render(identity, pose, 64) for pose in draw_motion(rng, num_frames, 25)]


def test_colours_of_equal_brightness_are_cut_where_they_change():
    assert cuts([solid((200, 0, 0))] * 3 + [solid((0, 102, 0))] * 5 + [solid((0, 0, 200))]) == [
        3,
        8,
    ]


def test_a_video_of_one_scene_has_no_cut():
    assert cuts([solid((9, 90, 200))] * 40) == []


@pytest.mark.parametrize("first", [1, 2, 3])
def test_heads_are_told_apart_and_their_motion_is_no_cut(first):
    heads = [talking_head(seed, num_frames) for seed, num_frames in ((first, 30), (7, 25), (8, 30))]
    assert cuts(frame for head in heads for frame in head) == [30, 55]


def test_fading_to_another_picture_is_no_cut():
    (one,), (other,) = talking_head(1, 1), talking_head(2, 1)
    frames = [(one * (1 - t) + other * t).astype(np.uint8) for t in np.linspace(0, 1, 25)]
    assert cuts(frames) == []


def test_each_video_has_a_finder_of_its_own():
    assert CutFinder().begins_scene(solid(0)) is False
    assert CutFinder().begins_scene(solid(255)) is False
