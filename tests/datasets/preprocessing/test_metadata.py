import time
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from datasets.preprocessing.cutting import Cut
from datasets.preprocessing.metadata import Metadata, read_metadata
from media.pictures import Box
from utils.errors import InputError

PUBLISHED = Path(__file__).parents[4] / "shared" / "published" / "vox-metadata.csv"
HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id"  # as published
ROW = {
    "video_id": "abc-_123XYZ",
    "start": "40",
    "end": "140",
    "bbox": "10-20-110-140",
    "fps": "29.97",
    "width": "200",
    "height": "400",
    "partition": "train",
    "person_id": "id10001",
}


def row(**cells: str) -> str:
    return ",".join({**ROW, **cells}.values())


def read(folder: Path, *lines: str, header: str = HEADER, end: str = "\n") -> Metadata:
    path = folder / "metadata.csv"
    path.write_bytes(end.join([header, *lines, ""]).encode())
    return read_metadata(path)


def test_a_row_becomes_a_clip_with_its_box_as_fractions(tmp_path):
    metadata = read(tmp_path, row())
    name = "id10001#abc-_123XYZ#000040#000140"
    cut = Cut(name, "train", 40, 140, Box(10, 20, 110, 140).scaled(1 / 200, 1 / 400))
    assert cut.box == pytest.approx((0.05, 0.05, 0.55, 0.35))
    assert metadata == Metadata({"abc-_123XYZ": [cut]}, [])


