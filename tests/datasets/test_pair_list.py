import logging
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import frame_finder, pair_list
from datasets.clips import Clip
from datasets.frame_finder import FrameRef
from datasets.pair_list import PairList, read_pair_list, read_refs
from media.video import frames_at
from tests.datasets.conftest import moving_bar, save, write_clip
from utils.errors import InputError

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "published"
PREFIX = "/data/xyz/vox/test"  # of somebody else's machine
ANNA, BERT = "id10270#video#000001#000031", "id10280#other#000400#000430"


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, rows: str, header: str = "source,driving", **options) -> PairList:
    return read_pair_list(write(folder, f"{header}\n{rows}"), **options)


def write_picture(path: Path, number: int = 0) -> Path:
    return save(path, moving_bar(number))


def write_frames(folder: Path, numbers: list[int], name: str = "{:07d}.png") -> Path:
    for number in numbers:
        write_picture(folder / name.format(number), number)
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    """Anna is a folder whose frames have gaps, Bert a video of 30 frames."""
    root = tmp_path / "root"
    write_frames(root / "test" / ANNA, [3, 12, 40])
    write_clip(root / "test" / f"{BERT}.mp4")
    return root


# Published lists


def test_a_published_list_with_foreign_prefixes_is_found(tmp_path, root):
    rows = f"{PREFIX}/{ANNA}/0000012.png,{PREFIX}/{BERT}/0000007.png\n"
    (pair,) = read(tmp_path, rows, root=root).pairs
    folder, video = root / "test" / ANNA, root / "test" / f"{BERT}.mp4"
    assert pair.source == FrameRef(ANNA, "0000012", folder / "0000012.png", None)
    assert pair.driving == FrameRef(BERT, "0000007", video, 7)
    assert (pair.source.identity, pair.identity, pair.same_identity) == (
        "id10270",
        "id10280",
        False,
    )
    np.testing.assert_array_equal(pair.source.read(), moving_bar(12))
    np.testing.assert_array_equal(pair.driving.read(), frames_at(video, [7])[0])


def test_clips_in_folders_of_people_are_found_by_path_and_by_name(tmp_path, root):
    write_frames(root / "test" / "Carl" / "walk", [3, 5])
    video = write_clip(root / "test" / "Dora" / "clip.mp4")
    rows = "x/Carl/walk/0000003.png,x/Dora/clip/0000007.png\n"
    rows += "Carl#walk/0000005.png,Dora#clip/0000009.png\nCarl#walk/0000005.png,Dora#clip\n"
    pairs = read(tmp_path, rows, root=root).pairs
    assert [pair.driving.number for pair in pairs[:2]] == [7, 9]
    for pair in pairs:
        assert (pair.source.clip, pair.source.identity) == ("Carl#walk", "Carl")
        assert (pair.driving.path, pair.identity) == (video, "Dora")
    assert pairs[2].driving.name == "Dora#clip"


def test_frames_are_found_by_their_numbers_and_never_by_their_place(tmp_path, root):
    rows = f"x/{ANNA}/0000001.png,x/{ANNA}/0000040.png\nx/{ANNA}/3.jpg,x/{ANNA}/0000040.png\n"
    listed = read(tmp_path, rows, root=root)
    assert [pair.source.name for pair in listed.pairs] == ["0000003"]
    ((title, reason),) = listed.missing.items()
    assert title.startswith("line 2: ")
    assert "no frame 1" in reason


def test_a_number_beyond_the_end_of_the_video_is_missing(tmp_path, root):
    rows = "".join(f"x/{BERT}/0000000.png,x/{BERT}/{i:07d}.png\n" for i in (29, 30))
    listed = read(tmp_path, rows, root=root)
    assert [pair.driving.number for pair in listed.pairs] == [29]
    (reason,) = listed.missing.values()
    assert "holds 30 frames: there is no frame 30" in reason


