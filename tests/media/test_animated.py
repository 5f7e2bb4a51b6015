"""Animated pictures are videos: all frames, with their times."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from evaluation.folders import pair_folders
from media.pictures import read_image
from media.video import VideoWriter, frames_at, probe, read_frames
from tests.datasets.conftest import distance, moving_bar
from utils.errors import InputError

FRAMES = [moving_bar(6 * number) for number in range(6)]
KINDS = [
    pytest.param("WEBP", ".webp", marks=pytest.mark.skipif(not features.check("webp"), reason="")),
    pytest.param("PNG", ".png"),
    pytest.param("PNG", ".apng"),
    pytest.param(
        "AVIF",
        ".avif",
        marks=pytest.mark.skipif(
            "avif" not in features.modules or not features.check("avif"),
            reason="this Pillow reads no AVIF",
        ),
    ),
    pytest.param("GIF", ".webp"),  # of another name
]


def write(path: Path, kind: str, durations: list[int], **more: object) -> Path:
    first, *others = map(Image.fromarray, FRAMES[: len(durations)])
    quality = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(kind, {})
    first.save(
        path,
        format=kind,
        save_all=True,
        append_images=others,
        duration=durations,
        **quality | more,
    )
    return path


@pytest.mark.parametrize(("kind", "suffix"), KINDS)
def test_every_frame_of_an_animated_picture_comes_with_its_time(tmp_path, kind, suffix):
    path = write(tmp_path / f"a{suffix}", kind, [40, 80, 40, 20, 200, 60])
    video = probe(path)
    assert (video.num_frames, video.size, video.variable_rate) == (6, (48, 64), True)
    assert not video.has_audio
    assert video.rate == Fraction(6000, 440)
    frames = list(read_frames(path))
    assert [frame.time * 1000 for frame in frames] == [0, 40, 120, 160, 180, 380]
    assert max(distance(f.image, shown) for f, shown in zip(frames, FRAMES, strict=True)) < 6
    np.testing.assert_array_equal(frames_at(path, [4, 1]), [frames[4].image, frames[1].image])
    with pytest.raises(InputError, match="holds 6 frames: there is no frame 6"):
        frames_at(path, [6])


@pytest.mark.parametrize(("kind", "suffix"), KINDS[:2])
def test_a_constant_rate_that_milliseconds_cannot_tell_is_one(tmp_path, kind, suffix):
    video = probe(write(tmp_path / f"a{suffix}", kind, [33, 34, 33, 33, 34, 33]))
    assert (video.rate, video.variable_rate) == (30, False)


def test_frames_without_a_duration_are_shown_as_browsers_do(tmp_path):
    frames = read_frames(write(tmp_path / "a.png", "PNG", [0, 10, 11, 40]))
    assert [frame.time * 1000 for frame in frames] == [0, 100, 200, 211]


def test_the_picture_for_those_who_cannot_animate_is_no_frame(tmp_path):
    path = write(tmp_path / "a.png", "PNG", [40, 40, 40], default_image=True)
    frames = [frame.image for frame in read_frames(path)]
    np.testing.assert_array_equal(frames, FRAMES[1:3])
    np.testing.assert_array_equal(read_image(path), FRAMES[0])


def test_a_picture_that_a_phone_stores_twice_stands_still(tmp_path):
    first, second = map(Image.fromarray, FRAMES[:2])
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert probe(tmp_path / "a.jpg").num_frames == 1
    first, second = map(Image.fromarray, FRAMES[:2])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert len(list(read_frames(tmp_path / "a.tif"))) == 1


def test_a_damaged_animation_is_told(tmp_path):
    path = write(tmp_path / "a.webp", "WEBP", [40] * 6)
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(InputError, match=r"a\.webp"):
        list(read_frames(path))


def test_animated_pictures_are_measured_frame_by_frame(tmp_path):
    for side in ("real", "generated"):
        (tmp_path / side).mkdir()
        write(tmp_path / side / "a.webp", "WEBP", [40] * 6)
    ((unit,), *_) = pair_folders(tmp_path / "real", tmp_path / "generated", None)
    assert unit.name == "a"  # a clip by itself
    assert len(list(unit.read())) == 6


def test_a_changed_file_is_read_anew(tmp_path):
    assert probe(write(tmp_path / "a.webp", "WEBP", [40] * 6)).num_frames == 6
    assert probe(write(tmp_path / "a.webp", "WEBP", [40] * 3)).num_frames == 3


def test_an_animation_is_written_with_its_times(tmp_path):
    path = write(tmp_path / "a.png", "PNG", [40, 80, 40, 20, 200, 60])
    with VideoWriter(tmp_path / "a.mp4", probe(path).rate) as writer:
        for frame in read_frames(path):
            writer.write(frame.image, frame.time)
    assert [frame.time * 1000 for frame in read_frames(tmp_path / "a.mp4")] == [
        *(0, 40, 120, 160, 180, 380)
    ]
