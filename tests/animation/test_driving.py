"""A video, and the motion saved from it, drive as one stream of keypoints."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from animation.animator import Animator
from animation.driving import (
    ALL,
    Driving,
    DrivingFrame,
    DrivingTemplate,
    DrivingVideo,
    open_driving,
)
from animation.motion_template import save_template
from benchmarks.processes import peaks_of, resident_peak
from media.video import Frame, VideoWriter
from modules.geometry import Keypoints
from tests.damaged import rewritten
from tests.tiny import tiny_model
from utils.errors import InputError

SIZE = (32, 48)
TIMES = [Fraction(t, 100) for t in (0, 4, 12, 24, 28, 40, 44)]


@pytest.fixture(autouse=True)
def first_frame_shows_the_face(monkeypatch):
    """Spare the search for a face, which no frame of these videos shows."""
    monkeypatch.setattr("animation.driving.FacesOfVideo.first", lambda faces: 0)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(tiny_model(), SIZE, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), np.uint8))


@pytest.fixture
def video(frames, tmp_path) -> Path:
    """Seven frames of a variable rate."""
    with VideoWriter(tmp_path / "driving.mp4", Fraction(25)) as writer:
        for frame, time in zip(frames, TIMES, strict=True):
            writer.write(frame, time)
    return tmp_path / "driving.mp4"


def went_through(
    driving: Driving, batch_size: int | None = None
) -> tuple[list[DrivingFrame], Keypoints]:
    with driving.motion(batch_size) as motion:
        batches = list(motion)
    driving_frames = [frame for some, _ in batches for frame in some]
    assert {len(some) for some, _ in batches[:-1]} <= {batch_size or driving.animator.batch_size}
    parts = zip(*(keypoints for _, keypoints in batches), strict=True)
    return driving_frames, Keypoints(*map(torch.cat, parts))


def saved(driving: DrivingVideo, path: Path) -> Path:
    driving.keep_keypoints()
    went_through(driving)
    save_template(path, driving.template())
    return path


@pytest.mark.parametrize(("part", "start", "end"), [(ALL, 0, 7), (slice(2, 6), 2, 6)])
def test_a_video_drives_with_the_keypoints_of_its_frames(animator, video, part, start, end):
    whole = DrivingVideo(animator, video)
    images = [frame.image for frame in whole.frames()]
    driving = DrivingVideo(animator, video, frames=part)
    assert driving.num_frames == end - start
    driving_frames, keypoints = went_through(driving, batch_size=3)
    assert [frame.time for frame in driving_frames] == [t - TIMES[start] for t in TIMES[start:end]]
    for frame, expected in zip(driving_frames, images[start:end], strict=True):
        np.testing.assert_array_equal(frame.pictures, [expected])
    for found, expected in zip(keypoints, animator.detect(images[start:end]), strict=True):
        torch.testing.assert_close(found, expected)
    for number in range(driving.num_frames):  # in the batches that went through
        for found, expected in zip(driving.keypoints_at(number, 3), keypoints, strict=True):
            assert torch.equal(found, expected[number : number + 1])


@pytest.mark.parametrize("part", [slice(None, 3), slice(10, None)])
def test_frames_beside_damage_drive(animator, frames, tmp_path, part):
    path = tmp_path / "driving.mp4"
    with VideoWriter(path, Fraction(25), key_frame_every=5) as writer:
        for frame in [*frames, *frames]:
            writer.write(frame)
    expected = [frame.image for frame in DrivingVideo(animator, path, frames=part).frames()]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    (damaged,) = (bytes(packet) for packet in packets[5:10] if packet.is_keyframe)
    rewritten(path, path.name, path.read_bytes().replace(damaged[8:], bytes(len(damaged) - 8)))
    with pytest.raises(InputError, match="damaged"):
        list(DrivingVideo(animator, path).frames())
    driving = DrivingVideo(animator, path, frames=part)
    np.testing.assert_array_equal([frame.image for frame in driving.frames()], expected)


def test_keypoints_found_before_are_those_that_drive(animator, video, monkeypatch):
    """A second pass reads the frames again, and detects nothing."""
    expected_frames, expected = went_through(DrivingVideo(animator, video), batch_size=3)
    driving = DrivingVideo(animator, video)
    assert all(map(torch.equal, driving.all_keypoints(batch_size=3), expected))
    monkeypatch.delattr(Animator, "detect")
    driving_frames, found = went_through(driving, batch_size=3)
    assert all(map(torch.equal, found, expected))
    assert [frame.time for frame in driving_frames] == [frame.time for frame in expected_frames]
    for frame, other in zip(driving_frames, expected_frames, strict=True):
        np.testing.assert_array_equal(frame.pictures, other.pictures)
    assert all(map(torch.equal, driving.template().keypoints, expected))


@pytest.mark.parametrize("part", [ALL, slice(None, 3), slice(4, None)])
def test_a_template_drives_as_the_part_of_the_video_does(animator, video, part):
    template = saved(DrivingVideo(animator, video), video.with_name("m.npz"))
    one, other = (open_driving(animator, path, frames=part) for path in (video, template))
    assert (one.num_frames, one.rate) == (other.num_frames, other.rate)
    expected, found = (went_through(driving)[1] for driving in (one, other))
    assert all(map(torch.equal, found, expected))
    driving_frames, again = went_through(other, batch_size=2)
    times = [time - TIMES[part][0] for time in TIMES[part]]
    assert driving_frames == [DrivingFrame(time, []) for time in times]
    assert all(map(torch.equal, again, expected))
    for part_found, part_expected in zip(other.keypoints_at(1), expected, strict=True):
        assert torch.equal(part_found, part_expected[1:2])


def test_a_template_is_of_the_part_that_went_through_last(animator, video):
    driving = DrivingVideo(animator, video, frames=slice(3, 5))
    driving.keep_keypoints()
    for _ in range(2):
        _, keypoints = went_through(driving)
    template = driving.template()
    assert all(map(torch.equal, template.keypoints, keypoints))
    times = (Fraction(0), Fraction(4, 100))
    assert template[1:] == (driving.rate, SIZE, animator.detector_fingerprint, times, 0)


def test_a_motion_of_a_constant_rate_has_no_times(animator, frames, tmp_path):
    with VideoWriter(tmp_path / "driving.mp4", Fraction(30)) as writer:
        for frame in frames:
            writer.write(frame)
    template = saved(DrivingVideo(animator, tmp_path / "driving.mp4"), tmp_path / "m.npz")
    driving = open_driving(animator, template)
    assert driving.rate == 30
    assert went_through(driving)[0] == [DrivingFrame(None, [])] * 7


@pytest.mark.parametrize(
    ("part", "expected"), [(ALL, 3), (slice(1, None), 2), (slice(3, 5), 0), (slice(0, 3), 0)]
)
def test_a_motion_counts_from_the_frame_that_its_video_does(
    animator, video, monkeypatch, part, expected
):
    monkeypatch.setattr("animation.driving.FacesOfVideo.first", lambda faces: 3)
    template = saved(DrivingVideo(animator, video), video.with_name("m.npz"))
    assert open_driving(animator, template, frames=part).initial == expected


def stay_flat_while_kept(video: Path) -> None:
    """Compare memory at the end of a long motion that is kept with that after its first seconds."""
    driving = DrivingVideo(Animator(tiny_model(), (128, 128), device="cpu"), video)
    driving.keep_keypoints()
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    batch = [Frame(image, Fraction(0))] * driving.animator.batch_size
    for _ in range(30):
        driving.keep(driving.detect(batch))
    before = resident_peak()
    for _ in range(300):
        driving.keep(driving.detect(batch))
    assert resident_peak() / before < 1.02


def test_memory_does_not_grow_with_the_motion_that_is_kept(video):
    peaks_of(stay_flat_while_kept, video)


def test_the_keypoints_that_went_through_are_kept_only_where_that_is_asked_for(animator, video):
    driving = DrivingVideo(animator, video)
    went_through(driving)
    assert driving.buffer is None


@pytest.mark.parametrize("part", [slice(0, 8), slice(7, None), slice(4, 4), slice(-3, None)])
@pytest.mark.parametrize("kind", ["video", "template"])
def test_frames_that_are_not_there_are_told(animator, video, kind, part):
    path = video
    if kind == "template":
        path = saved(DrivingVideo(animator, video), video.with_name("m.npz"))
    with pytest.raises(InputError, match=f"are out of range: {path} has 7 frames"):
        open_driving(animator, path, frames=part)
    with pytest.raises(InputError, match=f"Of {path} 2 frames are used: there is no frame 2"):
        open_driving(animator, path, frames=slice(1, 3)).keypoints_at(2)


def test_the_ending_of_a_template_may_be_in_capitals(animator, video):
    template = saved(DrivingVideo(animator, video), video.with_name("M.NPZ"))
    assert isinstance(open_driving(animator, template), DrivingTemplate)


def test_the_template_of_another_network_is_refused(animator, video):
    template = saved(DrivingVideo(animator, video), video.with_name("m.npz"))
    other = Animator(tiny_model(seed=1), SIZE, device="cpu", precision="fp32")
    with pytest.raises(InputError, match="another network"):
        open_driving(other, template)
    square = Animator(tiny_model(), (32, 32), device="cpu", precision="fp32")
    with pytest.raises(InputError, match=r"48 x 32 pixels, .* of 32 x 32 have another shape"):
        open_driving(square, template)