def test_a_header_of_three_names_may_stand_over_rows_of_two(tmp_path, root):
    rows = f"x/{ANNA}/3.png,x/{BERT}/7.png\nx/{ANNA}/3.png,x/{BERT}/7.png,x/{BERT}/9.png\n"
    pairs = read(tmp_path, rows, header="source,driving,best_frame", root=root).pairs
    assert [pair.best_frame and pair.best_frame.number for pair in pairs] == [None, 9]
    assert [pair.motion for pair in pairs] == ["absolute", "relative"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("source,driving", []),
        ("source,driving,best_frame", []),
        (
            "source_frame,driving_video",
            ["source_frame is taken for source", "driving_video is taken for driving"],
        ),
        ("source,driving,anchor", ["anchor is taken for best_frame"]),
        ("source,driving,frame", ["frame is taken for best_frame"]),
    ],
)
def test_published_columns_are_read_and_said(tmp_path, root, caplog, header, said):
    best = f",x/{BERT}/9.png" if header.count(",") == 2 else ""
    with caplog.at_level(logging.INFO):
        (pair,) = read(
            tmp_path, f"x/{ANNA}/3.png,x/{BERT}/7.png{best}\n", header=header, root=root
        ).pairs
    assert (pair.source.name, pair.driving.number) == ("0000003", 7)
    assert (pair.best_frame and pair.best_frame.number) == (9 if best else None)
    assert caplog.messages == [f"{tmp_path / 'pairs.csv'}: the column {what}." for what in said]


def test_a_column_that_no_row_has_and_one_that_is_not_known_are_said(tmp_path, root, caplog):
    with caplog.at_level(logging.INFO):
        read(tmp_path, f"0,{ANNA}/3.png,{BERT}\n", header=",source,driving,anchor", root=root)
    assert "the column anchor is taken for best_frame" in caplog.messages[0]
    assert "the header names anchor, which no row has" in caplog.messages[1]
    assert "the column '' is not known, and is ignored" in caplog.messages[2]


def test_of_two_columns_of_one_meaning_the_one_that_is_filled_counts(tmp_path, root):
    rows = f"{ANNA}/3.png,{BERT},,4\n{ANNA}/3.png,{BERT},5,4\n"
    pairs = read(tmp_path, rows, header="source,driving,best_frame,frame", root=root).pairs
    assert [pair.best_frame.number for pair in pairs] == [4, 5]


def test_a_frame_may_lack_the_separator_from_its_clip(tmp_path, root):
    """Anchors of HDTF's published list are such numbers."""
    rows = f"x/{ANNA}.mp4/3.png,x/{BERT}.mp4/7.png,x/{BERT}.mp4000009.jpg\n"
    (pair,) = read(tmp_path, rows, header="source,driving,anchor", root=root).pairs
    assert pair.best_frame == FrameRef(BERT, "0000009", root / "test" / f"{BERT}.mp4", 9)
    assert pair.motion == "relative"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published lists are not beside the project")
@pytest.mark.parametrize(
    ("name", "num_rows", "num_best", "motion"),
    [
        ("vox_evaluation.csv", 2083, 0, "absolute"),
        ("vox_cross_id_evaluation_best_frame.csv", 2083, 2083, "relative"),
        ("vox_cross_id_animate.csv", 2083, 0, "relative"),
        ("celeV_cross_id_evaluation.csv", 2083, 0, "absolute"),
        ("HDTF_cross_id_v2.csv", 100, 100, "relative"),
        ("vox256.csv", 498, 498, "relative"),
    ],
)
def test_published_lists_work_as_they_are(tmp_path, name, num_rows, num_best, motion):
    content = (PUBLISHED / name).read_bytes()
    _, rows = pair_list.read_rows(content, PUBLISHED / name)
    assert len(rows) == num_rows
    assert sum(row.best_frame != "" for _, row in rows) == num_best
    few = tmp_path / "few.csv"
    few.write_bytes(b"".join(content.splitlines(keepends=True)[:4]))
    frame = write_picture(tmp_path / "frame.png").read_bytes()
    for _, row in rows[:3]:  # their files, in folders of frames
        for cell in (row.source, row.driving, row.best_frame):
            clip, _, number = cell.replace(".mp40", ".mp4/0").removesuffix("/").rpartition("/")
            if number.endswith((".png", ".jpg")):
                parts = Path(clip).parts[-2:] if "CelebV" in clip else Path(clip).parts[-1:]
                place = Path(tmp_path, "root", *parts, number)
            elif number.endswith(".mp4"):
                place = Path(tmp_path, "root", number, "0000000.png")
            else:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(frame)
    listed = read_pair_list(few, tmp_path / "root")
    assert listed.missing == {}
    assert [pair.motion for pair in listed.pairs] == [motion] * 3
    assert all(pair.of_protocol for pair in listed.pairs)
    assert [pair.best_frame is not None for pair in listed.pairs] == [bool(num_best)] * 3


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animated_picture_drives_with_all_its_frames(tmp_path, suffix):
    write_picture(tmp_path / "portrait.jpg")
    first, *others = [Image.fromarray(moving_bar(9 * number)) for number in range(4)]
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, duration=40)
    rows = f"portrait.jpg,a{suffix},2\na{suffix},portrait.jpg\n"
    driven, source = read(tmp_path, rows, header="Source, Driving, Best_frame").pairs
    assert isinstance(driven.driving, Clip)
    assert (driven.driving.num_frames, driven.best_frame.number) == (4, 2)
    assert (source.source.number, source.source.path) == (0, tmp_path / f"a{suffix}")


