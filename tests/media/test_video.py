import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from media import decoder
from media.decoder import VideoFile, open_video
from media.display import upright
from media.pictures import resized
from media.video import VideoWriter, frames_at, probe, read_frames
from tests.damaged import begun_late, rewritten, with_cover
from tests.datasets.conftest import (
    distance,
    encode,
    encode_sizes,
    encode_with_gaps,
    encode_with_sound,
    moving_bar,
    save,
    solid,
    with_matrix,
    write_clip,
    write_frames,
)
from utils.errors import InputError

CONTAINERS = ["clip.mp4", "clip.mov", "clip.avi", "clip.mkv", "clip.gif"]
ENDLESS = "clip.ts"  # says nothing of its length: a cut one is whole


def make(path: Path) -> Path:
    if path.suffix == ".gif":
        return write_clip(path)
    return encode(path)


@pytest.mark.parametrize("name", [*CONTAINERS, ENDLESS])
def test_every_frame_comes_back_with_its_time(tmp_path, name):
    frames = list(read_frames(make(tmp_path / name)))
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(30)]
    assert max(distance(frame.image, moving_bar(n)) for n, frame in enumerate(frames)) < 6


@pytest.mark.parametrize("name", [*CONTAINERS, ENDLESS])
def test_frames_by_number_equal_those_of_reading_on(tmp_path, name):
    path = make(tmp_path / name)
    frames = [frame.image for frame in read_frames(path)]
    for numbers in ([0], [29], [3, 20], [20, 3], [7, 7], [11, 12, 13], range(30)):
        expected = [frames[number] for number in numbers]
        np.testing.assert_array_equal(frames_at(path, list(numbers)), expected)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_that_an_avi_leaves_out_show_the_one_before_for_longer(tmp_path, codec):
    left_out = {*range(10, 20), 30, 31}
    path = encode_with_gaps(tmp_path / "gaps.avi", codec, left_out)
    frames, numbers = list(read_frames(path)), sorted(set(range(50)) - left_out)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in numbers]
    for frame, number in zip(frames, numbers, strict=True):
        assert distance(frame.image, moving_bar(number)) < 12
    video = probe(path)
    assert (video.rate, video.num_frames, video.variable_rate) == (Fraction(25), 38, True)
    np.testing.assert_array_equal(frames_at(path, [37, 12]), [frames[37].image, frames[12].image])
    with VideoWriter(tmp_path / "out.mp4", video.rate, path) as writer:
        for image, time in frames:
            writer.write(image, time)
    written = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.time for frame in written] == [frame.time for frame in frames]
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(2)


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("clip.mp4", "libx264", {"options": {"g": "12", "bf": "5", "x264-params": "b-pyramid=2"}}),
        ("clip.mp4", "libx264", {"options": {"x264-params": "open-gop=1:keyint=9:bframes=4"}}),
        ("clip.mp4", "libx265", {"options": {"x265-params": "keyint=12:log-level=none"}}),
        ("clip.mp4", "mpeg4", {"max_b_frames": 2}),
        ("clip.mkv", "libvpx-vp9", {}),
        ("clip.mov", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ],
)
def test_every_frame_by_number_is_the_same_in_every_codec(tmp_path, name, codec, settings):
    path = encode(tmp_path / name, codec, **settings)
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == 30
    for number in range(30):
        other = (7 * number) % 30
        expected = [frames[number], frames[other]]
        np.testing.assert_array_equal(frames_at(path, [number, other]), expected)


def test_no_more_is_decoded_than_two_frames_need(tmp_path, monkeypatch):
    two_b_frames = "bframes=2:b-adapt=0:b-pyramid=0:scenecut=0"  # I b b P b b P ...
    path = encode(tmp_path / "clip.mp4", options={"g": "12", "x264-params": two_b_frames})
    with open_video(path) as video:
        numbers = {time: number for number, time in enumerate(video.index().times)}
        video.display()  # which the first frame decides, once for a file
    decoded = []
    check = VideoFile._whole
    monkeypatch.setattr(
        VideoFile, "_whole", lambda self, frames: decoded.extend(frames) or check(self, frames)
    )
    frames_at(path, [16, 18])
    assert [numbers[frame.pts] for frame in decoded] == [12, 15, 16, 18]


