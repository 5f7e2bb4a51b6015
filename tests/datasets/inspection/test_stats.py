import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.__main__ import main
from datasets.clips import open_clip
from datasets.contents import read_contents
from datasets.inspection.clip_stats import BATCH, ClipStats, measure, sampled
from datasets.inspection.contact_sheet import COLUMNS, GAP, HEADING, LABEL, TILE
from datasets.inspection.problems import duplicate_names
from datasets.inspection.stats import Stats, split_stats, write_stats
from datasets.records import record_path
from media.pictures import Picture
from tests.datasets.conftest import (
    here,
    save,
    solid,
    write_clip,
    write_frames,
    write_record,
    write_video,
)
from utils.errors import InputError
from utils.worker_pool import map_in_processes


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch):
    monkeypatch.setattr("datasets.inspection.stats.map_in_processes", here)


def write_grey(folder: Path, greys: Iterable[int], size: tuple[int, int] = (40, 30)) -> Path:
    """A folder of frames of one grey each, ``size`` being width and height."""
    return write_frames(folder, (solid(grey, *size[::-1]) for grey in greys))


def run_stats(root: Path, output: Path, **options: object) -> Stats:
    settings = {"metadata": None, "pairs": None, "each": "person", "count": 100, "workers": 1}
    return write_stats(root, output, **{**settings, **options})


def figures(name: str, **values: object) -> ClipStats:
    base = ClipStats(name, name[0], 50, 2.0, 64, 64, 100.0, 1.0, 30.0, None)
    return base._replace(**values)


def test_brightness_motion_and_the_first_frame_are_as_computed_by_hand(tmp_path):
    """Frames 0, 12 and 24 count: greys of 100, 112 and 124."""
    found = measure(write_grey(tmp_path / "id1#a", [100 + number for number in range(25)]))
    assert found[:6] == ("id1#a", "id1", 25, 1.0, 40, 30)
    assert found.brightness == pytest.approx(112, abs=1e-3)
    assert found.motion == pytest.approx(12, abs=1e-3)
    mean_square = (12**2 + 24**2) / 2
    assert found.first_frame_psnr == pytest.approx(10 * np.log10(255**2 / mean_square), abs=1e-3)
    assert found.aspect is None


def test_brightness_weighs_colours_as_eyes_do(tmp_path):
    found = measure(write_frames(tmp_path / "a", [solid((255, 0, 0))]))
    assert found.brightness == pytest.approx(0.2126 * 255, abs=1e-2)


def test_clips_that_are_short_or_still_have_no_motion_to_measure(tmp_path):
    short = measure(write_grey(tmp_path / "short", [7] * 12))
    still = measure(write_grey(tmp_path / "still", [7] * 30))
    assert (short.motion, short.first_frame_psnr) == (None, None)
    assert (still.motion, still.first_frame_psnr) == (0.0, None)


def test_half_a_second_is_that_of_the_video(tmp_path):
    """Compare frames that are 25 apart at 50 frames/s."""
    greys = (solid(60 + 2 * number) for number in range(51))
    found = measure(write_video(tmp_path / "a.mp4", greys, rate=50, crf=0))
    assert found.seconds == pytest.approx(51 / 50)
    assert found.motion == pytest.approx(50, abs=1)
    assert found.brightness == pytest.approx(60 + 50, abs=1)


def test_strips_are_measured_by_their_frames(tmp_path):
    frames = [solid(100 + number) for number in range(13)]
    found = measure(save(tmp_path / "id1.png", np.concatenate(frames, axis=1)))
    assert (found.num_frames, found.width, found.height) == (13, 32, 32)
    assert found.motion == pytest.approx(12, abs=1e-3)


def test_long_clips_are_sampled_in_parts(tmp_path):
    clip = open_clip(write_grey(tmp_path / "a", list(range(BATCH + 8)), size=(4, 4)))
    assert [int(frame[0, 0, 0]) for frame in sampled(clip, 1)] == list(range(BATCH + 8))