def test_rows_are_gathered_by_video_in_the_order_of_time(tmp_path):
    lines = [row(video_id=video, start=start) for video in "ba" for start in ("101", "7", "23")]
    cuts = read(tmp_path, *lines).cuts
    assert list(cuts) == ["a", "b"]
    assert [cut.start for cut in cuts["b"]] == [7, 23, 101]
    assert {cut.name.split("#")[1] for cut in cuts["b"]} == {"b"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_other_programs_read_the_same(tmp_path, end):
    """A byte order mark, other ends of lines, quotes, 12.0, spaces, cells that nobody needs."""
    columns = HEADER.split(",")
    cells = {
        **ROW,
        "start": "40.0",
        "width": "200.",
        "partition": " train ",
        "bbox": "10.0-20-110.0-140",
    }
    header = ",".join([*reversed(columns), "title"])
    cells = ",".join([*(f'"{cells[name]}"' for name in reversed(columns)), '"Talk, part ""1"""'])
    other = read(tmp_path, cells + ",,", "", "  ", header="\ufeff" + header, end=end)
    assert other == read(tmp_path, row())


def test_the_rate_of_the_original_is_not_needed(tmp_path):
    header = HEADER.replace(",fps", "")
    line = ",".join(cell for name, cell in ROW.items() if name != "fps")
    assert (
        read(tmp_path, line, header=header) == read(tmp_path, row(fps="")) == read(tmp_path, row())
    )


MALFORMED = {
    "too few cells": "abc,1,2",
    "too many cells": row() + ",more",
    "a quote left open": row(bbox='"10-20-110-140'),
    "text after a quote": row(person_id='"id1"x'),
    "no number": row(start="x"),
    "no whole number": row(start="40.5"),
    "an empty number": row(end=""),
    "a negative start": row(start="-1"),
    "a number in other digits": row(start="\uff14"),
    "an exponent": row(end="1e3"),
    "a number beyond all files": row(end="1" * 20),
    "no width": row(width="0"),
    "no height": row(height="0.0"),
    "a negative height": row(height="-400"),
    "three borders": row(bbox="10-20-110"),
    "five borders": row(bbox="10-20-110-140-3"),
    "borders by commas": row(bbox='"10,20,110,140"'),
    "another partition": row(partition="val"),
    "a partition in capitals": row(partition="Train"),
    "no partition": row(partition=""),
    "no person": row(person_id=""),
    "a path as a person": row(person_id="../id1"),
    "the folder above as a person": row(person_id=".."),
    "a hidden person": row(person_id=".id1"),
    "a mark of names in a person": row(person_id="id1#2"),
    "no video": row(video_id=""),
    "a path as a video": row(video_id="a/b"),
    "a path of Windows": row(video_id="a\\b"),
    "the folder above": row(video_id=".."),
    "a mark of names": row(video_id="a#b"),
    "a control character": row(video_id="a\tb"),
    "a name too long for files": row(video_id="ö" * 41),
}


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_row_is_named_by_its_line_and_costs_nothing_else(tmp_path, line):
    before, after = row(start="1"), row(start="2")
    cuts, problems = read(tmp_path, before, "", line, after)
    assert [cut.start for cut in cuts["abc-_123XYZ"]] == [1, 2]
    ((name, _, reason, detail),) = problems
    assert (name, reason) == ("line 4", "malformed row")
    assert detail.startswith("Line 4: ")
    assert detail.endswith(".")
    assert detail.isprintable()


UNUSABLE = {
    "empty range": row(end="40"),
    "empty range ": row(end="39"),
    "empty box": row(bbox="110-20-110-140"),
    "empty box ": row(bbox="10-140-110-20"),
    "empty box  ": row(bbox="200-20-200.5-140"),
    "empty box   ": row(bbox="10-400-110-450"),
    "empty box    ": row(bbox="-20-20--2-140"),
}


@pytest.mark.parametrize(("reason", "line"), UNUSABLE.items(), ids=UNUSABLE)
def test_a_row_that_leaves_no_clip_is_counted_under_its_reason(tmp_path, reason, line):
    cuts, problems = read(tmp_path, row(start="1"), line)
    assert len(cuts["abc-_123XYZ"]) == 1
    ((name, _, found, detail),) = problems
    assert (name, found) == ("line 3", reason.strip())
    assert detail.startswith("Line 3: ")


@pytest.mark.parametrize(
    ("bbox", "cut_box", "stated"),
    [
        ("-1--0.5-201-401", (0, 0, 200, 400), (-1, -0.5, 201, 401)),
        ("10-20-202-140", (10, 20, 200, 140), (10, 20, 202, 140)),
        ("10-20-110-470", (10, 20, 110, 400), (10, 20, 110, 470)),
        ("-30-20-110-140", (0, 20, 110, 140), (-30, 20, 110, 140)),
        ("0-0-200-400", (0, 0, 200, 400), None),
    ],
)
def test_a_box_that_stands_out_is_cut_at_the_edge_and_kept_beside(tmp_path, bbox, cut_box, stated):
    ((cut,),) = read(tmp_path, row(bbox=bbox)).cuts.values()
    assert cut.box.scaled(200, 400) == pytest.approx(cut_box)
    assert (cut.stated and cut.stated.scaled(200, 400)) == (stated and pytest.approx(stated))


def test_of_two_rows_of_one_name_the_first_counts_and_both_lines_are_told(tmp_path):
    lines = [row(), row(bbox="0-0-9-9", partition="test"), row(start="40.0")]
    cuts, problems = read(tmp_path, *lines)
    ((cut,),) = cuts.values()
    assert (cut.split, cut.box.left) == ("train", 10 / 200)
    assert [(found.name, found.reason) for found in problems] == [
        ("line 3", "two rows of one name"),
        ("line 4", "two rows of one name"),
    ]
    assert all(cut.name in found.detail and "line 2" in found.detail for found in problems)


def test_a_person_in_both_partitions_is_told_and_kept(tmp_path):
    lines = [row(), row(start="41"), row(start="42", partition="test"), row(person_id="id2")]
    cuts, problems = read(tmp_path, *lines)
    assert len(cuts["abc-_123XYZ"]) == 4
    ((name, _, reason, detail),) = problems
    assert (name, reason) == ("id10001", "person in both partitions")
    assert detail.startswith("Lines 2 and 4: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "must start with .* found ''"),
        (row().encode(), "must start with .* found 'abc"),
        (HEADER.replace("bbox", "box").encode(), "must start with"),
        ((HEADER + ",end\n" + row()).encode(), "once each"),
        (HEADER.replace(",", ";").encode(), "must start with"),
        (f'"{HEADER}\n{row()}'.encode(), "must start with"),
        (HEADER.encode() + b"\n\n", "lists no clips"),
        (HEADER.encode("utf-16"), "cannot be read"),
        (b"\x89PNG\r\n\x1a\n\0\0\xff", "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, content, says):
    path = tmp_path / "metadata.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        read_metadata(path)
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_metadata(tmp_path)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published table is not beside the project")
def test_every_row_of_the_published_table_is_a_clip():
    found = read_metadata(PUBLISHED)
    cuts = [cut for of_video in found.cuts.values() for cut in of_video]
    reasons = Counter(problem.reason for problem in found.problems)
    assert reasons == {"two rows of one name": 311, "person in both partitions": 1}
    assert len(cuts) + reasons["two rows of one name"] == 20_075
    outside = [
        1 - cut.box.width * cut.box.height / (cut.stated.width * cut.stated.height)
        for cut in cuts
        if cut.stated is not None
    ]
    assert len(outside) == 856
    assert 0 < min(outside) < median(outside) < max(outside) < 0.18
    assert median(outside) == pytest.approx(0.045, abs=0.001)


def test_a_table_of_the_published_size_is_read_at_once(tmp_path):
    lines = [row(video_id=f"video{i % 3000}", start=str(i), end=str(i + 99)) for i in range(20_075)]
    start = time.process_time()
    metadata = read(tmp_path, *lines)
    assert time.process_time() - start < 2
    assert sum(map(len, metadata.cuts.values())) == 20_075
