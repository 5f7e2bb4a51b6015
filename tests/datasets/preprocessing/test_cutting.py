import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datasets.preprocessing import cutting
from datasets.preprocessing.cutting import (
    BEYOND_END,
    RATE,
    UNREADABLE,
    ClipFormat,
    Cut,
    Output,
    RawVideo,
    cut_clips,
)
from datasets.records import read_record, record_path
from media import decoder
from media.decoder import open_video
from media.pictures import Box
from media.video import probe, read_frames
from tests.datasets.conftest import with_matrix
from tests.datasets.preprocessing.conftest import assert_shown_at, write_raw
from utils.errors import InputError, OutputError

BOX = Box(0.125, 0.1, 0.625, 0.9)  # 80 x 96 pixels of 160 x 120
SMALL = ClipFormat(size=32)


def cut(start: int, end: int, name: str = "id1#v", box: Box = BOX) -> Cut:
    return Cut(f"{name}#{start:06d}#{end:06d}", "train", start, end, box)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    (tmp_path / "root" / ".work").mkdir(parents=True)
    return Output(tmp_path / "root", tmp_path / "root" / ".work")


def frames_of(output: Output, wanted: Cut, form: ClipFormat = SMALL) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(form.path(output.root, wanted))]


def slow_moments(rate: Fraction, start: int, end: int) -> list[int]:
    """The fiftieth seconds that frames should show, by the definition: no arithmetic of indices."""
    times = [number / rate for number in range(2000)]
    return [
        int(max(time for time in times if time < (n + Fraction(1, 2)) / RATE) * 50)
        for n in range(start, end)
    ]


@pytest.mark.parametrize("name", ["raw.mp4", "raw.mkv", "raw.avi", "raw.ts", "raw.flv"])
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(50)])
def test_frames_are_counted_at_25_a_second_whatever_the_videos_rate(tmp_path, output, name, rate):
    raw = write_raw(tmp_path / name, rate, seconds=3.2)
    wanted = [cut(3, 20), cut(31, 76)]
    assert [outcome.reason for outcome in cut_clips(raw, wanted, SMALL, output)] == [None, None]
    for one in wanted:
        clip = probe(SMALL.path(output.root, one))
        assert (clip.rate, clip.num_frames, clip.size) == (25, one.end - one.start, (32, 32))
        assert_shown_at(frames_of(output, one), slow_moments(rate, one.start, one.end))


@pytest.mark.parametrize(
    ("rate", "num_frames", "expected"),
    [(Fraction(25), 50, 50), (Fraction(30), 50, 42), (Fraction(30000, 1001), 50, 42), (50, 3, 2)],
)
def test_a_video_has_as_many_frames_as_its_time_is_nearest_to(tmp_path, rate, num_frames, expected):
    raw = write_raw(tmp_path / "raw.mkv", Fraction(rate), num_frames / rate)
    assert RawVideo.open(raw).num_frames == expected


def test_a_key_frame_comes_every_twelve_frames(tmp_path, output):
    wanted = cut(5, 50)
    cut_clips(write_raw(tmp_path / "raw.mp4", Fraction(25), 2), [wanted], SMALL, output)
    with open_video(SMALL.path(output.root, wanted)) as video:
        index = video.index()
        assert [index.times.index(key) for key in index.keys] == [0, 12, 24, 36]


def test_one_thread_writes_a_clip(tmp_path, output):
    """The number of threads changes the bits; x264 writes it into the file."""
    wanted, form = cut(5, 10), ClipFormat(size=128)
    cut_clips(write_raw(tmp_path / "raw.mp4", Fraction(25), 1), [wanted], form, output)
    assert b" threads=1 " in form.path(output.root, wanted).read_bytes()


def test_boxes_are_of_the_video_as_it_is_shown(tmp_path, output):
    raw, wanted = write_raw(tmp_path / "raw.mp4", Fraction(25), 1), cut(0, 10)
    with_matrix(raw, 0, 1, -1, 0)  # a quarter turn clockwise
    assert cut_clips(raw, [wanted], SMALL, output) == [wanted.outcome()]
    record = read_record(SMALL.path(output.root, wanted))
    assert (record.video_size, record.box) == ((120, 160), (15, 16, 75, 144))


