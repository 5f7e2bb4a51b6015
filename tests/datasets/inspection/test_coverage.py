from pathlib import Path

import pytest

from datasets.contents import read_contents
from datasets.inspection.coverage import cover_pairs, cover_table
from datasets.inspection.stats import write_stats
from tests.datasets.conftest import solid, write_frames
from utils.errors import InputError

HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id"


def write_table(path: Path, rows: list[tuple[str, str, int]]) -> Path:
    """A table of clips of 50 frames: partition, person/video, number of the clip."""
    lines = []
    for split, clip, number in rows:
        person, video = clip.split("/")
        start = 50 * number
        lines.append(f"{video},{start},{start + 50},10-10-90-90,25.0,100,100,{split},{person}")
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    rows = [("train", "id1/v1", 0), ("train", "id1/v1", 1), ("train", "id1/v2", 0)]
    rows += [("train", "id2/v3", 0), ("test", "id9/v4", 0)]
    return write_table(tmp_path / "table.csv", rows)


@pytest.fixture
def root(tmp_path):
    """Two of three clips of id1, of one video; none of id2, all of id9; and one unlisted clip."""
    root = tmp_path / "root"
    write_frames(root / "train" / "id1#v1#000000#000050", [solid(0)] * 3)
    write_frames(
        root / "train" / "id1#v1#000050#000100.mp4", [solid(0)] * 3
    )  # named after its video
    write_frames(root / "test" / "id9#v4#000000#000050", [solid(0)] * 3)
    write_frames(root / "test" / "id2#v3#000000#000050", [solid(0)] * 3)  # in the other split
    return root


def test_a_table_is_covered_by_split_person_and_video(root, table):
    found = cover_table(table, read_contents(root))
    assert list(found.splits) == ["train", "test"]
    train, test = found.splits["train"], found.splits["test"]
    assert (train.clips.listed, train.clips.present, train.clips.missing) == (4, 2, 2)
    assert (test.clips.listed, test.clips.present, test.clips.missing) == (1, 1, 0)
    assert {name: (who.listed, who.present) for name, who in train.people.items()} == {
        "id1": (3, 2),
        "id2": (1, 0),
    }
    assert (train.videos.listed, train.videos.present) == (3, 1)
    assert train.missing == ["id1#v2#000000#000050", "id2#v3#000000#000050"]
    assert (train.unlisted, test.unlisted) == ([], ["id2#v3#000000#000050"])
    assert found.bad_rows == {}


def test_the_table_says_what_is_there(root, table):
    lines = cover_table(table, read_contents(root)).table().splitlines()
    assert lines[1:4] == [
        "  train: clips: 4 listed, 2 present (50.0%), 2 missing; 0 that it does not list",
        "  train: videos: 3 listed, 1 present (33.3%), 2 missing",
        "  train: people: 2, of whom all clips are there of 0, none of 1",
    ]


def test_a_root_without_splits_holds_the_clips_of_all(tmp_path, table):
    for name in ("id1#v2#000000#000050", "id9#v4#000000#000050", "id7#x"):
        write_frames(tmp_path / "flat" / name, [solid(0)] * 3)
    found = cover_table(table, read_contents(tmp_path / "flat"))
    assert {split: own.clips.present for split, own in found.splits.items()} == {
        "train": 1,
        "test": 1,
    }
    assert {split: own.unlisted for split, own in found.splits.items()} == {
        "train": ["id7#x"],
        "test": ["id7#x"],
    }


def test_bad_rows_are_told_by_their_lines(root, table):
    table.write_text(table.read_text() + "v5,20,10,10-10-90-90,25.0,100,100,train,id5\n")
    found = cover_table(table, read_contents(root))
    assert list(found.bad_rows) == ["line 7"]
    assert found.splits["train"].clips.listed == 4
    assert "1 bad row" in found.table()


def test_a_list_of_pairs_is_covered_row_by_row(root, tmp_path):
    rows = [
        "id9#v4#000000#000050/0000000.png,id1#v1#000000#000050/0000002.png",
        "id9#v4#000000#000050/0000000.png,id1#v1#000000#000050/0000002.png",  # again
        "id9#v4#000000#000050/0000001.png,id8#gone/0000002.png",
        "id1#v1#000000#000050/0000000.png,id9#v4#000000#000050/0000001.png",
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["source,driving", *rows]) + "\n")
    found = cover_pairs(tmp_path / "pairs.csv", read_contents(root))
    assert (found.rows.listed, found.rows.present, found.repeated) == (3, 2, 1)
    assert found.people == {"id1": 1, "id9": 1}
    (row,) = found.missing
    assert row.startswith("line 4: ")
    assert "pairs: 3 listed, 2 present (66.7%), 1 missing; 1 repeated" in found.table()


def test_one_list_at_a_time(root, table, tmp_path):
    with pytest.raises(InputError, match="not both"):
        write_stats(
            root,
            tmp_path / "stats",
            metadata=table,
            pairs=table,
            each="person",
            count=1,
            workers=1,
        )
    assert not (tmp_path / "stats").exists()
