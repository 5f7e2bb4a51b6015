import errno
import json
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from datasets.__main__ import main
from datasets.clips import frames_of, open_clip
from datasets.inspection.check import CheckReport, check
from datasets.inspection.clip_inspection import Fault, Inspection, inspect
from datasets.inspection.problems import Expected, clip_problems
from datasets.inspection.repair import encode_again, move_aside
from datasets.records import DatasetSettings, read_record, record_path
from media.decoder import VideoFile, index_of
from media.pictures import Picture
from media.video import probe, read_frames
from media.writers import VideoWriter
from tests.damaged import begun_late
from tests.datasets.conftest import (
    contents,
    distance,
    encode,
    encode_with_sound,
    here,
    kill_when,
    moving_bar,
    with_matrix,
    write_clip,
    write_frames,
    write_record,
    write_video,
)
from utils.errors import InputError, OutputError

REPOSITORY = Path(__file__).parents[3]
REAL_CLIPS = REPOSITORY.parent / "shared" / "clips"


def write_square(
    path: Path, num_frames: int = 30, rate: int = 25, side: int = 64, **form: int
) -> Path:
    return write_video(path, squares(num_frames, side), rate, threads=1, **form)


def squares(num_frames: int, side: int = 64) -> list[Picture]:
    return [moving_bar(number, side, side) for number in range(num_frames)]


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch):
    monkeypatch.setattr("datasets.inspection.check.map_in_processes", here)
    monkeypatch.setattr("datasets.inspection.repair.map_in_processes", here)


def run_check(root: Path, fix: bool = False, size: int | None = None) -> CheckReport:
    return check(root, fix=fix, size=size, min_frames=10, workers=1)


def sound_root(root: Path) -> Path:
    """Five clips without a problem; one is a folder of frames, one is in test."""
    for name in ("id1#a#000000#000030", "id1#b#000030#000060", "id2#a#000000#000030"):
        write_square(root / "train" / f"{name}.mp4")
    write_record(root / "train" / "id1#b#000030#000060.mp4", frames=(30, 60))
    write_frames(root / "train" / "id3#a#000000#000030", squares(30))
    write_square(root / "test" / "id9#a#000000#000030.mp4")
    return root


def images(path: Path) -> list[Picture]:
    return [frame.image for frame in read_frames(path)]