def test_the_index_of_a_file_is_read_once_until_the_file_changes(clip, monkeypatch):
    read, reads = VideoFile.read_index, []
    monkeypatch.setattr(VideoFile, "read_index", lambda self: reads.append(self.file) or read(self))
    assert probe(clip).num_frames == 30
    frames_at(clip, [3, 29])
    assert len(reads) == 1
    write_clip(clip, num_frames=10)
    with pytest.raises(InputError, match="10 frames"):
        frames_at(clip, [29])
    assert probe(clip).num_frames == 10
    assert len(reads) == 2


def test_the_indices_kept_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "MAX_INDICES", 2)
    for number in range(5):
        path = write_clip(tmp_path / f"{number}.mp4", num_frames=2 + number)
        assert probe(path).num_frames == 2 + number
        assert len(decoder._indices) <= 2


def test_probing_tells_what_is_in_a_video(clip, tmp_path):
    assert probe(clip) == (clip, Fraction(25), 30, (48, 64), False, False)
    assert probe(encode_with_sound(tmp_path / "sound.mp4", "aac")).has_audio


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_sound_does_not_disturb_the_frames(tmp_path, name):
    path = encode_with_sound(tmp_path / name, "mp3")
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == probe(path).num_frames == 50
    np.testing.assert_array_equal(frames_at(path, [49, 20]), [frames[49], frames[20]])


