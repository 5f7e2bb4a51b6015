import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media.video import FolderWriter, VideoWriter, open_writer, probe, read_frames
from tests.damaged import rewritten, with_unknown_sound
from tests.datasets.conftest import distance, encode_with_sound, moving_bar, write_clip
from utils.errors import InputError

ODD_TIMES = [Fraction(n, 12800) for n in (0, 512, 513, 1024, 5000, 5120, 12801)]


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "60", "25/2", "2997/100"])
def test_the_rate_of_an_mp4_is_exact(tmp_path, rate):
    path = write_clip(tmp_path / "clip.mp4", rate=Fraction(rate))
    assert probe(path)[1:5] == (Fraction(rate), 30, (48, 64), False)
    assert [f.time for f in read_frames(path)] == [n / Fraction(rate) for n in range(30)]


def test_a_variable_rate_keeps_its_times(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        for number, time in enumerate(ODD_TIMES):
            writer.write(moving_bar(number), time)
    assert [frame.time for frame in read_frames(path)] == ODD_TIMES
    assert probe(path).variable_rate
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base > ODD_TIMES[-1]  # players stop there


def test_an_mp4_has_a_key_frame_every_twelve(clip):
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        keys = [
            p.pts * Fraction(p.time_base) * 25 for p in container.demux(stream) if p.is_keyframe
        ]
    assert keys == [0, 12, 24]


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out/"])
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, name):
    killed = f"""
import os, signal
from fractions import Fraction
import numpy as np
from media.video import open_writer
with open_writer({str(tmp_path / "x")[:-1]!r} + {name!r}, Fraction(25)) as writer:
    writer.write(np.zeros((48, 64, 3), np.uint8))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out")
    with open_writer(f"{tmp_path}/{name}", Fraction(25)) as writer:
        writer.write(moving_bar(0))
    assert [path.name for path in tmp_path.iterdir()] == [name.rstrip("/")]


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out/"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_written_through(tmp_path, name, exists):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / name.rstrip("/")).symlink_to(elsewhere / "place")
    for _ in range(1 + exists):
        with open_writer(f"{tmp_path}/{name}", Fraction(25)) as writer:
            writer.write(moving_bar(0))
    assert (tmp_path / name.rstrip("/")).is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == ["place"]
    assert len(list(read_frames(tmp_path / name.rstrip("/")))) == 1


def write_with_sound_of(source: Path, path: Path, num_frames: int = 50) -> Path:
    with open_writer(path, Fraction(25), audio_from=source) as writer:
        for number in range(num_frames):
            writer.write(moving_bar(number))
    return path


def packets(path: Path) -> list[tuple[int, bytes]]:
    """Times and contents of the packets of sound."""
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


def loudness(path: Path) -> list[float]:
    """Loudness of the sound of a file, in each tenth of a second."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        tenth = container.streams.audio[0].rate // 10
    sound = np.concatenate(frames)
    sound = sound / (np.iinfo(sound.dtype).max if sound.dtype.kind == "i" else 1)
    return [float(np.abs(sound[at : at + tenth]).mean()) for at in range(0, len(sound), tenth)]


ENCODED = [
    *(("a.avi", "pcm_u8"), ("b.mov", "pcm_s16le"), ("c.asf", "wmav2"), ("d.avi", "mp3")),
    *(("e.mkv", "flac"), ("f.ts", "mp2"), ("g.mkv", "eac3"), ("h.mov", "alac")),
]


@pytest.mark.parametrize(
    ("name", "codec", "written"),
    [
        *(("a.mp4", "aac", "aac"), ("b.mkv", "libopus", "opus"), ("c.ts", "ac3", "ac3")),
        *(("d.ts", "aac", "aac"), *((name, codec, "aac") for name, codec in ENCODED)),
    ],
)
@pytest.mark.parametrize("num_frames", [20, 50])
def test_the_sound_is_there_as_long_as_the_pictures_last(
    tmp_path, name, codec, written, num_frames
):
    source = encode_with_sound(tmp_path / name, codec)
    path = write_with_sound_of(source, tmp_path / "copy.mp4", num_frames)
    with av.open(str(path)) as container:
        video, sound = container.streams
        assert sound.codec_context.codec.canonical_name == written
        assert video.duration * video.time_base == Fraction(num_frames, 25)
        assert num_frames / 25 - 0.07 < sound.duration * sound.time_base <= num_frames / 25
    assert min(loudness(path)[1:-1]) > 0.1  # 9000 / 32767 * 2 / pi is 0.17


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("b.mkv", "ac3"), ("c.mkv", "libopus")]
)
def test_sound_that_players_take_is_copied_bit_by_bit(tmp_path, name, codec):
    source = encode_with_sound(tmp_path / name, codec)
    path = write_with_sound_of(source, tmp_path / "copy.mp4")

    copied = [data for _, data in packets(path)]
    assert len(copied) > 30
    assert copied == [data for _, data in packets(source)][: len(copied)]