def test_figures_of_a_split_are_as_computed_by_hand():
    clips = [figures("a1", seconds=2.0), figures("a2", seconds=3.0), figures("b1", seconds=10.0)]
    clips[1] = clips[1]._replace(motion=None, height=32)
    clips[2] = clips[2]._replace(motion=3.0, aspect=1.2)
    stats = split_stats(pd.DataFrame(clips))
    assert (stats.clips, stats.frames, stats.seconds) == (3, 150, 15.0)
    assert list(stats.sizes.items()) == [("64 x 64", 2), ("64 x 32", 1)]
    assert {name: (who.clips, who.seconds) for name, who in stats.people.items()} == {
        "a": (2, 5.0),
        "b": (1, 10.0),
    }
    assert stats.quantiles["seconds"]["median"] == 3.0
    assert stats.quantiles["motion"]["median"] == 2.0  # of the two that have one
    assert set(stats.quantiles["aspect"].values()) == {1.2}
    assert stats.quantiles["clips_of_person"]["max"] == 2
    assert stats.quantiles["seconds_of_person"]["min"] == 5.0


def make_root(root: Path) -> Path:
    """Two people in train, of two and of one clip, and one in test; and a damaged clip."""
    for name, split, grey in (
        ("id1#a", "train", 50),
        ("id1#b", "train", 100),
        ("id2#a", "train", 150),
        ("id9#a", "test", 200),
    ):
        write_grey(root / split / name, [grey, grey + 10, grey + 20], size=(TILE, TILE))
    (root / "train" / "id3#a.mp4").write_text("not a video")
    return root