def test_frames_that_an_edit_list_cuts_away_are_not_counted(tmp_path, clip):
    cut = tmp_path / "cut.mp4"
    with av.open(str(clip)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= 5 * 512  # five frames before time 0
                packet.dts -= 5 * 512
                packet.stream = stream
                target.mux(packet)
    frames = [frame.image for frame in read_frames(cut)]
    assert distance(frames[0], moving_bar(5)) < 6
    assert probe(cut).num_frames == len(frames) == 25
    np.testing.assert_array_equal(frames_at(cut, [0, 24]), [frames[0], frames[24]])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("across", [1, -1])
@pytest.mark.parametrize("down", [1, -1])
def test_a_turned_or_mirrored_video_comes_out_upright(clip, turned, across, down):
    stored = np.array([frame.image for frame in read_frames(clip)])
    if turned:
        with_matrix(clip, a=0, b=down, c=across, d=0)
    else:
        with_matrix(clip, a=across, b=0, c=0, d=down)
    expected = np.empty((30, 64, 48, 3) if turned else stored.shape, np.uint8)
    for y, x in np.ndindex(stored.shape[1:3]):
        row, column = (x, y) if turned else (y, x)  # a negative one counts from the other end
        row, column = (at if way > 0 else -1 - at for at, way in ((row, down), (column, across)))
        expected[:, row, column] = stored[:, y, x]
    assert probe(clip).size == expected.shape[1:3]
    np.testing.assert_array_equal([frame.image for frame in read_frames(clip)], expected)
    np.testing.assert_array_equal(frames_at(clip, [3, 20]), expected[[3, 20]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_motion_jpeg_of_turned_or_mirrored_photographs_comes_out_upright(tmp_path, orientation):
    exif, photograph = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(moving_bar(20)).save(photograph, "JPEG", exif=exif, quality=95)
    path = tmp_path / "camera.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        packet = av.Packet(photograph.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 25)
        container.mux(packet)
    (frame,) = read_frames(path)
    upright_photograph = np.asarray(ImageOps.exif_transpose(Image.open(photograph)))
    assert distance(frame.image, upright_photograph) < 6


@pytest.mark.parametrize("name", ["clip.webm", "clip.mkv"])
def test_frames_of_a_video_that_changes_its_size_have_the_first_ones(tmp_path, name):
    path = encode_sizes(tmp_path / name, [(48, 64), (24, 32), (96, 128)])
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == probe(path).num_frames == 15
    assert probe(path).size == (48, 64)
    for number, frame in enumerate(frames):
        height, width = [(48, 64), (24, 32), (96, 128)][number // 5]
        shown = resized(moving_bar(3 * number, height, width), (48, 64))
        assert distance(frame, shown) < 9, number
    np.testing.assert_array_equal(frames_at(path, [12, 7]), [frames[12], frames[7]])


def test_a_frame_of_another_shape_stands_in_the_middle_on_black(tmp_path):
    path = encode_sizes(tmp_path / "clip.webm", [(48, 64), (64, 48)])
    turned = [frame.image for frame in read_frames(path)][7]
    assert turned.shape == (48, 64, 3)
    assert turned[:, :13].max() < 12
    assert turned[:, -13:].max() < 12
    assert distance(turned[:, 14:50], resized(moving_bar(21, 64, 48), (48, 36))) < 9


def test_pictures_of_a_folder_have_the_size_of_the_first(tmp_path):
    sizes = [(48, 64), (24, 32), (64, 48)]
    write_frames(tmp_path, (moving_bar(20, *size) for size in sizes))
    assert probe(tmp_path).size == (48, 64)
    first, small, tall = (frame.image for frame in read_frames(tmp_path))
    np.testing.assert_array_equal(first, moving_bar(20))
    np.testing.assert_array_equal(small, resized(moving_bar(20, 24, 32), (48, 64)))
    np.testing.assert_array_equal(tall[:, 14:50], resized(moving_bar(20, 64, 48), (48, 36)))
    assert tall[:, :14].max() == tall[:, 50:].max() == 0
    np.testing.assert_array_equal(frames_at(tmp_path, [2, 1]), [tall, small])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.mov"])
@pytest.mark.parametrize(("aspect", "width"), [((4, 3), 85), ((8, 9), 57), ((1216, 1215), 64)])
def test_a_video_of_pixels_that_are_not_square_is_stretched(tmp_path, name, aspect, width):
    path = encode(tmp_path / name, sample_aspect_ratio=Fraction(*aspect))
    frames = [frame.image for frame in read_frames(path)]
    assert probe(path).size == (48, width)
    for number, frame in enumerate(frames):
        assert distance(frame, resized(moving_bar(number), (48, width))) < 6
    np.testing.assert_array_equal(frames_at(path, [20]), frames[20:21])


def test_a_turned_video_is_stretched_as_it_is_stored(tmp_path):
    path = encode(tmp_path / "clip.mp4", sample_aspect_ratio=Fraction(4, 3))
    with_matrix(path, 0, 1, -1, 0)  # a quarter turn clockwise
    assert probe(path).size == (85, 48)
    first = next(read_frames(path)).image
    assert distance(first, np.rot90(resized(moving_bar(0), (48, 85)), -1)) < 6


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])  # BT.709, BT.601
def test_colours_follow_the_tags_of_the_file(tmp_path, matrix, full_range):
    red, green, blue = 200, 30, 60
    kr, kb = (0.2126, 0.0722) if matrix == 1 else (0.299, 0.114)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    if full_range:
        planes = y, 128 + u, 128 + v
    else:
        planes = 16 + 219 / 255 * y, 128 + 224 / 255 * u, 128 + 224 / 255 * v
    sizes = (48, 64), (12, 64), (12, 64)  # as numpy lays out 4:2:0
    yuv = np.concatenate(
        [np.full(s, round(p), np.uint8) for p, s in zip(planes, sizes, strict=True)]
    )
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.colorspace, frame.color_range = matrix, 2 if full_range else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    image = next(read_frames(path)).image
    assert distance(image, np.full_like(image, (red, green, blue))) < 4


def as_stored(image: np.ndarray) -> av.VideoFrame:
    """The frame of a video that shows a picture, but for the losses of its codec."""
    stored = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=1, dst_color_range=1
    )
    stored.colorspace, stored.color_range = 1, 1
    return stored


def test_colours_are_not_rounded_down():
    rng = np.random.default_rng(0)
    frames = np.repeat(np.repeat(rng.integers(20, 236, (20, 3, 4, 3), np.uint8), 16, 1), 16, 2)
    differences = [upright(as_stored(frame)).astype(int) - frame for frame in frames]
    np.testing.assert_allclose(np.mean(differences, axis=(0, 1, 2)), 0, atol=0.5)


def test_colours_that_are_not_stored_are_interpolated():
    x = np.linspace(0, 6 * np.pi, 64)
    waves = np.stack([120 + 80 * np.sin(x), np.full(64, 90), 120 - 80 * np.sin(x)], -1)
    image = np.broadcast_to(waves.round().astype(np.uint8), (48, 64, 3)).copy()
    assert distance(upright(as_stored(image)), image) < 1.5  # 5.7 where they are repeated


def test_ten_bits_are_read_as_eight(tmp_path):
    path = encode(tmp_path / "deep.mp4", pix_fmt="yuv420p10le")
    frames = list(read_frames(path))
    assert frames[20].image.dtype == np.uint8
    assert distance(frames[20].image, moving_bar(20)) < 6


def test_odd_sizes_are_read(tmp_path):
    path = encode(tmp_path / "odd.avi", codec="mjpeg", pix_fmt="yuvj444p", height=47, width=63)
    assert probe(path).size == next(read_frames(path)).image.shape[:2] == (47, 63)


def test_a_folder_is_read_in_natural_order(tmp_path):
    for number in (10, 9, 2, 1):
        save(tmp_path / f"f{number}.png", solid(number, 8, 6))
    save(tmp_path / "F11.JPG", solid(0, 8, 6))
    (tmp_path / "notes.txt").write_text("not a frame")
    frames = list(read_frames(tmp_path))
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 2, 9, 10, 0]
    assert [frame.time for frame in frames][:2] == [0, Fraction(1, 25)]
    assert probe(tmp_path)[1:] == (Fraction(25), 5, (8, 6), False, False)
    np.testing.assert_array_equal(frames_at(tmp_path, [3, 1]), [frames[3].image, frames[1].image])


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    (frame,) = read_frames(save(tmp_path / "still.png", moving_bar(7)))
    assert frame.time == 0
    np.testing.assert_array_equal(frame.image, moving_bar(7))