def test_a_list_of_ordinary_files_is_of_no_protocol(tmp_path):
    write_picture(tmp_path / "portrait.jpg")
    write_picture(tmp_path / "IMG_0012.png")
    write_clip(tmp_path / "portrait.mp4")
    rows = "portrait.jpg,portrait.mp4\nportrait.jpg,IMG_0012.png\n"
    clip, still = read(tmp_path, rows).pairs
    assert not clip.of_protocol
    assert not still.of_protocol
    assert clip.motion == "relative"  # although their names are the same
    assert still.motion == "absolute"
    assert read(tmp_path, rows, header="source,driving,frame").pairs[0].of_protocol


def test_clip_names_may_have_the_ending_of_the_video(tmp_path, root):
    """Clips are named by published folders, by folders here, and by their own names."""
    write_frames(root / "test" / "id3#c.mp4", [5])
    rows = f"v/{ANNA}.mp4/0000003.png,v/{BERT}.mp4/0000001.png\nv/id3#c/5.png,v/id3#c.mp4/5.png\n"
    first, second = read(tmp_path, rows, root=root).pairs
    assert (first.source.clip, first.driving.clip) == (ANNA, BERT)
    assert second.source == second.driving
    assert second.source.path == root / "test" / "id3#c.mp4" / "0000005.png"


def test_a_folder_of_frames_comes_before_a_video_of_its_name(tmp_path, root):
    write_clip(root / "test" / f"{ANNA}.mp4")
    listed = read(tmp_path, f"x/{ANNA}/3.png,x/{ANNA}/4.png\nx/{ANNA}/3.png,{BERT}\n", root=root)
    assert [pair.source.path.suffix for pair in listed.pairs] == [".png"]
    assert len(listed.missing) == 1  # frame 4 of the video may be another picture


def test_the_split_in_the_path_tells_clips_of_one_name_apart(tmp_path, root):
    write_clip(root / "train" / f"{BERT}.mp4", num_frames=3)
    rows = "".join(f"/data/{split}/{BERT}/1.png,{BERT}/2.png\n" for split in ("train", "test"))
    folders = [pair.source.path.parent.name for pair in read(tmp_path, rows, root=root).pairs]
    assert folders == ["train", "test"]


def test_the_celebv_layout_is_found_and_named_by_person(tmp_path):
    root = tmp_path / "CelebV"
    write_frames(root / "Donald_Trump" / "Image", [12, 13], "{}.jpg")
    write_frames(root / "Kathleen" / "Image", [12], "{}.jpg")
    rows = "Donald_Trump/Image/12.jpg,/x/CelebV/Kathleen/Image/0012.png\n"
    rows += "/x/Kathleen/Image/12.jpg,/x/Donald_Trump/Image/12.jpg,13\n"
    rows += "/x/Jack_Ma/Image/12.jpg,/x/Kathleen/Image/12.jpg\n"
    listed = read(tmp_path, rows, header="source,driving,best_frame", root=root)
    assert [(pair.source.clip, pair.driving.clip) for pair in listed.pairs] == [
        ("Donald_Trump", "Kathleen"),
        ("Kathleen", "Donald_Trump"),
    ]
    assert listed.pairs[1].best_frame.path == root / "Donald_Trump" / "Image" / "13.jpg"
    assert listed.pairs[0].name == "Donald_Trump-12--Kathleen-0012"
    assert [row.split(":")[0] for row in listed.missing] == ["line 4"]


def test_one_person_of_celebv_as_the_root_is_not_taken_for_another(tmp_path):
    root = write_frames(tmp_path / "Donald_Trump" / "Image", [12], "{}.jpg").parent
    with pytest.raises(InputError, match="None of the 1 rows"):
        read(tmp_path, "/x/Kathleen/Image/12.jpg,/x/Kathleen/Image/12.jpg\n", root=root)