def remuxed(path: Path, place: Path, shifts: list[Fraction]) -> Path:
    """A file with its streams moved in time, each by so many seconds."""
    with av.open(str(path)) as source, av.open(str(place), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                shift = round(shifts[packet.stream.index] / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return place


@pytest.mark.parametrize(("shifts", "silent"), [([0, 1], 1.0), ([1, 0], 0.0), ([1, 1], 0.0)])
def test_sound_that_is_encoded_stays_in_step_with_the_pictures(tmp_path, shifts, silent):
    whole = encode_with_sound(tmp_path / "source.mkv", "pcm_s16le")
    source = remuxed(whole, tmp_path / "moved.mkv", [Fraction(shift) for shift in shifts])
    found = loudness(write_with_sound_of(source, tmp_path / "copy.mp4"))
    tenths = round(10 * silent)
    assert max(found[: max(tenths - 1, 0)], default=0) < 0.001
    lasts = 19 if shifts != [1, 0] else 10  # else it began a second before the pictures
    assert min(found[tenths + 1 : lasts - 1]) > 0.1
    assert len(found) <= 21


def test_damaged_sound_is_silent_and_told_once(tmp_path, caplog):
    source = encode_with_sound(tmp_path / "source.mkv", "flac")
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0)]
    data = source.read_bytes()
    for packet in packets[8:14]:
        data = data.replace(packet, bytes(len(packet)))
    found = loudness(write_with_sound_of(rewritten(source, "bad.mkv", data), tmp_path / "copy.mp4"))
    begin, end = (round(number * 4608 / 4800) for number in (8, 14))  # tenths of a second
    assert max(found[begin + 1 : end - 1]) < 0.01
    assert min(*found[1 : begin - 1], *found[end + 2 : -1]) > 0.1
    assert caplog.text.count("damaged sound is left out") == 1


def test_short_sound_is_copied_whole(tmp_path):
    source = encode_with_sound(tmp_path / "source.mp4", "aac", seconds=0.5)
    path = write_with_sound_of(source, tmp_path / "long.mp4")
    assert packets(path) == packets(source)


def test_sound_of_an_unknown_codec_is_left_out_and_logged(tmp_path, caplog):
    whole = encode_with_sound(tmp_path / "whole.mp4", "aac")
    source = with_unknown_sound(whole, "source.mp4")
    assert probe(source).has_audio
    path = write_with_sound_of(source, tmp_path / "copy.mp4")
    assert not probe(path).has_audio
    assert "source.mp4: sound track 0 cannot be decoded; going on without it." in caplog.text


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_the_next_track_is_taken_where_the_first_cannot_be_decoded(tmp_path, caplog, codec):
    first = encode_with_sound(tmp_path / "first.mp4", "aac", seconds=0.5)
    second = encode_with_sound(tmp_path / "second.mp4", codec)
    with (
        av.open(str(first)) as one,
        av.open(str(second)) as other,
        av.open(str(tmp_path / "both.mp4"), "w") as both,
    ):
        inputs = [one.streams.video[0], one.streams.audio[0], other.streams.audio[0]]
        outputs = [both.add_stream_from_template(stream) for stream in inputs]
        for stream, output in zip(inputs, outputs, strict=True):
            for packet in stream.container.demux(stream):
                if packet.size:
                    packet.stream = output
                    both.mux(packet)
            stream.container.seek(0)
    source = with_unknown_sound(tmp_path / "both.mp4", "source.mp4")
    path = write_with_sound_of(source, tmp_path / "copy.mp4")
    assert min(loudness(path)[1:-1]) > 0.1
    assert len(loudness(path)) >= 19
    assert caplog.text.count("cannot be decoded") == 1


def test_a_gif_has_the_frames_and_their_times(tmp_path):
    path = tmp_path / "clip.gif"
    times = [Fraction(n, 100) for n in (0, 4, 8, 20, 50)]
    with open_writer(path, Fraction(25)) as writer:
        for number, time in enumerate(times):
            writer.write(moving_bar(number), time)
    frames = list(read_frames(path))
    assert [frame.time for frame in frames] == times
    assert max(distance(frame.image, moving_bar(n)) for n, frame in enumerate(frames)) < 2


