"""``animate.py`` with motions in files, and with nothing but what comes with the project."""

import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from animate import Animator, parse_frames
from animation import bundled
from media.video import FolderWriter, probe, read_frames
from tests.animating import (
    SIZE,
    Words,
    call,
    complaint,
    images,
    moving_square,
    without,
    write_checkpoint,
    write_clip,
    write_picture,
)
from tests.datasets.conftest import encode_with_sound
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("equal_pictures_are_searched_once")
RATE = Fraction(30000, 1001)
NUM_FRAMES = 7


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "weights.safetensors")


@pytest.fixture
def files(checkpoint, tmp_path, monkeypatch) -> Words:
    """The options of a command that works."""
    monkeypatch.chdir(tmp_path)
    write_picture("source.png", seed=1)
    write_clip("driving.mp4", NUM_FRAMES, RATE)
    return {
        "--checkpoint": str(checkpoint),
        "--source": "source.png",
        "--driving": "driving.mp4",
        "--output": "out/",
        "--device": "cpu",
        "--precision": "fp32",
    }


@pytest.fixture
def template(files) -> str:
    """The motion of the driving video, saved alone."""
    options = without(files, "--source", "--output", "--precision")
    assert call(options | {"--save-motion": "m.npz"}) == 0
    return "m.npz"


# Motions in files


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"--motion": "absolute"},
        {"--adapt-scale": None},
        {"--best-frame": "3"},
        {"--frames": "2:6", "--best-frame": "3"},
        {"--batch-size": "3"},
    ],
)
def test_a_template_moves_a_source_as_its_video_does(files, template, how):
    assert call(files | how) == 0
    expected = images("out")
    assert call(files | how | {"--driving": template, "--output": "again/"}) == 0
    np.testing.assert_array_equal(images("again"), expected)
    assert len(expected) == (4 if "--frames" in how else NUM_FRAMES)
    assert (expected[0] != expected[-1]).any()


def test_a_motion_is_saved_alone_without_anything_else(files, template, tmp_path):
    assert {path.name for path in tmp_path.iterdir()} == {"source.png", "driving.mp4", template}
    assert Path(template).stat().st_size < 5000


