import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from datasets.__main__ import main
from datasets.preprocessing import measure_face_crop, voxceleb
from datasets.preprocessing.cutting import BEYOND_END, UNREADABLE, ClipFormat, Output
from datasets.preprocessing.download import DownloadError
from datasets.preprocessing.run import Report, Shard, read_report
from tests.datasets.conftest import contents, here, kill_when
from tests.datasets.preprocessing.conftest import write_raw, write_table
from utils.errors import InputError
from utils.worker_pool import WORKER_DIED, map_in_processes

RATES = (Fraction(24), Fraction(30000, 1001), Fraction(50))


@pytest.fixture(scope="module", autouse=True)
def _no_search_for_faces() -> Iterator[None]:
    """There are none, and to find that out takes a second for each clip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_face_crop, "MAX_SAMPLED", 1)
        yield


@pytest.fixture(autouse=True)
def without_processes(monkeypatch) -> None:
    """Most tests spare the seconds in which a process begins."""
    monkeypatch.setattr(voxceleb, "map_in_processes", here)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six raw videos of 4 s, of several rates."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        write_raw(folder / f"video{number}.mp4", RATES[number % 3], 4)
    return folder


def rows(num_videos: int = 6) -> list[dict[str, object]]:
    return [
        {
            "video_id": f"video{number}",
            "start": start,
            "end": start + 30,
            "person_id": f"id1000{number}",
            "partition": "test" if number == 5 else "train",
        }
        for number in range(num_videos)
        for start in (2, 40, 65)
    ]


def arguments(table: Path, videos: Path, root: Path, *more: str) -> list[str]:
    given = ["--metadata", table, "--videos", videos, "--output", root]
    return ["voxceleb", *map(str, given), "--size", "32", "--workers", "1", *more]


@pytest.fixture(scope="module")
def whole(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    table = write_table(folder / "table.csv", rows())
    assert main(arguments(table, videos, folder / "root", "--workers", "2")) == 0
    return contents(folder / "root")


def test_every_row_becomes_a_clip_of_its_split(whole):
    clips = {name for name in whole if name.endswith(".mp4")}
    assert clips == {
        f"{row['partition']}/{row['person_id']}#{row['video_id']}"
        f"#{row['start']:06d}#{row['end']:06d}.mp4"
        for row in rows()
    }
    assert {name for name in whole if name.count("/") == 0} == {"dataset.json", "report.json"}


def test_killed_at_random_and_started_again_gives_the_same(tmp_path, videos, whole):
    table, root = write_table(tmp_path / "table.csv", rows()), tmp_path / "root"
    command = arguments(table, videos, root)
    for num_clips, delay in ((4, 0.01), (11, 0)):
        kill_when(lambda n=num_clips: len([*root.glob("t*/*.mp4")]) >= n, *command, delay=delay)
        for clip in root.glob("t*/*.mp4"):
            assert clip.read_bytes() == whole[str(clip.relative_to(root))]
    assert main(command) == 0
    assert contents(root) == whole


def test_two_shards_together_equal_one_run(tmp_path, videos, whole):
    table, root = write_table(tmp_path / "table.csv", rows()), tmp_path / "root"
    for shard in ("2/2", "1/2"):
        assert main(arguments(table, videos, root, "--shard", shard)) == 0
    reports = [f"report-{number}-of-2.json" for number in (1, 2)]
    assert [sum(read_report(root / name).done.values()) for name in reports] == [9, 9]
    assert main(["merge", str(root)]) == 0
    assert {k: v for k, v in contents(root).items() if k not in reports} == whole


def test_shards_of_a_table_that_has_changed_do_not_merge(tmp_path, videos, capfd):
    root = tmp_path / "root"
    for number in (1, 2):
        table = write_table(tmp_path / "table.csv", rows(number))
        assert main(arguments(table, videos, root, "--shard", f"{number}/2")) == 0
    capfd.readouterr()
    assert main(["merge", str(root)]) == 2
    assert "were made with different settings" in capfd.readouterr().err
    assert main(arguments(table, videos, root, "--shard", "1/2")) == 0
    assert main(["merge", str(root)]) == 0
    assert sum(read_report(root / "report.json").done.values()) == 6


def test_what_is_skipped_is_counted_by_reason(tmp_path, videos):
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    (folder / "video1.mp4").write_bytes(b"")
    (folder / "video2.mp4").write_bytes((folder / "video2.mp4").read_bytes()[:3000])
    (folder / "video3.mp4").unlink()
    table = write_table(
        tmp_path / "table.csv",
        [
            *rows(5),
            {"video_id": "video4", "start": 90, "end": 200},
            {"video_id": "video4", "start": 2, "end": 32, "person_id": "id10004"},
            {"video_id": "video4", "start": 0, "end": 30, "bbox": "900-10-920-106"},
            {"video_id": "video4", "start": "soon", "end": 30},
        ],
    )
    root = tmp_path / "root"
    assert main(arguments(table, folder, root)) == 1
    report = read_report(root / "report.json")
    assert report.done == {"train": 6}
    assert {reason: len(names) for reason, names in report.skipped.items()} == {
        UNREADABLE: 6,
        voxceleb.MISSING: 3,
        BEYOND_END: 1,
        "empty box": 1,
        "malformed row": 1,
        "two rows of one name": 1,
    }
    assert "line 20" in str(report.skipped["malformed row"])
    shutil.copy(videos / "video1.mp4", folder / "video1.mp4")  # repaired
    assert main(arguments(table, folder, root)) == 1
    assert read_report(root / "report.json").done == {"train": 9}


def die_of_video3(form: ClipFormat, output: Output, job: voxceleb._Job) -> list:
    outcomes = voxceleb.cut_clips(job.video, job.cuts[:1], form, output)
    if job.video.stem == "video3":
        os.kill(os.getpid(), signal.SIGKILL)
    return outcomes + voxceleb.cut_clips(job.video, job.cuts[1:], form, output)


def test_a_worker_that_dies_loses_only_what_it_had_in_hand(tmp_path, videos, monkeypatch):
    monkeypatch.setattr(voxceleb, "_cut", die_of_video3)
    monkeypatch.setattr(voxceleb, "map_in_processes", map_in_processes)
    table, root = write_table(tmp_path / "table.csv", rows()), tmp_path / "root"
    assert main(arguments(table, videos, root, "--workers", "2")) == 1
    report = read_report(root / "report.json")
    assert sum(report.done.values()) == 16
    assert len(report.skipped[WORKER_DIED]) == 2
    assert all("#video3#" in name for name in report.skipped[WORKER_DIED])


class LocalDownloader:
    """Gives one video, and says of all others that they are dead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, video: str) -> Path | DownloadError:
        if video != "video1":
            return DownloadError("dead video", "Video unavailable")
        return write_raw(self.folder / f"{video}.mp4", Fraction(25), 4)