def test_a_gif_keeps_its_speed_by_leaving_frames_out(tmp_path):
    path = write_clip(tmp_path / "clip.gif", num_frames=60, rate=Fraction(60))
    times = [frame.time for frame in read_frames(path)]
    assert 0.95 < times[-1] < 1.0
    assert min(np.diff(times)) >= Fraction(2, 100)


def test_a_folder_holds_numbered_frames(tmp_path):
    with open_writer(f"{tmp_path}/frames/", Fraction(25)) as writer:
        for number in range(3):
            writer.write(moving_bar(number))
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == ["0000000.png", "0000001.png", "0000002.png"]
    images = [frame.image for frame in read_frames(tmp_path / "frames")]
    np.testing.assert_array_equal(images, [moving_bar(number) for number in range(3)])


def test_a_folder_replaces_earlier_frames_and_nothing_else(tmp_path):
    folder = tmp_path / "frames"
    for count in (3, 1):
        with FolderWriter(folder) as writer:
            for number in range(count):
                writer.write(moving_bar(number))
        assert len(list(folder.iterdir())) == count
    (folder / ".DS_Store").write_text("of a system")
    with FolderWriter(folder) as writer:
        writer.write(moving_bar(0))
    assert [path.name for path in folder.iterdir()] == ["0000000.png"]
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="other things"), FolderWriter(folder):
        pass
    assert (folder / "notes.txt").exists()
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "frames/"])
def test_an_exception_leaves_nothing(tmp_path, name):
    def interrupted():
        with open_writer(f"{tmp_path}/{name}", Fraction(25)) as writer:
            writer.write(moving_bar(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "frames/"])
def test_an_exception_leaves_an_earlier_output_as_it_was(tmp_path, name):
    with open_writer(f"{tmp_path}/{name}", Fraction(25)) as writer:
        writer.write(moving_bar(3))
    with (
        pytest.raises(InputError, match="no frame"),
        open_writer(f"{tmp_path}/{name}", Fraction(25)),
    ):
        pass
    (frame,) = read_frames(tmp_path / name.rstrip("/"))
    assert distance(frame.image, moving_bar(3)) < 6


@pytest.mark.parametrize(
    "name", ["missing/clip.mp4", "file/clip.gif", "file/frames/", "folder.mp4", "clip.txt", "clip"]
)
def test_what_cannot_be_written_is_one_sentence_before_any_frame(tmp_path, name):
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "folder.mp4").mkdir()
    name = f"{tmp_path}/{name}"
    with pytest.raises(InputError, match=r"^[^\n]+\.$"), open_writer(name, Fraction(25)):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_odd_sides_are_one_sentence_in_an_mp4_and_fine_in_a_gif(tmp_path):
    image = moving_bar(0, height=47, width=63)
    with open_writer(tmp_path / "clip.gif", Fraction(25)) as writer:
        writer.write(image)
    assert probe(tmp_path / "clip.gif").size == (47, 63)
    with pytest.raises(InputError, match="63 x 47"), VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(image)
    assert not (tmp_path / "a.mp4").exists()


def test_frames_of_two_sizes_are_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        writer.write(moving_bar(0))
        with pytest.raises(ValueError, match="after"):
            writer.write(moving_bar(0, height=50))


def test_the_same_frames_give_the_same_file(tmp_path):
    """Memory was used before: x264's AVX-512 code reads some that it never wrote."""
    x, y = np.meshgrid(np.linspace(0, 1, 96), np.linspace(0, 1, 80))

    def shown(number: int) -> np.ndarray:
        green = np.full_like(x, 25 + 8 * number % 200)
        return np.stack([40 + 150 * x, green, 200 - 150 * y], -1).astype(np.uint8)

    files = set()
    for attempt in range(6):
        with VideoWriter(tmp_path / "clip.mp4", Fraction(25), threads=1) as writer:
            for number in range(50):
                writer.write(shown(number))
        files.add((tmp_path / "clip.mp4").read_bytes())
        list(read_frames(tmp_path / "clip.mp4"))
        np.random.default_rng(attempt).integers(0, 255, (200 + attempt, 1000), dtype=np.uint8)
    assert len(files) == 1


def test_frames_that_an_output_does_not_show_are_not_counted(tmp_path):
    with VideoWriter(tmp_path / "fast.gif", Fraction(100)) as writer:
        for number in range(10):  # viewers show none for less than 20 ms
            writer.write(moving_bar(number))
    assert writer.num_frames == probe(tmp_path / "fast.gif").num_frames == 5
