import os
import signal
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.__main__ import main
from datasets.preprocessing import videos
from datasets.preprocessing.cutting import ClipFormat, Output
from datasets.preprocessing.raw_videos import Source
from datasets.preprocessing.run import Outcome, read_report
from datasets.preprocessing.tracks import Limits
from datasets.records import read_record
from media.pictures import Picture
from media.video import probe, read_frames
from tests.datasets.conftest import contents, here, kill_when, write_video
from tests.datasets.preprocessing.talking import Shot, SwayingHead, write_shots
from utils.worker_pool import map_in_processes

CLIPS = Path(__file__).parents[4] / "shared" / "clips" / "train"
RED, GREEN, BLUE = (150, 40, 40), (40, 110, 40), (30, 40, 120)


@pytest.fixture(autouse=True)
def without_processes(monkeypatch) -> None:
    """Most tests spare the seconds in which a process begins."""
    monkeypatch.setattr(videos, "map_in_processes", here)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of three people; one more is damaged."""
    folder = tmp_path_factory.mktemp("raw")
    write_shots(
        folder / "ann" / "talk.mp4",
        Shot(30, RED, SwayingHead(20, 5)),
        Shot(28, GREEN),
        Shot(42, BLUE, SwayingHead(170, 0, mirrored=True)),
    )
    slow = folder / "ann" / "b" / "slow.mp4"
    write_shots(slow, Shot(24, BLUE, SwayingHead(60, 8)), rate=Fraction(20))
    write_shots(
        folder / "bob" / "two.mp4",
        Shot(33, RED, SwayingHead(6, 20, 180), SwayingHead(205, 20, 180, mirrored=True)),
        Shot(29, BLUE, SwayingHead(150, 30, 130)),
        Shot(26, GREEN, SwayingHead(150, 5)),
    )
    write_shots(folder / "eve" / "short.mp4", Shot(20, RED, SwayingHead(90, 5)))
    (folder / "eve" / "broken.mp4").write_bytes(b"no video at all" * 99)
    return folder


def arguments(raw: Path, root: Path, *more: str) -> list[str]:
    given = ["--input", raw, "--output", root, "--size", "64", "--detector", "cascade"]
    usual = ["--workers", "1", "--test-share", "0.3", "--min-seconds", "1"]
    return ["videos", *map(str, given), *usual, *more]


@pytest.fixture(scope="module")
def root(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "root"
    assert main(arguments(raw, folder)) == 1
    return folder


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, bytes]:
    return contents(root)


def test_scenes_with_one_face_become_clips_and_the_others_are_counted(root):
    """The first and the last frame of each are those of its scene."""
    assert sorted(path.stem for path in root.glob("t*/*.mp4")) == [
        "ann#b-slow#000000#000030",
        "ann#talk#000000#000030",
        "ann#talk#000058#000100",
        "bob#two#000062#000088",
    ]
    report = read_report(root / "report.json")
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "no face": ["ann#talk#000030#000058"],
        "second face": ["bob#two#000000#000033"],
        "shorter than 1 s": ["eve#short#000000#000020"],
        "smaller than 128 px": ["bob#two#000033#000062"],
        "unreadable video": ["eve#broken"],
    }
    assert sum(report.done.values()) == 4
    assert "broken.mp4" in report.skipped["unreadable video"]["eve#broken"]


def test_clips_are_squares_around_the_face(root):
    places = {
        "ann#b-slow#000000#000030": SwayingHead(60, 8),
        "ann#talk#000000#000030": SwayingHead(20, 5),
        "ann#talk#000058#000100": SwayingHead(170, 0),
        "bob#two#000062#000088": SwayingHead(150, 5),
    }
    for path in root.glob("t*/*.mp4"):
        start, end = (int(number) for number in path.stem.split("#")[2:])
        clip, record = probe(path), read_record(path)
        assert (clip.num_frames, clip.rate, clip.size) == (end - start, 25, (64, 64))
        assert record.aspect == 1
        assert 128 <= record.box.width < 190
        assert places[path.stem].is_in(record.box)


def test_people_are_split_by_the_seed(root):
    people = [
        {path.name.split("#")[0] for path in (root / split).glob("*.mp4")}
        for split in ("train", "test")
    ]
    assert not people[0] & people[1]
    assert people[0] | people[1] == {"ann", "bob"}
    many = [f"id{number}" for number in range(20)]
    rng = [videos._for_test(many, root, 0.25, seed) for seed in (0, 0, 1)]
    assert rng[0] == rng[1] != rng[2]
    assert len(rng[0]) == len(rng[2]) == 5


def test_killed_at_random_and_started_again_gives_the_same(tmp_path, raw, whole):
    root = tmp_path / "root"
    for num_files, delay in ((1, 0.03), (3, 0)):  # what was found in videos, and clips
        kill_when(
            lambda n=num_files: len([*root.glob("t*/*.mp4"), *root.glob(".scene_scans/*")]) >= n,
            *arguments(raw, root),
            delay=delay,
        )
        for clip in root.glob("t*/*.mp4"):
            assert clip.read_bytes() == whole[str(clip.relative_to(root))]
    assert main(arguments(raw, root)) == 1
    assert contents(root) == whole


def test_two_shards_together_equal_one_run(tmp_path, raw, whole):
    root = tmp_path / "root"
    for shard in ("2/2", "1/2"):
        assert main(arguments(raw, root, "--shard", shard)) in (0, 1)
    assert main(["merge", str(root)]) == 1
    reports = [f"report-{number}-of-2.json" for number in (1, 2)]
    assert {k: v for k, v in contents(root).items() if k not in reports} == whole


def test_a_second_run_decodes_nothing_and_says_the_same(root, raw, whole):
    def times() -> dict[Path, int]:
        kept = [*root.rglob("*.mp4"), *root.glob(".scene_scans/*")]
        return {path: path.stat().st_mtime_ns for path in kept}

    before = times()
    assert main(arguments(raw, root)) == 1
    assert contents(root) == whole
    assert times() == before


def die_of_bob(plan: videos._Plan, job: videos._Job) -> list[Outcome]:
    """Works as usual, until it comes to a video of bob's."""
    outcomes = videos._prepare(plan, job)
    if job.source.person == "bob":
        next(plan.output.root.glob("*/bob#two*.mp4")).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return outcomes