def test_a_sound_root_has_no_problems_and_is_not_touched(tmp_path):
    root = sound_root(tmp_path / "root")
    before = contents(root)
    report = run_check(root)
    assert (report.found, report.remaining) == ({}, {})
    assert report.clips == {"train": 4, "test": 1}
    assert report.size == (64, 64)
    assert report.table() == "No problems in 5 clips."
    assert contents(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def damaged_root(root: Path) -> Path:
    """A sound root to which one thing with each fault is added."""
    train, test = root / "train", root / "test"
    whole = write_square(train / "id4#cut.mp4").read_bytes()
    (train / "id4#cut.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    (train / "id4#empty.mp4").write_bytes(b"")
    (train / "id4#text.mp4").write_text("not a video, " * 50)
    (train / "id4#no frames").mkdir()
    write_square(train / "id5#short.mp4", num_frames=9)
    write_record(train / "id5#short.mp4", frames=(0, 9))
    write_square(train / "id5#rate.mp4", rate=50, num_frames=50)
    write_square(train / "id5#keys.mp4", key_frame_every=250)
    write_square(train / "id5#size.mp4", side=66)
    write_record(train / "id5#size.mp4", frames=(0, 30), size=(66, 66))
    write_frames(train / "id5#large frames", squares(10, 66))
    write_square(test / "id9#mov.mp4", key_frame_every=250).rename(test / "id9#mov.mov")
    (train / ".id6#gone.mp4.4711").write_bytes(b"beginning")
    (root / ".work-1-of-2").mkdir()
    (root / ".work-1-of-2" / "id6#gone.mp4").write_bytes(b"beginning")
    (train / "id3#a#000000#000030" / ".0000003.png.12").write_bytes(b"beginning")
    write_record(train / "id6#gone.mp4", frames=(0, 30))
    return root


UNREPAIRABLE = {"wrong shape", "duplicate name", "person in both splits", "no clip"}
FOUND = {
    "unreadable": ["id4#cut.mp4", "id4#empty.mp4", "id4#no frames", "id4#text.mp4"],
    "too short": ["id5#short.mp4"],
    "wrong size": ["id5#large frames", "id5#size.mp4"],
    "wrong rate": ["id5#rate.mp4"],
    "key frames": ["id5#keys.mp4", "id9#mov.mov"],
    "record without clip": ["id6#gone.json"],
    "temporary file": [".0000003.png.12", ".id6#gone.mp4.4711", ".work-1-of-2"],
}


def test_every_fault_is_found_once_and_nothing_is_written(tmp_path):
    root = damaged_root(sound_root(tmp_path / "root"))
    before = contents(root)
    report = run_check(root)
    found = {
        kind: sorted(Path(name).name for name in names) for kind, names in report.found.items()
    }
    assert found == FOUND
    assert report.remaining == report.found
    assert report.found["wrong rate"] == {"train/id5#rate.mp4": "50 frames/s"}
    assert report.found["too short"] == {"train/id5#short.mp4": "9 frames"}
    assert report.found["key frames"]["train/id5#keys.mp4"] == "up to 30 frames apart"
    assert report.found["wrong size"]["train/id5#size.mp4"] == "66 x 66, not 64 x 64"
    assert contents(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert run_check(root) == report


def test_the_table_counts_names_and_advises(tmp_path):
    lines = run_check(damaged_root(sound_root(tmp_path / "root"))).table().splitlines()
    assert lines[0].split() == ["problem", "found", "examples"]
    (unreadable,) = (line for line in lines if line.startswith("unreadable   "))
    assert unreadable.split()[:3] == ["unreadable", "4", "train/id4#cut.mp4:"]
    assert sum("and 1 more" in line for line in lines) == 1
    assert f"unreadable: --fix moves it into {tmp_path / 'root-rejected'}." in lines


def test_the_command_tells_by_its_exit_code(tmp_path, capsys):
    root, output = sound_root(tmp_path / "root"), tmp_path / "check.json"
    assert main(["check", str(root)]) == 0
    assert capsys.readouterr().out == "No problems in 5 clips.\n"
    write_square(root / "train" / "id4#keys.mp4", key_frame_every=250)
    assert main(["check", str(root), "--output", str(output)]) == 1
    assert list(json.loads(output.read_text())["found"]) == ["key frames"]
    assert main(["check", str(root), "--fix"]) == 0
    assert main(["check", str(root), "--min-frames", "31"]) == 1
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_fix_repairs_what_it_can_and_a_second_check_passes(tmp_path):
    root = sound_root(tmp_path / "root")
    sound = contents(root)
    before = contents(damaged_root(root))
    report = run_check(root, fix=True)
    assert (report.remaining, report.failed) == ({}, {})
    assert sorted(report.found) == sorted(FOUND)
    assert report.clips == {"train": 8, "test": 2}
    again = run_check(root)
    assert (again.found, again.clips) == ({}, report.clips)

    after = contents(root)
    assert {name: after[name] for name in sound} == sound  # others are as they were
    rejected = contents(tmp_path / "root-rejected")
    assert set(rejected) == {
        *(f"train/id4#{name}.mp4" for name in ("cut", "empty", "text")),
        "train/id5#short.mp4",
        "train/id5#short.json",
    }
    assert all(rejected[name] == before[name] for name in rejected)
    assert (tmp_path / "root-rejected" / "train" / "id4#no frames").is_dir()


def test_repaired_clips_show_the_frames_that_they_showed(tmp_path):
    root = damaged_root(sound_root(tmp_path / "root"))
    train, test = root / "train", root / "test"
    before = [images(train / "id5#keys.mp4"), images(test / "id9#mov.mov")]
    run_check(root, fix=True)

    after = [images(train / "id5#keys.mp4"), images(test / "id9#mov.mp4")]
    for old, new in zip(before, after, strict=True):
        assert len(new) == 30
        assert max(distance(a, b) for a, b in zip(old, new, strict=True)) < 1.5
    # at 50 frames/s frame n of 25 a second is shown by frame 2n or 2n + 1
    frames = images(train / "id5#rate.mp4")
    assert len(frames) == 25
    for number, image in enumerate(frames):
        away = [distance(image, moving_bar(near, 64, 64)) for near in range(50)]
        assert np.argmin(away) in (2 * number, 2 * number + 1)
    video = probe(train / "id5#size.mp4")
    assert (video.size, video.rate, video.num_frames) == ((64, 64), 25, 30)
    record = read_record(train / "id5#size.mp4")
    assert (record.size, record.aspect) == ((64, 64), 1.2)
    folder = open_clip(train / "id5#large frames")
    truth = Image.fromarray(moving_bar(9, 66, 66)).resize((64, 64), Image.Resampling.BICUBIC)
    assert folder.num_frames == 10
    np.testing.assert_array_equal(frames_of(folder.path, [9])[0], np.asarray(truth))


def test_the_table_after_repairs_says_what_remains(tmp_path):
    root = sound_root(tmp_path / "root")
    write_square(root / "train" / "id5#keys.mp4", key_frame_every=250)
    write_square(root / "train" / "id5#wide.mp4").unlink()
    write_clip(root / "train" / "id5#wide.mp4")  # 64 x 48
    report = run_check(root, fix=True)
    assert report.remaining == {"wrong shape": {"train/id5#wide.mp4": "64 x 48, not 64 x 64"}}
    lines = report.table().splitlines()
    assert lines[0].split() == ["problem", "found", "remain", "examples"]
    assert ["wrong", "shape", "1", "1"] in [line.split()[:4] for line in lines]
    assert ["key", "frames", "1", "0"] in [line.split()[:4] for line in lines]


def test_one_name_twice_is_reported_within_and_across_splits(tmp_path):
    root = sound_root(tmp_path / "root")
    write_frames(root / "train" / "id1#a#000000#000030", squares(30))
    write_square(root / "test" / "id9#x.mp4")
    write_frames(
        root / "train" / "id9#x.mp4", squares(30)
    )  # named after the video that its frames came from
    report = run_check(root, fix=True)
    assert report.remaining["duplicate name"] == {
        "id1#a#000000#000030": "train/id1#a#000000#000030, train/id1#a#000000#000030.mp4",
        "id9#x": "train/id9#x.mp4, test/id9#x.mp4",
    }
    assert report.remaining["person in both splits"] == {"id9": "1 clip in train, 2 in test"}
    assert set(report.remaining) <= UNREPAIRABLE
    assert report.clips == {"train": 6, "test": 2}


def test_records_are_compared_with_their_clips(tmp_path):
    train = sound_root(tmp_path / "root") / "train"
    write_record(train / "id1#a#000000#000030.mp4", frames=(0, 31))
    write_record(train / "id2#a#000000#000030.mp4", frames=(0, 30), size=(128, 128))
    write_record(train / "id3#a#000000#000030", frames=(0, 30))
    (train / "id1#b#000030#000060.json").write_text("{}")
    (train / "notes.json").write_text("[1, 2]")  # nobody's record
    report = run_check(tmp_path / "root")
    assert set(report.found) == {"record disagrees", "size in record"}
    details = report.found["record disagrees"]
    assert details["train/id1#a#000000#000030.mp4"] == "it says 31 frames, the clip has 30"
    assert "not the record" in details["train/id1#b#000030#000060.mp4"]
    assert report.found["size in record"] == {"train/id2#a#000000#000030.mp4": "it says 128 x 128"}
    assert set(run_check(tmp_path / "root", fix=True).remaining) == {"record disagrees"}
    assert (train / "notes.json").is_file()


def test_a_folder_of_other_things_stays_where_it_is(tmp_path):
    root = sound_root(tmp_path / "root")
    deep = root / "train" / "id7" / "a" / "b" / "c" / "video.mp4"  # deeper than clips lie
    write_square(deep)
    notes = root / "train" / "id8" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("of the recording")
    report = run_check(root, fix=True)
    assert list(report.remaining) == ["no clip"]
    assert deep.is_file()
    assert notes.is_file()


def test_a_folder_of_frames_with_a_damaged_one_moves_aside(tmp_path):
    root = sound_root(tmp_path / "root")
    (root / "train" / "id3#a#000000#000030" / "0000007.png").write_bytes(b"")
    report = run_check(root, fix=True)
    assert set(report.found) == {"unreadable"}
    assert not report.remaining
    assert (tmp_path / "root-rejected" / "train" / "id3#a#000000#000030").is_dir()
    assert report.table().endswith(f"Moved into {tmp_path / 'root-rejected'}: 1.")


def test_clips_may_lie_in_the_root_itself(tmp_path):
    write_square(tmp_path / "id1#a.mp4")
    write_square(tmp_path / "id2#a.mp4", key_frame_every=250)
    Image.fromarray(np.zeros((64, 64 * 11, 3), np.uint8)).save(tmp_path / "id3.png")
    report = run_check(tmp_path)
    assert report.clips == {"": 3}
    assert list(report.found) == ["key frames"]


def test_the_size_is_that_of_the_settings_or_asked_for_or_most_frequent(tmp_path):
    for number, side in enumerate((64, 64, 96)):
        write_square(tmp_path / f"id{number}#a.mp4", side=side)
    assert run_check(tmp_path).size == (64, 64)
    report = run_check(tmp_path, size=96)
    assert (report.size, len(report.found["wrong size"])) == ((96, 96), 2)
    settings = DatasetSettings(command="voxceleb", settings={"size": 96})
    (tmp_path / "dataset.json").write_text(settings.model_dump_json())
    assert len(run_check(tmp_path).found["wrong size"]) == 2
    with pytest.raises(InputError, match="was prepared at 96 pixels"):
        run_check(tmp_path, size=64)


def test_frames_at_uneven_times_are_found(tmp_path):
    """Ten in the middle come late, which leaves the average rate as it is."""
    with VideoWriter(tmp_path / "uneven.mp4", Fraction(25)) as writer:
        for number in range(30):
            late = Fraction(1, 40) if 10 <= number < 20 else 0
            writer.write(moving_bar(number), time=Fraction(number, 25) + late)
    found = inspect(tmp_path / "uneven.mp4")
    assert found.rate_fault == "frame 10 is at 0.42 s"
    assert (found.num_frames, found.sizes) == (30, ((64, 48),))


def test_damage_in_mid_stream_is_found(tmp_path):
    content = bytearray(encode(tmp_path / "flipped.mp4").read_bytes())
    start = content.index(b"mdat") + 2000
    content[start : start + 400] = np.random.default_rng(0).bytes(400)
    (tmp_path / "flipped.mp4").write_bytes(content)
    assert isinstance(inspect(tmp_path / "flipped.mp4"), Fault)


def test_first_frames_that_cannot_be_decoded_are_not_counted(tmp_path):
    headless = begun_late(encode(tmp_path / "whole.mp4"), "headless.mp4", num_missing=1)
    found = inspect(headless)
    assert found.num_frames == len(list(read_frames(headless))) == 27


def test_frames_that_the_decoder_leaves_out_are_missed(tmp_path, monkeypatch):
    path, whole = encode(tmp_path / "clip.mp4"), VideoFile._whole
    missed = index_of(path).times[20]
    monkeypatch.setattr(
        VideoFile,
        "_whole",
        lambda self, frames: [f for f in whole(self, frames) if f.pts != missed],
    )
    found = inspect(path)
    assert isinstance(found, Fault)
    assert "29 of 30 frames can be decoded" in found.reason


def test_turned_videos_are_seen_upright(tmp_path):
    with_matrix(write_clip(tmp_path / "turned.mp4"), 0, 1, -1, 0)  # a quarter turn clockwise
    assert inspect(tmp_path / "turned.mp4") == Inspection(30, ((48, 64),), key_spacing=12)


def test_files_that_cannot_be_sought_count_as_one_key_frame(tmp_path):
    found = inspect(encode(tmp_path / "a.avi", codec="mpeg4"))
    assert found.key_spacing == 30
    encode_again(tmp_path / "a.avi", (64, 48))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert inspect(tmp_path / "a.mp4") == Inspection(30, ((64, 48),), key_spacing=12)


def test_a_clip_is_as_long_as_it_lasts(tmp_path):
    """Half of the frames of 50 a second are left after the repair."""
    found = inspect(write_square(tmp_path / "a.mp4", num_frames=30, rate=50))
    assert found.num_frames == 15
    problems = clip_problems(tmp_path / "a.mp4", found, Expected((64, 64), min_frames=16))
    assert [kind for kind, _ in problems] == ["too short"]


@pytest.mark.parametrize(
    ("size", "key_spacing", "kinds"),
    [
        ((64, 64), 12, []),
        ((64, 64), 13, ["key frames"]),
        ((64, 65), 12, ["wrong size"]),  # 1.6 % flatter
        ((64, 66), 12, ["wrong shape"]),
    ],
)
def test_a_little_off_is_allowed_and_more_is_not(size, key_spacing, kinds):
    found = Inspection(30, (size,), key_spacing=key_spacing)
    problems = clip_problems(Path("none.mp4"), found, Expected((64, 64), 10))
    assert [kind for kind, _ in problems] == kinds


def test_a_repaired_clip_keeps_its_sound(tmp_path):
    path = encode_with_sound(tmp_path / "a.mp4", "aac")
    encode_again(path, (64, 48))
    assert probe(path).has_audio


def test_a_repair_overwrites_no_other_clip(tmp_path):
    other = write_square(tmp_path / "root" / "a.mp4")
    write_square(tmp_path / "b.mp4", key_frame_every=250).rename(tmp_path / "root" / "a.mov")
    before = other.read_bytes()
    report = run_check(tmp_path / "root", fix=True)
    assert set(report.remaining) == {"key frames", "duplicate name"}
    assert "is there already" in report.failed["a.mov"]
    assert "not repaired: a.mov: " in report.table()
    assert other.read_bytes() == before
    assert (tmp_path / "root" / "a.mov").is_file()


def test_a_repair_loses_no_frames(tmp_path, monkeypatch):
    path = write_square(tmp_path / "a.mp4")
    before, decode = path.read_bytes(), VideoFile.decode
    monkeypatch.setattr(
        VideoFile, "decode", lambda self, start=None: islice(decode(self, start), 20)
    )
    with pytest.raises(InputError, match="is damaged: 10 frames missing"):
        encode_again(path, (64, 64))
    assert path.read_bytes() == before


def test_records_and_leftovers_in_folders_of_people_are_found(tmp_path):
    root = tmp_path / "root"
    for name in ("train/ann/a.mp4", "train/bob/talk/1.mp4", "test/cid/1.mp4"):
        write_square(root / name)
    write_record(root / "train" / "bob" / "talk" / "1.mp4")
    write_record(root / "train" / "bob" / "talk" / "gone.mp4")
    (root / "train" / "bob" / ".2.mp4.4711").write_bytes(b"beginning")
    found = {kind: list(names) for kind, names in run_check(root).found.items()}
    assert found == {
        "record without clip": ["train/bob/talk/gone.json"],
        "temporary file": ["train/bob/.2.mp4.4711"],
    }


def test_of_a_link_that_was_left_over_only_the_link_is_deleted(tmp_path):
    root = sound_root(tmp_path / "root")
    elsewhere = write_frames(tmp_path / "elsewhere", squares(30))
    (root / "train" / ".id1#c.new").symlink_to(elsewhere)
    assert not run_check(root, fix=True).remaining
    assert len(list(elsewhere.iterdir())) == 30
    assert not (root / "train" / ".id1#c.new").is_symlink()


def test_what_was_moved_aside_before_is_kept(tmp_path):
    root = tmp_path / "root"
    for number in range(2):
        clip = root / "train" / "a.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_text(f"clip {number}")
        record_path(clip).write_text(f"record {number}")
        move_aside(clip, root)
    assert contents(tmp_path / "root-rejected") == {
        "train/a.mp4": b"clip 0",
        "train/a.json": b"record 0",
        "train/a-2.mp4": b"clip 1",
        "train/a-2.json": b"record 1",
    }


def test_another_run_in_the_root_is_not_disturbed(tmp_path):
    root = damaged_root(sound_root(tmp_path / "root"))
    before = contents(root)
    with (
        FileLock(root / ".lock-1-of-2"),
        pytest.raises(InputError, match="Another run is writing"),
    ):
        run_check(root, fix=True)
    after = contents(root)
    assert {name: after[name] for name in before} == before


def test_a_full_disk_stops_repairs_and_harms_nothing(tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "root" / "train" / "id1#a", squares(30, 66))
    before = contents(folder)

    def full(picture: Image.Image, path: Path, *args: object, **options: object) -> None:
        path.write_bytes(picture.tobytes()[:9])  # as much as fits
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match=r"0000000\.png cannot be written: No space left"):
        run_check(tmp_path / "root", fix=True, size=64)
    assert contents(folder) == before


def test_a_root_without_clips_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="holds no clips"):
        run_check(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        run_check(tmp_path / "nowhere", fix=True)


def test_a_process_that_dies_costs_its_clip_and_moves_nothing(tmp_path, monkeypatch):
    def dying(work, jobs, workers, died):
        return ((job, died(job)) for job in jobs)

    root = tmp_path / "root"
    for split in ("train", "test"):
        write_square(root / split / f"{split}#a.mp4")
    monkeypatch.setattr("datasets.inspection.check.map_in_processes", dying)
    report = run_check(root, fix=True)
    assert len(report.remaining["not checked"]) == 2
    assert report.clips == {"train": 1, "test": 1}
    assert not (tmp_path / "root-rejected").exists()


def test_repairs_killed_at_any_moment_leave_every_clip_whole(tmp_path):
    root = tmp_path / "root"
    for number in range(8):
        path = root / "train" / f"id{number}#a#000000#000030.mp4"
        write_square(path, side=66 if number % 2 else 64, key_frame_every=250)
        write_record(path, size=(66, 66) if number % 2 else (64, 64))
    write_frames(root / "train" / "id20#a", squares(30, 66))
    command = ["check", root, "--fix", "--size", 64, "--min-frames", 10, "--workers", 1]
    train = root / "train"

    def times() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted(train.glob("id*"))]

    before: list[list[int]] = []
    for begun in (lambda: [*train.rglob(".*")], lambda: times() != before[-1]):
        before.append(times())
        assert kill_when(begun, *command) is None
        clips = sorted(path for path in train.glob("id*") if path.suffix != ".json")
        assert [inspect(clip).num_frames for clip in clips] == [30] * 9
    assert run_check(root, fix=True, size=64).remaining == {}
    assert run_check(root, size=64).found == {}
    assert not [path for path in root.rglob(".*") if path.name != ".lock"]


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="../shared/clips is not here")
def test_real_clips_lack_key_frames_only():
    (clip,) = sorted((REAL_CLIPS / "test").glob("*.mp4"))[:1]
    found = inspect(clip)
    with av.open(str(clip)) as container:
        num_frames = sum(1 for _ in container.decode(video=0))
    assert found == Inspection(num_frames, ((256, 256),), key_spacing=num_frames)