def test_fomm_lists_name_whole_clips(tmp_path, root):
    rows = f"0.5,{ANNA}.mp4,{BERT}.mp4,9\n0.5,{BERT},{ANNA},12\n0.5,{BERT},{ANNA},0\n"
    listed = read(tmp_path, rows, header="distance,source,driving,frame", root=root)
    first, second = listed.pairs
    assert first.source.name == "0000003"  # the first frame there is
    assert first.driving == Clip(root / "test" / f"{BERT}.mp4", BERT, "id10280", 30)
    assert first.best_frame.number == 9
    assert (second.source.number, second.driving.num_frames) == (0, 3)
    assert second.best_frame.name == "0000012"
    assert first.motion == "relative"
    assert any("no frame 0" in reason for reason in listed.missing.values())


def test_repeated_rows_are_one_pair_however_they_are_written(tmp_path, root):
    rows = f"x/{ANNA}/3.png,x/{BERT}/7.png\n" * 2 + f"/y/z/{ANNA}/0003.png,{BERT}/7.png\n"
    listed = read(tmp_path, rows, root=root)
    assert (listed.num_rows, listed.num_duplicates, len(listed.pairs)) == (3, 2, 1)


def test_two_thousand_rows_are_found_at_once(tmp_path, monkeypatch):
    root, counted = tmp_path / "root", []
    (root / "test").mkdir(parents=True)
    for i in range(500):
        (root / "test" / f"id{i}#c.mp4").touch()
    monkeypatch.setattr(
        frame_finder,
        "try_open",
        lambda path: counted.append(path) or Clip(path, path.stem, path.stem, 100),
    )
    rows = "".join(
        f"{PREFIX}/id{i % 500}#c/{i % 97:07d}.png,{PREFIX}/id{i % 500}#c/{i % 89:07d}.png\n"
        for i in range(2083)
    )
    start = time.process_time()
    assert len(read(tmp_path, rows, root=root).pairs) == 2083
    assert time.process_time() - start < 5
    assert len(counted) == 500


# Paths without a root


def test_paths_beside_the_list_come_before_those_of_the_working_directory(tmp_path, monkeypatch):
    folder = tmp_path / "list"
    write_picture(folder / "a.png", 1)
    write_picture(tmp_path / "a.png", 2)
    write_picture(tmp_path / "b.png", 3)
    monkeypatch.chdir(tmp_path)
    (pair,) = read(folder, "a.png,b.png\n").pairs
    np.testing.assert_array_equal(read_refs([pair.source, pair.driving])[0], moving_bar(1))
    assert pair.driving.path == Path("b.png")
    assert (pair.source.identity, pair.identity) == ("a", "b")


def test_what_a_root_does_not_hold_is_looked_for_beside_the_list(tmp_path, root):
    picture = write_picture(tmp_path / "test" / "face.png")
    (pair,) = read(tmp_path, f"test/face.png,{BERT}\n", root=root).pairs
    assert pair.source.path == picture
    (pair,) = read(tmp_path, f"{picture},{BERT}\n", root=root).pairs
    assert pair.source.path == picture


def test_numbered_pictures_of_one_folder_show_one_person(tmp_path):
    write_frames(tmp_path / "me", [0, 1])
    (pair,) = read(tmp_path, "me/0000000.png,me/0000001.png\n").pairs
    assert (pair.source.clip, pair.same_identity, pair.motion) == ("me", True, "absolute")


def test_a_picture_at_the_root_is_not_that_of_any_folder_of_the_list(tmp_path):
    root = tmp_path / "root"
    write_picture(root / "0000012.png")
    with pytest.raises(InputError, match="None of the 1 rows"):
        read(tmp_path, "/x/clip/0000012.png,/x/clip/0000012.png\n", root=root)


def test_a_strip_is_a_clip_too(tmp_path):
    frames = [moving_bar(number, 32, 32) for number in range(4)]
    save(tmp_path / "root" / "id1#s.png", np.concatenate(frames, axis=1))
    rows = "id1#s/0.png,id1#s/3.png\nid1#s/0.png,id1#s/4.png\n"
    listed = read(tmp_path, rows, root=tmp_path / "root")
    np.testing.assert_array_equal(listed.pairs[0].driving.read(), frames[3])
    assert len(listed.missing) == 1


# Reading


def test_many_frames_open_each_file_once(tmp_path, root, monkeypatch):
    opened = []
    real = pair_list.read_refs.__globals__["frames_of"]
    monkeypatch.setitem(
        pair_list.read_refs.__globals__,
        "frames_of",
        lambda path, numbers: opened.append(path) or real(path, numbers),
    )
    rows = "".join(f"x/{BERT}/{i}.png,x/{ANNA}/3.png\n" for i in (9, 2, 5))
    pairs = read(tmp_path, rows, root=root).pairs
    refs = [ref for pair in pairs for ref in (pair.source, pair.driving, pair.source)]
    expected = dict(zip((9, 2, 5), frames_at(pairs[0].source.path, [9, 2, 5]), strict=True))
    for ref, picture in zip(refs, read_refs(refs), strict=True):
        known = moving_bar(3) if ref.number is None else expected[ref.number]
        np.testing.assert_array_equal(picture, known)
    assert len(opened) == 1