def test_the_command_writes_figures_table_and_sheet(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("datasets.inspection.stats.map_in_processes", map_in_processes)
    root, output = make_root(tmp_path / "root"), tmp_path / "deep" / "stats"
    assert main(["stats", str(root), "--output", str(output)]) == 1  # a clip cannot be read
    printed = capsys.readouterr().out
    assert "train: 2 people, 3 clips, 0 s" in printed
    assert "1 clip cannot be read" in printed
    found = json.loads((output / "stats.json").read_text())
    assert found["splits"]["test"]["quantiles"]["brightness"]["median"] == 200  # of its frame 0
    assert list(found["unreadable"]) == ["train/id3#a.mp4"]
    rows = list(csv.DictReader((output / "clips.csv").open()))
    assert [row["name"] for row in rows] == ["id1#a", "id1#b", "id2#a", "id9#a"]
    assert rows[2] | {"brightness": "150.0", "split": "train", "motion": ""} == rows[2]
    assert Image.open(output / "contact_sheet.png").width == COLUMNS * (TILE + GAP) + GAP


def test_people_are_told_by_their_folders(tmp_path):
    for name in ("ann/a", "ann/b", "bob/a"):
        write_grey(tmp_path / "root" / "train" / name, [50, 60, 70], size=(TILE, TILE))
    write_grey(tmp_path / "root" / "train" / "__MACOSX" / "ann" / "a", [50], size=(TILE, TILE))
    stats = run_stats(tmp_path / "root", tmp_path / "stats")
    assert {name: own.clips for name, own in stats.splits["train"].people.items()} == {
        "ann": 2,
        "bob": 1,
    }
    assert "ann#b" in (tmp_path / "stats" / "clips.csv").read_text()
    contents = read_contents(tmp_path / "root")
    assert [contents.name(path) for path in contents.all_clips] == ["ann#a", "ann#b", "bob#a"]
    assert not duplicate_names(contents)


def test_equal_roots_give_equal_files(tmp_path):
    root = make_root(tmp_path / "root")
    for output in ("one", "two"):
        run_stats(root, tmp_path / output)
    for name in ("stats.json", "clips.csv", "contact_sheet.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "clips.csv",
        "contact_sheet.png",
        "stats.json",
    ]


def tile(sheet: Picture, line: int, column: int, headings: int) -> Picture:
    """The picture in a place, below so many headings."""
    top = headings * HEADING + line * (TILE + LABEL + GAP)
    left = GAP + column * (TILE + GAP)
    return sheet[top : top + TILE, left : left + TILE]


def test_tiles_are_the_middle_frames_of_people_in_their_order(tmp_path):
    run_stats(make_root(tmp_path / "root"), tmp_path / "stats")
    sheet = np.asarray(Image.open(tmp_path / "stats" / "contact_sheet.png"))
    assert (tile(sheet, 0, 0, headings=1) == 60).all()  # frame 1 of three of id1#a
    assert (tile(sheet, 0, 1, headings=1) == 160).all()
    assert (tile(sheet, 0, 2, headings=1) == 255).all()  # nobody
    assert (tile(sheet, 1, 0, headings=2) == 210).all()
    label = sheet[HEADING + TILE : HEADING + TILE + LABEL, GAP : GAP + TILE]
    assert (label < 128).sum() > 30  # letters


def test_tiles_of_clips_are_spread_over_all_of_them(tmp_path):
    for number in range(30):
        write_grey(tmp_path / "root" / f"id{number:02}#a", [8 * number], size=(TILE, TILE))
    run_stats(tmp_path / "root", tmp_path / "stats", each="clip", count=12)
    sheet = np.asarray(Image.open(tmp_path / "stats" / "contact_sheet.png"))
    shown = [
        int(tile(sheet, line, column, headings=1)[0, 0, 0]) // 8
        for line, column in [(0, column) for column in range(10)] + [(1, 0), (1, 1)]
    ]
    assert (shown[0], shown[-1]) == (0, 29)
    assert set(np.diff(shown)) == {2, 3}


def test_frames_of_other_shapes_are_shown_whole(tmp_path):
    write_grey(tmp_path / "root" / "id1#wide", [90], size=(64, 32))
    run_stats(tmp_path / "root", tmp_path / "stats")
    shown = tile(np.asarray(Image.open(tmp_path / "stats" / "contact_sheet.png")), 0, 0, 1)
    assert (shown[TILE // 4 : 3 * TILE // 4] == 90).all()
    assert (shown[: TILE // 4] == 225).all()


def test_crops_are_told_by_their_records(tmp_path):
    for name, aspect in (("id1#a", 1.1), ("id1#b", 1.3)):
        clip = write_grey(tmp_path / "root" / name, [90])
        write_record(clip, frames=(0, 1), aspect=aspect, size=(40, 30))
    record_path(write_grey(tmp_path / "root" / "id1#c", [90])).write_text("damaged")
    face_crop = '{"aspect": 1.2, "face_x": 0.5, "face_y": 0.45, "face_width": 0.6}'
    (tmp_path / "root" / "face_crop.json").write_text(face_crop)
    stats = run_stats(tmp_path / "root", tmp_path / "stats")
    assert stats.splits[""].clips == 3
    assert stats.splits[""].quantiles["aspect"]["median"] == 1.2
    assert "height / width of the crops" in stats.table()
    assert stats.face_crop is not None
    assert stats.face_crop.aspect == 1.2


def test_outputs_never_become_clips(tmp_path):
    write_grey(tmp_path / "id1#a", [90])
    with pytest.raises(InputError, match=r"stats lies in .*: name an output apart from it"):
        run_stats(tmp_path, tmp_path / "stats")
    assert [path.name for path in tmp_path.iterdir()] == ["id1#a"]


def test_a_damaged_face_crop_is_told_before_the_clips_are_measured(tmp_path, monkeypatch):
    write_clip(tmp_path / "root" / "id1#a.mp4")
    (tmp_path / "root" / "face_crop.json").write_text("{}")
    monkeypatch.delattr("datasets.inspection.stats.map_in_processes")
    with pytest.raises(InputError, match="is not a face crop"):
        run_stats(tmp_path / "root", tmp_path / "stats")
    assert not (tmp_path / "stats").exists()
