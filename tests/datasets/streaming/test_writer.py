import io
import json
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from datasets.__main__ import main
from datasets.streaming import storage, writer
from datasets.streaming.reader import MANIFEST, Stream
from tests.datasets.conftest import kill_when, write_clip
from utils.errors import OutputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "clips"
    for number in range(3):
        write_clip(root / "train" / f"id{number}#0.mp4", num_frames=5)
    write_clip(root / "test" / "id3#0.mp4", num_frames=5)
    return root


def write(root: Path, output: Path | str) -> int:
    return main(["stream", str(root), "--output", str(output), "--workers", "2"])


def contents(folder: Path) -> dict[str, bytes]:
    """All but litdata's index, which has the time in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "index.json"}


def test_equal_clips_make_equal_streams(root, tmp_path, capsys):
    assert write(root, tmp_path / "one") == write(root, tmp_path / "other") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    output = capsys.readouterr().out.splitlines()
    assert output == ["done: test         1", "done: train        3"] * 2  # nothing else


def test_clips_in_folders_of_people_go_by_their_names(root, tmp_path, capsys):
    write_clip(root / "train" / "ann" / "a.mp4", num_frames=5)
    (root / "train" / "ann" / "bad.mp4").write_text("no video")
    write(root, tmp_path / "stream")
    clips = json.loads((tmp_path / "stream" / MANIFEST).read_text())["clips"]
    names = [entry["name"] for entry in clips]
    assert sorted(names) == ["ann#a", "id0#0", "id1#0", "id2#0", "id3#0"]
    assert "unreadable: ann#bad" in capsys.readouterr().err


def test_frames_are_zipped_in_their_order_and_without_a_date(tmp_path):
    for number in (10, 9):
        Image.new("RGB", (8, 8)).save(tmp_path / f"frame{number}.png")
    with zipfile.ZipFile(io.BytesIO(writer.zipped(tmp_path))) as archive:
        assert archive.namelist() == ["frame9.png", "frame10.png"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_item_holds_the_file_and_what_is_known_of_it(root, tmp_path):
    face_crop = '{"aspect": 1.2, "face_x": 0.5, "face_y": 0.5, "face_width": 0.6}'
    (root / "face_crop.json").write_text(face_crop)
    (root / "train" / "id1#0.json").write_text('{"video": "a.mp4"}')
    write(root, tmp_path / "out")
    assert (tmp_path / "out" / "face_crop.json").read_text() == face_crop
    items = Stream(tmp_path / "out", tmp_path / "cache", 0).items
    heads = [json.loads(bytes(items[number][0])) for number in range(4)]
    known = {"split": "train", "num_frames": 5, "record": None}
    assert heads[0] == {"name": "id0#0", **known}
    assert heads[1] == {"name": "id1#0", **known, "record": '{"video": "a.mp4"}'}
    assert [head["split"] for head in heads] == ["train", "train", "train", "test"]
    assert bytes(items[1][1]) == (root / "train" / "id1#0.mp4").read_bytes()


def test_many_shards_hold_the_clips_in_order(root, tmp_path, monkeypatch):
    size = (root / "train" / "id0#0.mp4").stat().st_size
    monkeypatch.setattr(writer, "SHARD_BYTES", size // 2)  # each clip is larger
    write(root, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("chunk-*.bin"))) == 4
    stream = Stream(tmp_path / "out", tmp_path / "cache", 0)
    paths = [*sorted((root / "train").iterdir()), *(root / "test").iterdir()]
    for number, path in enumerate(paths):
        assert stream.read(number).data == path.read_bytes()


def test_unreadable_clips_are_counted_and_named(root, tmp_path, capsys):
    (root / "train" / "id1#0.mp4").write_bytes(b"no video")
    (root / "train" / "id4#0.mp4").write_bytes(b"")
    assert write(root, tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert shown.err.count("unreadable: id1#0: ") == shown.err.count("unreadable: id4#0: ") == 1
    assert "skipped: unreadable        2" in shown.out
    entries = Stream(tmp_path / "out", tmp_path / "cache", 0).entries
    assert [entry.name for entry in entries] == ["id0#0", "id2#0", "id3#0"]


def test_a_clip_too_large_for_a_shard_is_named(root, tmp_path, monkeypatch, capsys):
    size = (root / "train" / "id0#0.mp4").stat().st_size
    (root / "train" / "id0#0.mp4").rename(root / "train" / "id0#long.mp4")
    write_clip(root / "train" / "id0#long.mp4", num_frames=50)
    monkeypatch.setattr(writer, "MAX_CLIP_BYTES", size)
    assert write(root, tmp_path / "out") == 1
    assert "unreadable: id0#long: has 0.0 GiB: cut it" in capsys.readouterr().err
    entries = Stream(tmp_path / "out", tmp_path / "cache", 0).entries
    assert [entry.name for entry in entries] == ["id1#0", "id2#0", "id3#0"]


def test_a_writing_that_was_killed_is_no_stream_and_may_begin_anew(root, tmp_path):
    for number in range(30):
        write_clip(root / "train" / f"id9#{number:02d}.mp4", num_frames=5)
    slow = (
        "import sys, time; from datasets.__main__ import main; "
        "from datasets.streaming import writer as w; "
        "pack = w.pack; w.pack = lambda job: [time.sleep(0.2), pack(job)][1]; "
        "w.SHARD_BYTES = 5000; main(sys.argv[1:])"
    )
    command = ["stream", root, "--output", tmp_path / "out", "--workers", 1]
    assert kill_when(lambda: [*tmp_path.glob(".out.*/chunk-*.bin")], *command, code=slow) is None
    assert not (tmp_path / "out").exists()
    assert write(root, tmp_path / "out") == 0
    assert not [*tmp_path.glob(".out.*/*")]
    assert len(Stream(tmp_path / "out", tmp_path / "cache", 0).entries) == 34


def test_what_is_there_is_not_written_over(root, tmp_path, capsys):
    write(root, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert write(root, tmp_path / "out") == 2
    assert "already holds a stream" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before
    assert write(root, root) == 2
    assert "is the same as" in capsys.readouterr().err


def test_of_two_writings_at_once_one_waits_for_another_time(root, tmp_path, capsys):
    with FileLock(tmp_path / ".out.lock"):
        assert write(root, tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith("out: wait for it.\n")
    assert write(root, tmp_path / "out") == 0


@pytest.mark.parametrize("place", ["train/out", "test/deeper/out"])
def test_a_stream_does_not_become_a_clip(root, place, capsys):
    assert write(root, root / place) == 2
    assert "lies in" in capsys.readouterr().err
    assert not (root / place).exists()


@pytest.mark.parametrize(
    ("folder", "sentence"), [("missing", "does not exist"), ("empty", "holds no clips")]
)
def test_a_root_without_clips_is_told(tmp_path, folder, sentence, capsys):
    (tmp_path / "empty").mkdir()
    assert write(tmp_path / folder, tmp_path / "out") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_face_crop_is_not_passed_on(root, tmp_path, capsys):
    (root / "face_crop.json").write_text('{"aspect": 1.2}')
    assert write(root, tmp_path / "out") == 2
    assert "face_crop.json is not a face crop" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_clips_none_of_which_can_be_read_make_no_stream(tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a#0.mp4").write_bytes(b"no video")
    assert write(tmp_path / "clips", tmp_path / "out") == 2
    assert "None of the 1 clips" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_full_disk_is_told_and_leaves_nothing(root, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.ShardWriter, "finish", fail)
    with pytest.raises(OutputError, match=r"out cannot be written: No space left on device\."):
        writer.write_stream(root, str(tmp_path / "out"), workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_without_litdata_one_sentence_says_what_to_install(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "litdata", None)
    assert write(root, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "pip install -r requirements-stream.txt" in message
    assert len(message.strip().splitlines()) == 1


def test_a_url_that_cannot_be_reached_is_told(root, monkeypatch, capsys):
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert write(root, "s3://bucket/clips") == 2
    assert "s3://bucket/clips/clips.json cannot be reached" in capsys.readouterr().err


def test_at_a_url_the_list_of_the_clips_comes_last(root, tmp_path, monkeypatch, capsys):
    from litdata.streaming import fs_provider

    objects: dict[str, bytes] = {}

    class Bucket:
        def exists(self, url: str) -> bool:
            return url in objects

        def upload_file(self, local: str, url: str) -> None:
            objects[url] = Path(local).read_bytes()

        def download_file(self, url: str, local: str) -> None:
            Path(local).write_bytes(objects[url])

    monkeypatch.setattr(fs_provider, "_get_fs_provider", lambda *_: Bucket())
    assert write(root, "s3://bucket/clips") == 0
    write(root, tmp_path / "out")
    uploaded = {url.removeprefix("s3://bucket/clips/"): data for url, data in objects.items()}
    assert uploaded.pop("index.json")
    assert uploaded == contents(tmp_path / "out")
    assert [*objects][-1] == f"s3://bucket/clips/{MANIFEST}"
    capsys.readouterr()
    assert write(root, "s3://bucket/clips") == 2
    assert "already holds a stream" in capsys.readouterr().err