def test_the_record_keeps_that_the_edge_of_the_video_cut_the_box(tmp_path, output):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 1)
    box, stated = Box(0.5, 0.25, 1, 1), Box(0.5, 0.25, 1.125, 1.1)
    whole, at_edge = cut(0, 10), cut(2, 10)._replace(box=box, stated=stated)
    assert cut_clips(raw, [whole, at_edge], SMALL, output) == [whole.outcome(), at_edge.outcome()]
    record = read_record(SMALL.path(output.root, at_edge))
    assert (record.box, record.box_stated) == ((80, 30, 160, 120), (80, 30, 180, 132))
    assert read_record(SMALL.path(output.root, whole)).box_stated is None


def test_clips_that_overlap_are_the_same_as_clips_cut_one_by_one(tmp_path, output):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(30), seconds=8)
    other_box = Box(0.4, 0.2, 1.0, 0.8)
    wanted = [cut(10, 60), cut(40, 90, box=other_box), cut(10, 45, name="id2#v")]
    wanted += [cut(110, 190), cut(120, 160)]
    together = cut_clips(raw, wanted, SMALL, output)
    assert {outcome.name: outcome.reason for outcome in together} == {
        one.name: None for one in wanted
    }
    for one in wanted:
        content = SMALL.path(output.root, one).read_bytes()
        SMALL.path(output.root, one).unlink()
        cut_clips(raw, [one], SMALL, output)
        assert SMALL.path(output.root, one).read_bytes() == content


def test_distant_clips_are_decoded_apart_and_near_ones_at_once(tmp_path):
    raw = RawVideo.open(write_raw(tmp_path / "raw.mp4", Fraction(25), seconds=12))
    near, distant = [cut(0, 30), cut(20, 50), cut(60, 90)], cut(250, 290)
    assert list(raw.passes([distant, *near])) == [near, [distant]]
    shown = [time for time, _ in raw.frames(250, 289)]
    assert len(shown) == 40
    long, within, after = cut(0, 200), cut(10, 20), cut(130, 150)
    assert list(raw.passes([after, within, long])) == [[long, within, after]]
    in_stream = RawVideo.open(write_raw(tmp_path / "raw.ts", Fraction(25), seconds=12))
    assert list(in_stream.passes([distant, *near])) == [[*near, distant]]


def test_what_is_known_of_raw_videos_is_not_kept(tmp_path):
    RawVideo.open(write_raw(tmp_path / "raw.mp4", Fraction(25), seconds=1))
    assert not any(str(tmp_path) in file for file, _, _ in decoder._indices)


def test_the_box_is_flattened_as_published_or_widened_to_a_square(tmp_path, output):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 1)
    picture = next(read_frames(raw)).image
    wanted = cut(0, 10)
    for boxes, (left, top, right, bottom) in (
        ("published", (20, 12, 100, 108)),
        ("square", (12, 12, 108, 108)),
    ):
        form = ClipFormat(boxes, 32)
        cut_clips(raw, [wanted], form, output)
        frame = frames_of(output, wanted, form)[0].astype(float)
        area = picture[top:bottom, left:right]
        # red grows with x, blue falls with y: their ends say what was cut out
        for channel, axis in ((0, 1), (2, 0)):
            ends = area[..., channel].mean(1 - axis)[[0, -1]]
            np.testing.assert_allclose(frame[..., channel].mean(1 - axis)[[0, -1]], ends, atol=5)
        record = json.loads(form.path(output.root, wanted).with_suffix(".json").read_text())
        assert record["box"] == [left, top, right, bottom]
        assert record["boxes"] == boxes
        assert record["aspect"] == (1.2 if boxes == "published" else 1)
        assert record["frames"] == [0, 10]
        assert record["video_size"] == [160, 120]
        form.path(output.root, wanted).unlink()


def test_png_clips_are_folders_of_frames(tmp_path, output):
    form = ClipFormat(size=32, format="png")
    wanted = cut(2, 7)
    cut_clips(write_raw(tmp_path / "raw.mp4", Fraction(25), 1), [wanted], form, output)
    names = sorted(path.name for path in form.path(output.root, wanted).iterdir())
    assert names == [f"{number:07d}.png" for number in range(5)]
    assert form.path(output.root, wanted).with_name(f"{wanted.name}.json").is_file()


def test_a_clip_that_is_there_is_not_touched(tmp_path, output):
    wanted = cut(0, 10)
    SMALL.path(output.root, wanted).parent.mkdir()
    SMALL.path(output.root, wanted).write_text("there")
    (outcome,) = cut_clips(tmp_path / "no such video.mp4", [wanted], SMALL, output)
    assert outcome == wanted.outcome()
    assert SMALL.path(output.root, wanted).read_text() == "there"