def test_a_worker_that_dies_loses_only_what_it_had_in_hand(tmp_path, raw, whole, monkeypatch):
    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setattr(videos, "_prepare", die_of_bob)
        patch.setattr(videos, "map_in_processes", map_in_processes)
        assert main(arguments(raw, root)) == 1
    report = read_report(root / "report.json")
    assert list(report.skipped["worker died"]) == ["bob#two#000062#000088"]
    assert list(report.skipped["second face"]) == ["bob#two#000000#000033"]
    assert main(arguments(raw, root)) == 1
    assert contents(root) == whole


def test_a_video_that_has_gone_is_counted(tmp_path, root):
    plan = videos._Plan(
        "cascade", Limits(), ClipFormat(), Output(root, tmp_path), tmp_path / "scans"
    )
    job = videos._Job(Source(tmp_path / "gone.mp4", "ann", "gone"), "train", 9)
    ((name, split, reason, detail),) = videos._prepare(plan, job)
    assert (name, split, reason) == ("ann#gone", "train", "unreadable video")
    assert "gone.mp4" in detail


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--identity", "none.csv"], "none.csv cannot be read as a CSV file"),
        (["--max-seconds", "1"], "--max-seconds of twice --min-seconds"),
        (["--input", "{raw}/bob"], "show one person only (bob)"),
        (["--input", "{raw}/none"], "does not exist"),
        (["--shard", "3/2"], "A shard is i/n"),
        (["--size", "33"], "even --size instead of 33"),
    ],
)
def test_what_cannot_begin_ends_in_one_sentence(tmp_path, raw, capfd, change, sentence):
    options = arguments(raw, tmp_path / "root")
    assert main([*options, *(text.format(raw=raw) for text in change)]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert sentence in line
    assert not (tmp_path / "root").exists()


def test_a_table_may_say_who_is_shown(tmp_path, raw):
    table, root = tmp_path / "who.csv", tmp_path / "root"
    table.write_text("ann/talk.mp4,zoe\nslow.mp4,kim\ngone.mp4,kim\n")
    assert main(arguments(raw, root, "--identity", str(table))) == 1
    assert {path.stem for path in root.glob("t*/*.mp4")} == {
        "zoe#ann-talk#000000#000030",
        "zoe#ann-talk#000058#000100",
        "kim#ann-b-slow#000000#000030",
    }
    skipped = read_report(root / "report.json").skipped
    assert skipped["missing video"] == {"line 3": "Line 3: there is no video gone.mp4."}
    assert len(skipped["not in the table"]) == 3


def join(path: Path, clips: Sequence[Path], side: int, num_frames: int) -> list[tuple[int, int]]:
    """Join the beginnings of clips, before their own colours blurred; where each is in time."""

    def frames() -> Iterator[Picture]:
        for number, clip in enumerate(clips):
            place = 40 + 230 * number % 250, 20 + 31 * number % 90
            for frame in islice(read_frames(clip), num_frames):
                image = Image.fromarray(frame.image)
                around = image.resize((4, 4)).resize((560, 320))
                around.paste(image.resize((side, side), Image.Resampling.BICUBIC), place)
                yield np.asarray(around)

    write_video(path, frames())
    return [(number * num_frames, (number + 1) * num_frames) for number in range(len(clips))]


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips in ../shared/clips")
def test_joined_clips_of_talking_people_are_found_again(tmp_path):
    """Cuts to the frame; a clip may begin or end two looks from them where the face turns away."""
    clips = sorted(CLIPS.glob("*.mp4"))
    raw, root = tmp_path / "raw", tmp_path / "root"
    placed = {
        "one": join(raw / "one" / "x.mp4", clips[3:120:40], 220, 52),
        "two": join(raw / "two" / "x.mp4", clips[7:120:40], 200, 55),
    }
    assert main(arguments(raw, root, "--min-seconds", "2")) in (0, 1)
    found = [path.stem for path in root.glob("t*/*.mp4")]
    report = read_report(root / "report.json")
    dropped = {name: reason for reason, names in report.skipped.items() for name in names}
    for person, places in placed.items():
        for begin, finish in places:
            near = [
                name
                for name in [*found, *dropped]
                if name.startswith(f"{person}#") and begin <= int(name[-13:-7]) < finish
            ]
            assert len(near) == 1, (begin, near, dropped)
            start, end = int(near[0][-13:-7]), int(near[0][-6:])
            assert begin <= start <= begin + 10
            assert finish - 10 <= end <= finish
    assert len(found) >= 5, dropped