def test_a_name_with_odd_characters_is_read(clip):
    strange = clip.rename(clip.with_name("id1#a:b%03d é.mp4"))
    assert len(list(read_frames(strange))) == 30


def test_a_title_in_another_encoding_does_no_harm(tmp_path):
    path = tmp_path / "titled.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "tete"
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(moving_bar(0), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"tete", "tête".encode("latin-1")))
    assert probe(path).num_frames == 1


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


def cover() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_the_cover_of_an_album_is_no_video(tmp_path, name):
    whole = encode_with_sound(tmp_path / name, "aac")
    path = with_cover(whole, f"cover-{name}", cover())
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "png"
    assert probe(path)[1:] == probe(whole)[1:]
    expected = [frame.image for frame in read_frames(whole)]
    np.testing.assert_array_equal([frame.image for frame in read_frames(path)], expected)
    np.testing.assert_array_equal(frames_at(path, [49, 20]), [expected[49], expected[20]])


def test_of_several_videos_the_one_is_read_that_players_show(tmp_path, clip):
    path = tmp_path / "two.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        still = target.add_stream("mjpeg", rate=25)
        still.height, still.width, still.pix_fmt = 32, 32, "yuvj420p"
        video = target.add_stream_from_template(source.streams.video[0])
        red = np.full((32, 32, 3), (255, 0, 0), np.uint8)
        target.mux(still.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        target.mux(still.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    assert probe(path).num_frames == len(list(read_frames(path))) == 30
    assert distance(frames_at(path, [7])[0], moving_bar(7)) < 6


def test_a_file_with_nothing_but_a_cover_has_no_video(tmp_path):
    path = with_cover(write_sound(tmp_path / "sound.mp4"), "song.m4a", cover())
    for read in (probe, read_all):
        with pytest.raises(InputError, match=r"song\.m4a has no video stream"):
            read(path)


def test_a_video_of_an_unknown_codec_is_one_sentence(clip):
    path = rewritten(clip, "unknown.mp4", clip.read_bytes().replace(b"avc1", b"xxxx"))
    for read in (probe, read_all):
        with pytest.raises(InputError, match=r"unknown\.mp4 has a video that FFmpeg cannot decode"):
            read(path)


def read_all(path):
    return list(read_frames(path))


def read_last(path):
    return frames_at(path, [29])


DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("This is no video.\n" * 100),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10]),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_file_is_one_sentence_that_names_it(tmp_path, name, damage):
    path = make(tmp_path / name)
    damage(path)
    for read in (probe, read_all, read_last):
        with pytest.raises(InputError, match=r"^[^\n]*clip\.[^\n]*\.$"):
            read(path)