# Names


def test_different_pairs_never_share_a_name(tmp_path, root):
    rows = f"x/{ANNA}/3.png,x/{BERT}/7.png,{{}}\n"
    listed = read(
        tmp_path,
        "".join(rows.format(best) for best in ("", "8", "9")),
        header="source,driving,best_frame",
        root=root,
    )
    name = f"{ANNA}-3--{BERT}-7"
    assert [pair.name for pair in listed.pairs] == [name, f"{name}-2", f"{name}-3"]


def test_names_do_not_depend_on_what_is_missing(tmp_path, root):
    rows = f"a/{ANNA}/4.png,{BERT}/1.png\nb/{ANNA}/4.png,{BERT}/1.png\n{ANNA}/3.png,{BERT}/1.png\n"
    before = read(tmp_path, rows, root=root).pairs[-1].name
    write_frames(root / "test" / ANNA, [4])
    assert read(tmp_path, rows, root=root).pairs[-1].name == before


def test_names_are_fit_for_file_systems(tmp_path):
    write_picture(tmp_path / "ä b:c?.png")
    write_picture(tmp_path / f"{'ö' * 120}.png")
    write_picture(tmp_path / "..png.png")
    rows = f"ä b:c?.png,{'ö' * 120}.png\n..png.png,ä b:c?.png\n"
    write_picture(tmp_path / ("id7#" + "x" * 200) / "0000012.png")
    rows += f"id7#{'x' * 200}/0000012.png,..png.png\n"
    names = [pair.name for pair in read(tmp_path, rows).pairs]
    assert names[0].startswith("ä_b_c_--ö")
    assert names[1] == "png--ä_b_c_"
    assert names[2].startswith("id7#xx")
    assert names[2].endswith("x-0000012--png")
    assert all(len(name.encode()) < 250 for name in names)


# Bad lists


def test_a_byte_order_mark_and_spaces_are_no_part_of_the_names(tmp_path):
    write_picture(tmp_path / "a.png")
    path = write(tmp_path, "\ufeffsource, driving\na.png, a.png\n")
    assert len(read_pair_list(path).pairs) == 1


def test_rows_that_cannot_be_used_are_each_listed_with_their_line(tmp_path):
    write_picture(tmp_path / "a.png")
    write_clip(tmp_path / "b.mp4", num_frames=3)
    (tmp_path / "c.mp4").write_text("no video")
    rows = "a.png,b.mp4,\na.png,absent.png,\na.png,c.mp4,\na.png,b.mp4,x\na.png,b.mp4,3\n"
    rows += "a.png,a.png,auto\na.png,b.mp4,2,surplus\n,b.mp4,\n\na.png\n"
    listed = read(tmp_path, rows, header="source,driving,best_frame")
    assert len(listed.pairs) == 1
    reasons = {title.split(":")[0]: reason for title, reason in listed.missing.items()}
    says = {3: "--root", 4: "c.mp4", 5: "'x'", 6: "no frame 3", 7: "whole clip", 8: "'surplus'"}
    says |= {9: "empty", 11: "empty"}
    assert reasons.keys() == {f"line {line}" for line in says}
    assert all(text in reasons[f"line {line}"] for line, text in says.items())
    with pytest.raises(InputError, match="8 of the 9 rows") as error:
        listed.require_all()
    assert all(title in str(error.value) for title in listed.missing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must start with"),
        ("a.png,b.mp4\n", r"found 'a\.png,b\.mp4'"),
        ("source,driving\n", "no pairs"),
        ("source,driving\na.png,b.mp4\n", r"None of the 1 rows.*line 2: a\.png, b\.mp4: a\.png is"),
        (None, "cannot be read"),
    ],
)
def test_a_list_without_pairs_is_refused(tmp_path, text, says):
    path = tmp_path / "absent.csv" if text is None else write(tmp_path, text)
    with pytest.raises(InputError, match=says):
        read_pair_list(path)


def test_a_file_that_is_no_text_or_a_root_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00source")
    with pytest.raises(InputError, match="cannot be read"):
        read_pair_list(tmp_path / "pairs.csv")
    with pytest.raises(InputError, match="is no folder"):
        read(tmp_path, "a.png,b.png\n", root=tmp_path / "absent")
