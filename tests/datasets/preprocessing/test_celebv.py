import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.__main__ import main
from datasets.pair_list import read_pair_list
from datasets.preprocessing import celebv
from datasets.preprocessing.celebv import PEOPLE, prepare
from datasets.preprocessing.run import Report, read_report
from media.pictures import Picture, read_image
from tests.datasets.conftest import contents, here, kill_when, save
from utils.errors import OutputError
from utils.worker_pool import DIED, WORKER_DIED

SIZE = 32


def picture(seed: int, height: int = SIZE, width: int = SIZE) -> Picture:
    """Smooth colours of its own."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


@pytest.fixture
def archive(tmp_path) -> Path:
    """Five people, spelled and nested as in archives; of Kathleen one picture is larger."""
    folder = tmp_path / "archive"
    folders = ["CelebV/Donald_Trump/Image", "CelebV/emmanuel macron/images", "Jack-Ma"]
    folders += ["kathleen/IMAGE", "more/TheresaMay/faces"]
    for person, name in enumerate(folders):
        for number in (7, 12, 300):
            save(folder / name / f"{number}.jpg", picture(10 * person + number))
    save(folder / "kathleen/IMAGE/12.jpg", picture(1, 48, 48))
    save(folder / "CelebV/Donald_Trump/Heatmap/7.png", picture(2))  # no folder of its own counts
    (folder / "CelebV/Donald_Trump/all_98pt.txt").write_text("7.jpg 0 0")
    return folder


@pytest.fixture(autouse=True)
def without_processes(monkeypatch) -> None:
    """Most tests spare the seconds in which a process begins."""
    monkeypatch.setattr(celebv, "map_in_processes", here)


def run(archive: Path, root: Path) -> Report:
    return prepare(archive, root, SIZE, workers=1)


def test_five_people_of_any_spelling_come_into_the_layout_of_the_lists(tmp_path, archive):
    root = tmp_path / "CelebV"
    command = ["celebv", "--input", archive, "--output", root, "--size", SIZE]
    assert main([str(word) for word in command]) == 0
    report = read_report(root / "report.json")
    assert (report.done, report.skipped) == (dict.fromkeys(PEOPLE, 3), {})
    pictures = {path for path in contents(root) if path.endswith(".jpg")}
    assert pictures == {f"{name}/Image/{i}.jpg" for name in PEOPLE for i in (7, 12, 300)}
    trump = archive / "CelebV" / "Donald_Trump" / "Image" / "7.jpg"
    assert (root / "Donald_Trump" / "Image" / "7.jpg").read_bytes() == trump.read_bytes()


def test_published_lists_of_pairs_find_their_pictures(tmp_path, archive):
    root = tmp_path / "CelebV"
    run(archive, root)
    rows = "/x/CelebV/Jack_Ma/Image/7.jpg,/x/CelebV/Kathleen/Image/12.jpg,300\n"
    rows += "Theresa_May/Image/0300.png,Emmanuel_Macron/Image/7.jpg,\n"
    (tmp_path / "pairs.csv").write_text(f"source,driving,best_frame\n{rows}")
    listed = read_pair_list(tmp_path / "pairs.csv", root)
    assert listed.missing == {}
    first, second = listed.pairs
    assert (first.source.identity, first.identity) == ("Jack_Ma", "Kathleen")
    assert (first.motion, second.motion) == ("relative", "absolute")
    assert second.source.path == root / "Theresa_May" / "Image" / "300.jpg"
    np.testing.assert_array_equal(first.source.read(), read_image(archive / "Jack-Ma" / "7.jpg"))


def test_other_sizes_are_resized_and_of_a_wide_or_high_picture_the_middle_is_taken(
    tmp_path, archive
):
    wide = np.zeros((48, 96, 3), np.uint8)
    wide[:, 24:72] = middle = picture(3, 48, 48)
    folder = archive / "kathleen" / "IMAGE"
    save(folder / "13.png", wide)
    save(folder / "14.png", wide.transpose(1, 0, 2).copy())
    save(folder / "15.png", picture(4, 16, 16))
    report = run(archive, tmp_path / "root")
    written = {i: read_image(tmp_path / f"root/Kathleen/Image/{i}.png") for i in (13, 14, 15)}
    assert {image.shape for image in written.values()} == {(SIZE, SIZE, 3)}
    small = Image.fromarray(middle).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(written[13], np.asarray(small))
    np.testing.assert_allclose(written[14], written[13].transpose(1, 0, 2), atol=1)
    assert np.abs(written[15].astype(int) - picture(4)).mean() < 3
    (told,) = report.skipped.values()
    assert report.skipped.keys() == {celebv.NOT_SQUARE}
    assert told["kathleen/IMAGE/13.png"] == "96 x 48 pixels"
    assert (len(told), report.done["Kathleen"]) == (2, 6)
    large = read_image(folder / "12.jpg").astype(float).mean()
    assert read_image(tmp_path / "root/Kathleen/Image/12.jpg").mean() == pytest.approx(large, abs=1)


def test_endings_become_those_of_frames_and_pictures_are_copied_unchanged_where_they_can(
    tmp_path, archive
):
    folder = archive / "Jack-Ma"
    for name in ("20.PNG", "21.JPEG", "22.bmp"):
        save(folder / name, picture(5))
    run(archive, tmp_path / "root")
    image = tmp_path / "root" / "Jack_Ma" / "Image"
    assert (image / "20.png").read_bytes() == (folder / "20.PNG").read_bytes()
    assert (image / "21.jpeg").read_bytes() == (folder / "21.JPEG").read_bytes()
    np.testing.assert_array_equal(read_image(image / "22.png"), picture(5))
    assert (image / "22.png").read_bytes().startswith(b"\x89PNG")


def test_unreadable_pictures_are_told_by_name_and_the_others_are_written(tmp_path, archive):
    folder = archive / "kathleen" / "IMAGE"
    whole = (folder / "7.jpg").read_bytes()
    (folder / "8.jpg").write_bytes(b"")
    (folder / "9.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "10.jpg").write_text("no picture")
    root = tmp_path / "root"
    assert main(["celebv", "--input", str(archive), "--output", str(root), "--size", "32"]) == 1
    report = read_report(root / "report.json")
    assert report.skipped.keys() == {celebv.UNREADABLE}
    expected = {f"kathleen/IMAGE/{number}.jpg" for number in (8, 9, 10)}
    assert report.skipped[celebv.UNREADABLE].keys() == expected
    assert report.done["Kathleen"] == 3
    assert len(list((root / "Kathleen" / "Image").iterdir())) == 3


def test_missing_people_are_told(tmp_path, archive, capsys):
    shutil.rmtree(archive / "Jack-Ma")
    shutil.rmtree(archive / "kathleen" / "IMAGE")
    root = tmp_path / "root"
    assert main(["celebv", "--input", str(archive), "--output", str(root), "--size", "32"]) == 1
    assert read_report(root / "report.json").skipped[celebv.MISSING].keys() == {
        "Jack_Ma",
        "Kathleen",
    }
    assert not (root / "Kathleen").exists()


def test_of_two_folders_and_of_two_pictures_of_one_name_always_the_same_counts(tmp_path, archive):
    save(archive / "again" / "Kathleen" / "Image" / "99.jpg", picture(6))
    save(archive / "kathleen" / "IMAGE" / "7.png", picture(7))
    report = run(archive, tmp_path / "root")
    assert report.skipped.keys() == {celebv.SECOND_FOLDER, celebv.TWICE}
    assert list(report.skipped[celebv.SECOND_FOLDER]) == ["again/Kathleen/Image"]
    assert report.skipped[celebv.TWICE] == {"kathleen/IMAGE/7.png": "left out for 7.jpg"}
    assert report.done["Kathleen"] == 3


def test_one_person_may_be_the_input(tmp_path, archive):
    report = run(archive / "CelebV" / "Donald_Trump", tmp_path / "root")
    assert report.done == {"Donald_Trump": 3}
    assert len(report.skipped[celebv.MISSING]) == 4


@pytest.mark.parametrize("content", ["absent", "file", "empty", "others"])
def test_what_is_not_celebv_is_refused_in_a_sentence(tmp_path, content, capsys):
    folder = tmp_path / "archive"
    if content == "file":
        folder.touch()
    elif content != "absent":
        (folder / "Kathleen").mkdir(parents=True)
        if content == "others":
            save(folder / "Somebody" / "Image" / "1.jpg", picture(0))
    command = ["celebv", "--input", str(folder), "--output", str(tmp_path / "root")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "root").exists()


def test_workers_that_die_cost_the_pictures_that_killed_them(tmp_path, archive, monkeypatch):
    killers = ("Kathleen", "Donald_Trump")

    def dying(work, jobs, _, died):
        for job in jobs:
            deadly = job.picture.stem == "12" and job.person in killers
            yield job, died(job) if deadly else work(job)

    monkeypatch.setattr(celebv, "map_in_processes", dying)
    report = run(archive, tmp_path / "root")
    names = ("kathleen/IMAGE/12.jpg", "CelebV/Donald_Trump/Image/12.jpg")
    assert report.skipped == {WORKER_DIED: dict.fromkeys(names, DIED)}
    assert report.done == {name: 3 - (name in killers) for name in PEOPLE}


def test_a_run_that_was_killed_and_begun_again_ends_as_one_that_was_not(tmp_path, archive):
    large = save(tmp_path / "large.png", picture(8, 200, 300))
    for number in range(1000, 1300):
        shutil.copy(large, archive / "Jack-Ma" / f"{number}.png")
    (archive / "Jack-Ma" / "1100.png").write_bytes(b"")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = ["celebv", "--input", archive, "--output", killed, "--size", SIZE, "--workers", 1]
    assert kill_when(lambda: len(list(killed.glob("*/Image/*"))) >= 100, *command) is None
    complete = {path: path.stat().st_mtime_ns for path in killed.glob("*/Image/*")}
    assert 100 <= len(complete) < 300
    for path in complete:
        assert read_image(path).shape == (SIZE, SIZE, 3)
    (killed / "Jack_Ma" / "Image" / ".1299.png.999999999").write_bytes(b"half")

    for root in (killed, whole):
        run(archive, root).write(root)
    assert contents(killed) == contents(whole)
    assert all(path.stat().st_mtime_ns == changed for path, changed in complete.items())


def test_a_picture_comes_to_its_place_complete_or_stops_everything(archive, tmp_path, monkeypatch):
    place = tmp_path / "Kathleen" / "Image" / "12.jpg"
    job = celebv._Job("Kathleen", archive / "kathleen" / "IMAGE" / "12.jpg")
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        celebv._prepare(tmp_path, SIZE, archive, job)
    place.parent.mkdir(parents=True)
    celebv._prepare(tmp_path, SIZE, archive, job)
    assert read_image(place).shape == (SIZE, SIZE, 3)
    assert list(place.parent.iterdir()) == [place]
