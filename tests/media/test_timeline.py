"""Recordings that were joined are played on, pictures and sound; what is missing stays damage."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media.video import VideoWriter, frames_at, probe, read_frames
from tests.datasets.conftest import distance, encode, encode_with_sound, join, moving_bar
from utils.errors import InputError


def shift_stamps(path: Path, seconds: int) -> Path:
    """Copy a file with all time stamps later."""
    later = path.with_stem(f"{path.stem}-{seconds}")
    with av.open(str(path)) as source, av.open(str(later), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                packet.pts += round(seconds / packet.time_base)
                packet.dts += round(seconds / packet.time_base)
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return later


def assert_runs_on(path: Path, numbers: list[int], largest: float = 6) -> None:
    """Checks that the frames of ``moving_bar`` with these numbers come one after the other."""
    frames = list(read_frames(path))
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(len(numbers))]
    for frame, number in zip(frames, numbers, strict=True):
        assert distance(frame.image, moving_bar(number)) < largest
    assert probe(path)[1:] == (Fraction(25), len(numbers), (48, 64), False, False)
    asked = [len(numbers) - 1, 0, len(numbers) // 2]
    np.testing.assert_array_equal(frames_at(path, asked), [frames[n].image for n in asked])


@pytest.mark.parametrize("counting_on", [False, True])
def test_joined_recordings_follow_each_other(tmp_path, counting_on):
    first = encode(tmp_path / "a.ts", num_frames=20)
    second = encode(tmp_path / "b.ts", num_frames=15)
    joined = join(tmp_path / "joined.ts", first, second, first, counting_on=counting_on)
    assert_runs_on(joined, [*range(20), *range(15), *range(20)])


@pytest.mark.parametrize(("ending", "codec"), [("mkv", "libx264"), ("mpg", "mpeg2video")])
def test_other_containers_are_joined_too(tmp_path, ending, codec):
    recording = encode(tmp_path / f"a.{ending}", codec, num_frames=20)
    joined = join(tmp_path / f"joined.{ending}", recording, recording)
    assert_runs_on(joined, [*range(20), *range(20)], largest=10)


@pytest.mark.parametrize("seconds", [60, 3600])
@pytest.mark.parametrize("order", [1, -1])
def test_stamps_that_jump_are_played_on(tmp_path, seconds, order):
    first = encode(tmp_path / "a.ts", num_frames=20)
    parts = [first, shift_stamps(first, seconds)][::order]
    assert_runs_on(join(tmp_path / "joined.ts", *parts), [*range(20), *range(20)])


def test_stamps_that_go_on_are_left_alone(tmp_path):
    plain, parts = encode(tmp_path / "a.ts", max_b_frames=0, num_frames=25), []
    for second in range(2):
        parts.append(shift_stamps(plain, second))
    assert_runs_on(join(tmp_path / "joined.ts", *parts), [*range(25), *range(25)])


def test_what_is_written_is_all_that_was_read(tmp_path):
    recording = encode(tmp_path / "a.ts", num_frames=20)
    joined = join(tmp_path / "joined.ts", recording, recording, counting_on=True)
    with VideoWriter(tmp_path / "out.mp4", Fraction(25)) as writer:
        for image, time in read_frames(joined):
            writer.write(image, time)
    assert writer.num_frames == probe(tmp_path / "out.mp4").num_frames == 40


def stamps(path: Path, kind: str) -> list[float]:
    """Times in seconds at which the packets of a stream of this kind are shown."""
    with av.open(str(path)) as container:
        (stream,) = (stream for stream in container.streams if stream.type == kind)
        return [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]


@pytest.mark.parametrize("sound_seconds", [1.5, 2.0, 2.5])
def test_sound_keeps_its_place_beside_the_pictures(tmp_path, sound_seconds):
    recording = encode_with_sound(tmp_path / "a.ts", "aac", sound_seconds)
    joined = join(tmp_path / "joined.ts", recording, recording)
    frames = list(read_frames(joined))
    assert len(frames) == 100
    assert float(frames[50].time) == pytest.approx(max(2.0, sound_seconds), abs=0.05)
    with VideoWriter(tmp_path / "out.mp4", Fraction(25), joined) as writer:
        for image, time in frames:
            writer.write(image, time)
    sound, join_at = np.array(stamps(tmp_path / "out.mp4", "audio")), float(frames[50].time)
    assert (np.diff(sound) > 0).all()
    first, second = sound[sound < join_at - 0.03], sound[sound >= join_at - 0.03]
    assert first[-1] == pytest.approx(sound_seconds, abs=0.1)
    assert second[0] == pytest.approx(join_at, abs=0.1)  # its first packets precede the pictures
    expected = min(join_at + sound_seconds, float(frames[-1].time))  # as long as the pictures last
    assert second[-1] == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("lost", [range(22, 23), range(20, 24)])
def test_a_part_that_is_missing_in_mid_stream_is_damage(tmp_path, lost):
    data = encode(tmp_path / "a.ts", num_frames=20).read_bytes()
    packets = [data[start : start + 188] for start in range(0, len(data), 188)]
    (tmp_path / "cut.ts").write_bytes(b"".join(p for n, p in enumerate(packets) if n not in lost))
    with pytest.raises(InputError, match=r"cut\.ts is damaged: a part of one of its frames"):
        list(read_frames(tmp_path / "cut.ts"))