def test_what_holds_no_frames_is_one_sentence(tmp_path):
    (tmp_path / "letters.txt").write_text("FFmpeg would draw these letters.\n" * 100)
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "false.png").write_text("no picture")
    reasons = {"letters.txt": "text", "sound.mp4": "no video stream", "empty": "no PNG or JPEG"}
    for name, reason in (reasons | {"false.png": "not a readable picture"}).items():
        for read in (probe, read_all):
            with pytest.raises(InputError, match=rf"^[^\n]*{name}[^\n]*{reason}[^\n]*\.$"):
                read(tmp_path / name)


def test_a_picture_with_the_ending_of_a_video_is_told_to_be_one(tmp_path):
    first, second = (Image.fromarray(moving_bar(number)) for number in (0, 30))
    path = tmp_path / "sticker.mp4"
    first.save(path, "WEBP", save_all=True, append_images=[second])
    for read in (probe, read_all):
        with pytest.raises(
            InputError, match=r"sticker\.mp4 is a picture, not .* the ending \.webp\.$"
        ):
            read(path)


def test_damage_in_mid_stream_is_found_after_the_good_frames(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", num_frames=60)
    key = [p.pos for p in av.open(str(path)).demux(video=0) if p.is_keyframe][3]
    data = bytearray(path.read_bytes())
    data[key : key + 200] = bytes(200)
    path.write_bytes(data)
    frames = []
    with pytest.raises(InputError, match=r"clip\.mp4.*damaged"):
        frames.extend(read_frames(path))
    assert len(frames) >= 24
    assert distance(frames_at(path, [20])[0], moving_bar(20)) < 6  # before the damage


X264 = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:scenecut=0"}
X265 = {
    "x265-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:crf=10:log-level=none"
}

MPEG2 = {"g": "10", "bf": "2", "b_strategy": "0", "flags": "-cgop", "b": "8M"}


def key_packets(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    return [number for number, packet in enumerate(packets) if packet.is_keyframe]


def shown_numbers(path: Path) -> list[int]:
    """Which frames of ``moving_bar`` are shown."""
    return [
        min(range(60), key=lambda number: distance(frame.image, moving_bar(number)))
        for frame in read_frames(path)
    ]


@pytest.mark.parametrize(
    ("codec", "options", "ending"),
    [
        ("libx264", X264, "mkv"),
        ("libx264", X264, "ts"),
        ("libx265", X265, "mkv"),
        ("libx265", X265, "ts"),
        ("mpeg2video", MPEG2, "mpg"),
        ("mpeg2video", MPEG2, "mkv"),
    ],
)
def test_first_frames_that_cannot_be_decoded_are_left_out(tmp_path, caplog, codec, options, ending):
    whole = encode(tmp_path / f"whole.{ending}", codec, num_frames=40, options=options)
    path = begun_late(whole, f"cut.{ending}", num_missing=key_packets(whole)[1])
    num_frames = probe(path).num_frames
    left_out = len([p for p in av.open(str(path)).demux(video=0) if p.size]) - num_frames
    assert left_out > 0
    counted = "frame" if left_out == 1 else f"{left_out} frames"
    assert caplog.text.count(f"its first {counted} cannot be decoded") == 1
    assert shown_numbers(path) == list(range(40 - num_frames, 40))
    frames = list(read_frames(path))
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(num_frames)]
    for numbers in ([0], [num_frames - 1, 3], [11, 12]):
        expected = [frames[number].image for number in numbers]
        np.testing.assert_array_equal(frames_at(path, numbers), expected)
    assert caplog.text.count("cannot be decoded") == 1


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.ts"), ("mpeg2video", "a.mpg")])
def test_a_recording_that_was_joined_late_begins_with_its_first_key_frame(tmp_path, codec, name):
    whole = encode(tmp_path / name, codec, num_frames=60, options={"g": "12", "b": "8M"})
    data = whole.read_bytes()
    for number, part in enumerate((3, 2.5)):
        path = rewritten(whole, f"late-{number}-{name}", data[int(len(data) / part) :])
        shown = shown_numbers(path)
        assert 24 <= len(shown) == probe(path).num_frames < 60
        assert shown == list(range(60 - len(shown), 60))


def test_a_video_of_which_nothing_can_be_decoded_is_one_sentence(tmp_path):
    whole = encode(tmp_path / "whole.ts", options={"g": "100"})
    path = begun_late(whole, "late.ts", num_missing=29)
    for read in (probe, read_all):
        with pytest.raises(InputError, match=r"late\.ts holds no frame that can be decoded"):
            read(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts"])
def test_damage_is_an_error_but_for_frames_after_it(tmp_path, name):
    path = encode(tmp_path / name, "mpeg4", num_frames=60)
    with av.open(str(path)) as container:
        packet = bytes([p for p in container.demux(video=0) if p.size][25])
    rewritten(path, name, path.read_bytes().replace(packet[-20:], bytes(20)))
    whole = encode(tmp_path / f"whole{path.suffix}", "mpeg4", num_frames=60)
    expected = [frame.image for frame in read_frames(whole)]
    with pytest.raises(InputError, match=r"clip\.\w+.* damaged"):
        read_all(path)
    later = list(read_frames(path, first=40))
    np.testing.assert_array_equal([frame.image for frame in later], expected[40:])
    assert [frame.time for frame in later] == [Fraction(n, 25) for n in range(20)]
    np.testing.assert_array_equal(frames_at(path, [45, 41]), [expected[45], expected[41]])
    with pytest.raises(InputError, match=r"clip\.\w+.* damaged"):
        list(read_frames(path, first=25))


@pytest.mark.parametrize("name", [*CONTAINERS, ENDLESS])
def test_reading_from_a_frame_on_gives_the_frames_from_there(tmp_path, name):
    path = make(tmp_path / name)
    frames = [frame.image for frame in read_frames(path)]
    for first in (1, 13, 29):
        later = list(read_frames(path, first))
        np.testing.assert_array_equal([frame.image for frame in later], frames[first:])
        assert [frame.time for frame in later] == [Fraction(n, 25) for n in range(30 - first)]
    with pytest.raises(InputError, match="there is no frame 30"):
        list(read_frames(path, first=30))


def test_a_number_out_of_range_is_an_input_error(clip):
    with pytest.raises(InputError, match="30 frames"):
        frames_at(clip, [0, 30])