def test_a_motion_is_saved_beside_an_animation(files, template):
    assert call(files | {"--save-motion": "beside.npz"}) == 0
    with np.load("beside.npz") as found, np.load(template) as expected:
        assert set(found) == set(expected)
        for name in ("positions", "jacobians"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
        for name in ("version", "rate", "size", "detector", "times", "initial"):
            np.testing.assert_array_equal(found[name], expected[name])
    assert len(images("out")) == NUM_FRAMES


def test_the_result_has_the_rate_of_the_template_and_no_sound(files, template):
    encode_with_sound(Path("driving.mp4"), "aac")
    assert probe("driving.mp4").has_audio
    assert call(files | {"--driving": template, "--output": "out.mp4"}) == 0
    result = probe("out.mp4")
    assert (result.rate, result.num_frames, result.has_audio) == (RATE, NUM_FRAMES, False)


def test_a_motion_keeps_the_times_of_a_recording_that_states_a_thousand_frames_a_second(files):
    """Browsers record webcams so: webm, with times in milliseconds."""
    times = [0, 33, 71, 100, 250, 284, 1100]
    with av.open("webcam.webm", "w") as container:
        stream = container.add_stream("libvpx", rate=1000)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame, time in zip(moving_square(NUM_FRAMES), times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame)
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    video = probe("webcam.webm")
    assert (video.rate, video.variable_rate) == (Fraction(6000, 1100), True)
    assert call({**files, "--driving": "webcam.webm", "--output": "video.mp4"}) == 0
    saving = without(files, "--source", "--output")
    assert call(saving | {"--driving": "webcam.webm", "--save-motion": "webcam.npz"}) == 0
    assert call(files | {"--driving": "webcam.npz", "--output": "motion.mp4"}) == 0
    for output in ("video.mp4", "motion.mp4"):
        assert [frame.time * 1000 for frame in read_frames(output)] == times


def test_sound_is_kept_where_the_part_begins_with_the_video(files):
    encode_with_sound(Path("driving.mp4"), "aac")
    for part, has_sound in ((":3", True), ("2:", False)):
        assert call(files | {"--frames": part, "--output": "out.mp4"}) == 0
        assert probe("out.mp4").has_audio == has_sound


def test_panels_of_a_template_have_no_driving_frames(files, template):
    options = files | {"--driving": template}
    assert call(options) == 0
    assert call(options | {"--output": "panels/", "--panels": None}) == 0
    source = np.broadcast_to(images("source.png"), images("out").shape)
    np.testing.assert_array_equal(images("panels"), np.concatenate([source, images("out")], axis=2))


def test_a_template_of_another_network_is_refused(files, template, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    write_checkpoint(other, seed=1)
    assert call(files | {"--driving": template, "--checkpoint": str(other)}) == 2
    assert "keypoint detector of another network" in complaint(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--driving": "m.npz", "--best-frame": "auto"}, "give the number of a frame"),
        ({"--driving": "m.npz", "--best-frame": "7"}, "there is no frame 7"),
        ({"--driving": "m.npz", "--save-motion": "n.npz"}, "needs a driving video"),
        ({"--driving": "m.npz", "--frames": "5:9"}, "5:9 are out of range"),
        ({"--driving": "text.npz"}, "text.npz is not a readable motion template"),
        ({"--driving": ""}, "no file ''"),
        ({"--driving": "dancing"}, "no file 'dancing'"),
        ({"--frames": "ten"}, "Frames are START:END"),
        ({"--frames": ""}, "Frames are START:END"),
        ({"--frames": "1:2:3"}, "Frames are START:END"),
        ({"--save-motion": "n.txt"}, "written as NAME.npz: found n.txt"),
        ({"--save-motion": "folder.npz"}, "folder.npz cannot be written: it is a folder"),
        ({"--save-motion": "absent/n.npz"}, "create the folder absent first"),
        ({"--output": None, "--save-motion": "n.npz"}, "Give --output"),
        ({"--output": None}, "Give --output"),
        ({"--driving": None}, "Give --driving"),
        ({"--pairs": "p.csv"}, "animate.py pairs"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(
    files, template, tmp_path, capsys, *, change, says
):
    Path("text.npz").write_text("text")
    Path("folder.npz").mkdir()
    before = set(tmp_path.iterdir())
    absent = [name for name, value in change.items() if value is None]
    assert call(without(files | change, *absent)) == 2
    assert says in complaint(capsys)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--output": "out.wav"}, "ends neither in"),
        ({"--output": "absent/out.mp4"}, "create the folder absent first"),
        ({"--output": "driving.mp4/out/"}, "driving.mp4/out/ lies in driving.mp4"),
        ({"--output": "folder.mp4"}, "it is a folder"),
        ({"--output": "folder.mp4/"}, "holds other things"),
        ({"--save-motion": "absent/m.npz"}, "create the folder absent first"),
        ({"--frames": "3:9"}, "3:9 are out of range: driving.mp4 has 7 frames"),
        ({"--frames": "9:"}, "9:7 are out of range: driving.mp4 has 7 frames"),
        ({"--frames": "2:4", "--best-frame": "2"}, "2 frames are used: there is no frame 2"),
        ({"--driving": "one", "--frames": "1:2"}, "1:2 are out of range: one has 1 frame"),
        ({"--source": "folder.mp4"}, "folder.mp4 is a folder: give the path of a picture"),
        ({"--source": "driving.mp4"}, "driving.mp4 is a video, not a picture"),
        ({"--source": "pipe"}, "pipe is a pipe"),
        ({"--driving": "pipe"}, "pipe is a pipe"),
        ({"--fps": "30"}, "--fps belongs to --driving FOLDER"),
        ({"--driving": "one", "--fps": "fast"}, "found 'fast'"),
        ({"--driving": "one", "--fps": "0"}, "found '0'"),
        ({"--driving": "one", "--fps": "1/0"}, "found '1/0'"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_network_is_loaded(
    files, monkeypatch, capsys, *, change, says
):
    monkeypatch.setattr(Animator, "from_checkpoint", None)
    Path("folder.mp4").mkdir()
    Path("folder.mp4/text").write_text("")
    Path("one").mkdir()
    write_picture("one/0.png")
    os.mkfifo("pipe")
    assert call(files | change) == 2
    assert says in complaint(capsys)


@pytest.mark.parametrize(("fps", "rate"), [("30000/1001", RATE), ("12.5", "25/2"), (None, 25)])
def test_a_folder_of_frames_drives_at_the_rate_that_is_given(files, fps, rate):
    with FolderWriter("frames") as writer:
        for frame in moving_square(4):
            writer.write(frame)
    options = files | {"--driving": "frames", "--output": "out.mp4", "--save-motion": "m.npz"}
    assert call(options if fps is None else options | {"--fps": fps}) == 0
    result = probe("out.mp4")
    assert (result.rate, result.num_frames) == (Fraction(rate), 4)
    assert call(files | {"--driving": "m.npz", "--output": "again.mp4"}) == 0
    assert probe("again.mp4").rate == Fraction(rate)


def test_sound_that_is_left_out_is_said(files, caplog):
    encode_with_sound(Path("driving.mp4"), "aac")
    caplog.set_level(logging.INFO)
    for part, said in ((":3", 0), ("2:", 1)):
        assert call(files | {"--frames": part, "--output": "out.mp4"}) == 0
        assert caplog.text.count("Without sound: it is kept where --frames begins with 0") == said


def test_one_frame_is_not_frames(files, caplog):
    caplog.set_level(logging.INFO)
    assert call(files | {"--frames": ":1", "--save-motion": "m.npz"}) == 0
    assert "Written: m.npz (1 frame, 4 keypoints)" in caplog.messages
    assert caplog.messages[-1].startswith("1 frame in ")


def test_an_animation_that_fails_saves_no_motion(files, tmp_path, monkeypatch):
    before = set(tmp_path.iterdir())

    def broken(*args):
        raise InputError("broken")

    monkeypatch.setattr(Animator, "result", broken)
    assert call(files | {"--save-motion": "n.npz"}) == 2
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "part"), [("10:130", slice(10, 130)), (":5", slice(None, 5)), ("5:", slice(5, None))]
)
def test_a_part_of_a_video_has_a_start_and_an_end(text, part):
    assert parse_frames(text) == part


# What comes with the project


@pytest.fixture
def shipped(files, template, checkpoint, monkeypatch, tmp_path) -> None:
    """The test's network and motion in the place of the project's."""
    (tmp_path / "motions").mkdir()
    Path(template).rename(tmp_path / "motions" / "talking.npz")
    monkeypatch.setattr(bundled, "WEIGHTS", checkpoint)
    monkeypatch.setattr(bundled, "MOTIONS", tmp_path / "motions")


@pytest.mark.usefixtures("shipped")
def test_an_output_and_the_name_of_a_motion_are_enough(caplog):
    with caplog.at_level(logging.INFO):
        assert call({"--driving": "talking", "--output": "out.mp4", "--device": "cpu"}) == 0
    assert probe("out.mp4").num_frames == NUM_FRAMES
    said = [message for message in caplog.messages if message.startswith("No --")]
    assert len(said) == 2
    assert "weights.safetensors (research use only, see weights/README.md)" in said[0]
    assert "public-domain portrait in scikit-image" in said[1]


@pytest.mark.usefixtures("shipped")
def test_a_file_or_folder_of_a_motions_name_is_taken_and_that_is_said(files, caplog):
    assert call(files | {"--driving": "talking", "--output": "talking/"}) == 0
    assert "taken to be" not in caplog.text
    caplog.set_level(logging.INFO)
    assert call(files | {"--driving": "talking", "--output": "again/"}) == 0
    (said,) = [message for message in caplog.messages if "taken to be" in message]
    assert said.startswith("--driving talking is taken to be the folder of that name here")
    assert "motions/talking.npz" in said


@pytest.mark.usefixtures("shipped")
def test_what_is_given_is_not_replaced(files, caplog):
    with caplog.at_level(logging.INFO):
        assert call(files) == 0
    assert not [message for message in caplog.messages if message.startswith("No --")]


def test_the_projects_network_takes_lists_of_pairs_too(shipped, files):
    Path("pairs.csv").write_text("source,driving\nsource.png,driving.mp4\n")
    options = {"pairs": "pairs.csv", "--output": "pairs", "--device": "cpu"}
    assert call(options) == 0
    assert len(images("pairs/generated/source--driving")) == NUM_FRAMES


def test_missing_weights_are_one_sentence(files, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bundled, "WEIGHTS", tmp_path / "absent.safetensors")
    assert call(without(files, "--checkpoint")) == 2
    assert "give a --checkpoint" in complaint(capsys)