def test_the_last_frame_can_be_cut_and_none_after_it(tmp_path, output):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(50), seconds=2)
    last, beyond = cut(40, 50), cut(40, 51)
    outcomes = cut_clips(raw, [last, beyond], SMALL, output)
    assert {outcome.name: outcome.reason for outcome in outcomes} == {
        last.name: None,
        beyond.name: BEYOND_END,
    }
    assert "has 50 frames" in next(o.detail for o in outcomes if o.reason)
    assert_shown_at(frames_of(output, last), range(80, 100, 2))


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_costs_its_own_clips_only(tmp_path, output, content):
    path = tmp_path / "raw.mp4"
    if content is None:  # cut in the middle
        whole = write_raw(path, Fraction(25), 2).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    outcomes = cut_clips(path, [cut(0, 10), cut(10, 20)], SMALL, output)
    assert [outcome.reason for outcome in outcomes] == [UNREADABLE] * 2
    assert str(path) in outcomes[0].detail
    assert not any(output.work.iterdir())


def test_damage_in_the_middle_costs_the_clips_that_reach_it(tmp_path, output):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 8)
    with av.open(str(raw)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(raw.read_bytes())
    bad = packets[100]
    content[bad.pos + 4 : bad.pos + bad.size] = bytes(bad.size - 4)
    raw.write_bytes(content)
    early, late, after = cut(0, 30), cut(20, 150), cut(165, 190)
    outcomes = {o.name: o for o in cut_clips(raw, [early, late, after], SMALL, output)}
    assert outcomes[early.name].reason is None
    assert outcomes[late.name].reason == UNREADABLE
    assert "damaged" in outcomes[late.name].detail
    assert outcomes[after.name].reason is None
    assert_shown_at(frames_of(output, after), range(330, 380, 2))
    assert not SMALL.path(output.root, late).exists()
    assert not any(output.work.iterdir())


def test_every_clip_is_told_of_where_damage_ends_a_pass(tmp_path, output, monkeypatch):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 4)

    def until_frame_40(self: RawVideo, first: int, last: int) -> Iterator[tuple[int, object]]:
        yield from ((t, frame) for t, frame in whole(self, first, last) if t < self.time(40))
        raise InputError("Damaged.")

    whole = RawVideo.frames
    monkeypatch.setattr(RawVideo, "frames", until_frame_40)
    wanted = [cut(0, 30), cut(20, 60), cut(45, 90)]
    assert sorted(cut_clips(raw, wanted, SMALL, output)) == sorted(
        [wanted[0].outcome(), *(one.outcome(UNREADABLE, "Damaged.") for one in wanted[1:])]
    )


def test_a_clip_with_a_frame_too_few_is_none(tmp_path, output, monkeypatch):
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 2)

    def without_frame_10(self: RawVideo, first: int, last: int) -> Iterator[tuple[int, object]]:
        yield from ((t, frame) for t, frame in whole(self, first, last) if t != self.time(10))

    whole = RawVideo.frames
    monkeypatch.setattr(RawVideo, "frames", without_frame_10)
    wanted = [cut(0, 20), cut(11, 40)]
    outcomes = cut_clips(raw, wanted, SMALL, output)
    detail = "1 of its frames are missing"
    assert outcomes == [wanted[0].outcome(UNREADABLE, detail), wanted[1].outcome()]
    assert not SMALL.path(output.root, wanted[0]).exists()
    assert not any(output.work.iterdir())


@pytest.mark.parametrize("form", [SMALL, ClipFormat(size=32, format="png")])
def test_a_clip_comes_last_and_has_reached_the_disk(tmp_path, output, monkeypatch, form):
    events: list[str] = []
    rename = Path.rename

    def renamed(path: Path, place: Path) -> Path:
        if place == form.path(output.root, wanted):
            events.append("record" if record_path(place).exists() else "no record")
            events.append("clip")
        return rename(path, place)

    wanted = cut(0, 3)
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 1)
    monkeypatch.setattr(cutting, "flush", lambda path: events.append(path.name))
    monkeypatch.setattr(Path, "rename", renamed)
    cut_clips(raw, [wanted], form, output)
    frames = [] if form == SMALL else ["0000000.png", "0000001.png", "0000002.png"]
    assert sorted(events[:-2]) == sorted([*frames, form.path(output.root, wanted).name])
    assert events[-2:] == ["record", "clip"]


def test_a_place_that_cannot_be_written_stops_everything(tmp_path, output):
    (output.root / "train").write_text("a file where the folder should be")
    raw = write_raw(tmp_path / "raw.mp4", Fraction(25), 1)
    with pytest.raises(OutputError, match="cannot be written"):
        cut_clips(raw, [cut(0, 10)], SMALL, output)