def test_missing_videos_are_downloaded_and_dead_ones_told(tmp_path, videos):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(videos / "video0.mp4", folder)
    table = write_table(tmp_path / "table.csv", rows(3))
    prepare = partial(voxceleb.prepare, table, folder, tmp_path / "root", ClipFormat(size=32))
    report: Report = prepare(
        workers=1,
        shard=Shard(),
        downloader=LocalDownloader(folder),  # type: ignore[arg-type]
    )
    assert sum(report.done.values()) == 6
    assert set(report.skipped) == {"dead video"}
    assert set(report.skipped["dead video"].values()) == {"Video unavailable"}
    for raw in folder.iterdir():  # no longer needed for the clips that are there
        raw.unlink()
    assert sum(prepare(workers=1, shard=Shard(), downloader=None).done.values()) == 6


def test_other_settings_do_not_mix_with_those_of_a_root(tmp_path, videos, capfd):
    table, root = write_table(tmp_path / "table.csv", rows(1)), tmp_path / "root"
    assert main(arguments(table, videos, root)) == 0
    assert main(arguments(table, videos, root, "--boxes", "square")) == 2
    assert "begun with other settings" in capfd.readouterr().err


def test_videos_in_folders_whose_names_are_no_utf_8_are_cut_and_reported(tmp_path, videos):
    folder = tmp_path / os.fsdecode(b"v\xff")
    folder.mkdir()
    shutil.copy(videos / "video0.mp4", folder)
    (folder / "video1.mp4").write_text("no video")
    table, root = write_table(tmp_path / "table.csv", rows(2)), tmp_path / "root"
    assert main(arguments(table, folder, root)) == 1
    report = read_report(root / "report.json")
    assert (sum(report.done.values()), len(report.skipped[UNREADABLE])) == (3, 3)


def test_one_of_the_shards_tells_of_bad_rows(tmp_path, videos):
    bad = {"video_id": "video1", "start": 9, "end": 9}
    table, root = write_table(tmp_path / "table.csv", [*rows(2), bad]), tmp_path / "root"
    shards = [arguments(table, videos, root, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert [main(shard) for shard in shards] == [1, 0, 0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--metadata": "nowhere.csv"}, "nowhere.csv"),
        ({"--videos": "nowhere"}, "nowhere does not exist"),
        ({"--shard": "3/2"}, "A shard is i/n"),
        ({"--size": "33"}, "even --size instead of 33"),
        ({"--output": "/proc/root"}, "cannot be written"),
    ],
)
def test_what_cannot_begin_ends_in_one_sentence(tmp_path, videos, capfd, change, sentence):
    table = write_table(tmp_path / "table.csv", rows(1))
    given = arguments(table, videos, tmp_path / "root", "--shard", "1/1")
    for option, value in change.items():
        given[given.index(option) + 1] = value
    assert main(given) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert sentence in line


def test_two_runs_do_not_write_one_shard_at_once(tmp_path, videos):
    table, root = write_table(tmp_path / "table.csv", rows(1)), tmp_path / "root"
    with (
        voxceleb.open_output(root, "voxceleb", dict(ClipFormat(size=32)._asdict()), Shard()),
        pytest.raises(InputError, match="Another run is writing"),
    ):
        voxceleb.prepare(table, videos, root, ClipFormat(size=32), workers=1, shard=Shard())
    assert not (root / ".work").exists()


def test_one_shard_at_a_time_writes_the_settings(tmp_path):
    def begin() -> None:
        with voxceleb.open_output(tmp_path, "voxceleb", {"size": 32}, Shard(1, 2)):
            pass

    beginning = Thread(target=begin)
    with FileLock(tmp_path / ".lock-settings"):
        beginning.start()
        beginning.join(timeout=0.5)
        assert not (tmp_path / "dataset.json").exists()
    beginning.join()
    assert (tmp_path / "dataset.json").exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3500, 3500))  # bytes that a file may have
from datasets.__main__ import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_stops_with_a_sentence_and_leaves_only_whole_clips(tmp_path, videos, whole):
    table, root = write_table(tmp_path / "table.csv", rows()), tmp_path / "root"
    command, script = arguments(table, videos, root), tmp_path / "limited.py"
    script.write_text(LIMITED)
    ended = subprocess.run(
        [sys.executable, script, *command],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "cannot be written" in ended.stderr.splitlines()[-1]
    for clip in root.glob("t*/*.mp4"):
        assert clip.read_bytes() == whole[str(clip.relative_to(root))]
    assert not (root / "report.json").exists()
    assert main(command) == 0
    assert contents(root) == whole
