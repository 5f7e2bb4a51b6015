import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animate import AnimationOptions, Animator, Timing, animate_file, animate_pairs, main
from animation import best_frame
from datasets.pair_list import read_pair_list
from faces.detectors import DetectorUnavailable
from media.video import FolderWriter, VideoWriter, probe, read_frames
from modules.mcnet import MCNet
from tests.animating import (
    MOVING,
    SIZE,
    call,
    complaint,
    images,
    moving_square,
    write_checkpoint,
    write_clip,
    write_picture,
)
from tests.datasets.conftest import encode_with_sound
from tests.golden import GOLDEN, needs_golden, published
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("equal_pictures_are_searched_once")


@pytest.fixture(scope="module")
def model() -> MCNet:
    torch.manual_seed(0)
    return MCNet(MOVING)


@pytest.fixture(scope="module")
def animator(model) -> Animator:
    return Animator(model, (SIZE, SIZE), device="cpu", precision="fp32")


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """The options of a command that works."""
    write_checkpoint(tmp_path / "weights.safetensors")
    return {
        "--checkpoint": str(tmp_path),
        "--source": str(write_picture(tmp_path / "source.png", seed=1)),
        "--driving": str(write_clip(tmp_path / "driving.mp4", 5, Fraction(30000, 1001))),
        "--output": str(tmp_path / "result.mp4"),
        "--device": "cpu",
    }


# What comes out


def test_the_result_has_the_exact_rate_and_length_of_the_driving_video(files):
    assert call(files) == 0
    result = probe(files["--output"])
    assert (result.rate, result.size) == (Fraction(30000, 1001), (SIZE, SIZE))
    assert len(images(Path(files["--output"]))) == 5


def test_a_variable_rate_keeps_its_times(files, tmp_path):
    times = [Fraction(t, 100) for t in (0, 4, 12, 24, 28, 40)]
    with VideoWriter(tmp_path / "driving.mp4", Fraction(25)) as writer:
        for frame, time in zip(moving_square(6), times, strict=True):
            writer.write(frame, time)
    assert call(files) == 0
    assert [frame.time for frame in read_frames(files["--output"])] == times


def test_the_sound_is_kept(files, tmp_path):
    encode_with_sound(tmp_path / "driving.mp4", "aac")
    assert probe(tmp_path / "driving.mp4").has_audio
    assert call(files) == 0
    assert probe(files["--output"]).has_audio


def test_a_folder_holds_what_the_animator_gives(files, animator, tmp_path):
    assert call(files | {"--output": f"{tmp_path}/frames/", "--precision": "fp32"}) == 0
    paths = sorted((tmp_path / "frames").iterdir())
    assert [path.name for path in paths] == [f"{i:07d}.png" for i in range(5)]
    (source,) = moving_square(1, seed=1)
    expected = animator.animate(source, images(Path(files["--driving"])))
    for path, frame in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)


def test_a_gif_has_all_frames(files, tmp_path):
    assert call(files | {"--output": str(tmp_path / "result.gif")}) == 0
    assert len(images(tmp_path / "result.gif")) == 5


def test_a_picture_drives_one_frame(files, tmp_path):
    driving = write_picture(tmp_path / "driving.png")
    assert call(files | {"--driving": str(driving), "--output": f"{tmp_path}/frames/"}) == 0
    assert len(list((tmp_path / "frames").iterdir())) == 1


def test_panels_show_source_and_driving_before_the_result(files, tmp_path):
    options = files | {"--output": f"{tmp_path}/plain/"}
    assert call(options) == 0
    assert call(options | {"--output": f"{tmp_path}/panels/", "--panels": None}) == 0
    source = np.asarray(Image.open(files["--source"]))
    for driving, result, panels in zip(
        images(Path(files["--driving"])),
        images(tmp_path / "plain"),
        images(tmp_path / "panels"),
        strict=True,
    ):
        np.testing.assert_array_equal(panels, np.hstack([source, driving, result]))


# Motion


def test_absolute_motion_does_not_depend_on_the_batch_size(animator):
    frames = list(moving_square(5))
    one, many = (
        np.stack(list(animator.animate(frames[0], frames, motion="absolute", batch_size=size)))
        for size in (1, 3)
    )
    assert np.abs(one.astype(int) - many).max() <= 1  # rounding may differ


def test_relative_motion_of_the_source_itself_is_absolute_motion(animator):
    frames = list(moving_square(4))
    absolute, relative = (
        np.stack(list(animator.animate(frames[0], frames, motion=motion)))
        for motion in ("absolute", "relative")
    )
    assert np.abs(absolute.astype(int) - relative).max() <= 1


def test_relative_motion_counts_from_the_chosen_frame(animator):
    """The chosen frame itself leaves the source's keypoints where they are."""
    (source,) = moving_square(1, seed=1)
    frames = list(moving_square(5))
    still = next(iter(animator.animate(source, [source], motion="absolute")))
    from_third = list(animator.animate(source, frames, initial=frames[3]))
    assert np.abs(from_third[3].astype(int) - still).max() <= 1
    assert np.abs(from_third[0].astype(int) - still).max() > 1


def test_keypoints_drive_as_the_frames_that_they_are_of(animator):
    (source,) = moving_square(1, seed=1)
    frames = list(moving_square(5))
    expected = list(animator.animate(source, frames, initial=frames[2], adapt_scale=True))
    batches = [animator.detect(frames[:3]), animator.detect(frames[3:])]
    initial = animator.detect(frames[2:3])
    found = animator.animate_keypoints(source, batches, initial=initial, adapt_scale=True)
    assert np.abs(np.stack(list(found)).astype(int) - expected).max() <= 1  # rounding may differ


def test_the_adapted_scale_changes_the_motion(animator):
    (source,) = moving_square(1, seed=1)
    frames = list(moving_square(5))
    plain, adapted = (
        np.stack(list(animator.animate(source, frames, adapt_scale=adapt)))
        for adapt in (False, True)
    )
    assert (plain[0] == adapted[0]).all()
    assert (plain[4] != adapted[4]).any()


def test_frames_are_read_only_as_they_are_needed(animator):
    read = []

    def frames() -> Iterator[np.ndarray]:
        for i, frame in enumerate(moving_square(100)):
            read.append(i)
            yield frame

    results = animator.animate(next(moving_square(1)), frames(), batch_size=4)
    assert read == []
    next(results)
    assert len(read) == 12  # one batch ahead is rendered, and another one is detected
    for _ in range(4):
        next(results)
    assert len(read) == 16


def test_batches_are_submitted_one_ahead_and_come_in_order(animator, monkeypatch):
    steps = []
    submit, result = Animator.submit, Animator.result

    def noted(name, step):
        return lambda *args: steps.append(name) or step(*args)

    monkeypatch.setattr(Animator, "submit", noted("submit", submit))
    monkeypatch.setattr(Animator, "result", noted("result", result))
    frames = list(moving_square(5))
    results = list(animator.animate(frames[0], frames, motion="absolute", batch_size=2))
    assert steps == ["submit", "submit", "result", "submit", "result", "result"]
    encoded = animator.encode(frames[0])
    for frame, result in zip(frames, results, strict=True):
        (alone,) = animator.render(encoded, animator.detect([frame]))
        assert np.abs(alone.astype(int) - result).max() <= 1


def test_an_animation_says_how_long_the_network_took(files, animator, caplog):
    source, driving, output = (files[name] for name in ("--source", "--driving", "--output"))
    with caplog.at_level(logging.INFO):
        timing = animate_file(animator, Path(source), Path(driving), output, AnimationOptions())
    assert timing.num_frames == 5
    assert 0 < timing.network_seconds < timing.seconds
    assert caplog.messages[-1] == f"{timing}."
    assert str(Timing(250, 20.0, 19.4)) == (
        "250 frames in 20.0 s (12.5 frames/s), 97% of it in the network"
    )


# Sizes


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_what_is_done_to_a_picture_of_another_shape_is_said(files, tmp_path, caplog, fit):
    write_picture(tmp_path / "source.png", height=48, width=80)
    with caplog.at_level(logging.INFO):
        assert call(files | {"--fit": fit}) == 0
    assert any("Pictures of 80 x 48 pixels are" in m and fit in m for m in caplog.messages)


def test_a_wide_picture_is_cropped_to_its_centre_and_padded_with_black(animator, model):
    picture = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
    picture[:, SIZE : 2 * SIZE] = 200
    assert (animator.fit(picture) == 200).all()
    padded = Animator(model, (SIZE, SIZE), resize_mode="pad", device="cpu").fit(picture + 50)
    assert padded.shape == (SIZE, SIZE, 3)
    assert (padded[[0, -1]] == 0).all()
    assert (padded[SIZE // 2] > 0).all()


@pytest.mark.parametrize("picture", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3))])
def test_what_is_no_picture_is_refused(animator, picture):
    with pytest.raises(InputError, match="RGB uint8"):
        animator.fit(picture)


def test_a_size_that_was_not_trained_on_can_be_asked_for(files):
    assert call(files | {"--size": "48"}) == 0
    assert probe(files["--output"]).size == (48, 48)


# Best frame


class FacesIn:
    """Landmarks that follow the walking square: (68, 2), none where ``number`` is missing."""

    def __init__(self, frames: list[np.ndarray], nearest: int, without: tuple[int, ...]) -> None:
        self.frames, self.nearest, self.without = frames, nearest, without
        self.shape = np.random.default_rng(0).normal(size=(68, 2))

    def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
        return np.stack([self.find(frame) for frame in frames])

    def find(self, frame: np.ndarray) -> np.ndarray:
        numbers = [i for i, known in enumerate(self.frames) if (known == frame).all()]
        if not numbers:  # the source
            return self.shape
        if numbers[0] in self.without:
            return np.full((68, 2), np.nan)
        return self.shape * [1, 1 + abs(numbers[0] - self.nearest)]


def best_frame_by(monkeypatch, files, landmarks, caplog) -> list[str]:
    monkeypatch.setattr(best_frame, "landmark_detector", lambda device: landmarks)
    with caplog.at_level(logging.INFO):
        assert call(files | {"--best-frame": "auto"}) == 0
    return caplog.messages


@pytest.mark.parametrize("threads", [1, 2])
def test_the_best_frame_has_the_landmarks_most_like_the_source(monkeypatch, files, caplog, threads):
    torch.set_num_threads(threads)
    frames = images(Path(files["--driving"]))
    messages = best_frame_by(monkeypatch, files, FacesIn(frames, 3, without=(0, 4)), caplog)
    assert "Best frame by facial landmarks: 3." in messages


@pytest.mark.parametrize("faces", ["no detector", "no face in any driving frame"])
def test_without_landmarks_the_keypoints_of_the_network_choose(monkeypatch, files, caplog, faces):
    frames = images(Path(files["--driving"]))
    none = None if faces == "no detector" else FacesIn(frames, 0, without=tuple(range(5)))
    messages = best_frame_by(monkeypatch, files, none, caplog)
    assert any("Best frame by the network's own keypoints" in message for message in messages)


def test_landmark_weights_that_are_not_available_are_logged(monkeypatch, caplog):
    def unavailable(device: str) -> None:
        raise DetectorUnavailable("URLError: name resolution fails")

    monkeypatch.setattr(best_frame, "FaceAlignmentLandmarks", unavailable)
    best_frame.landmark_detector.cache_clear()
    assert best_frame.landmark_detector("cpu") is None
    assert "name resolution fails" in caplog.text
    best_frame.landmark_detector.cache_clear()


# Errors


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--source": "absent.png"}, "absent.png"),
        ({"--driving": "absent.mp4"}, "absent.mp4"),
        ({"--checkpoint": "absent"}, "absent"),
        ({"--source": "TEXT"}, "TEXT"),
        ({"--driving": "TEXT"}, "TEXT"),
        ({"--checkpoint": "TEXT"}, "TEXT"),
        ({"--driving": "EMPTY"}, "EMPTY"),
        ({"--output": "result.wav"}, "result.wav"),
        ({"--motion": "sideways"}, "sideways"),
        ({"--device": "tpu"}, "tpu"),
        ({"--precision": "fp8"}, "fp8"),
        ({"--size": "30"}, "30 x 30"),
        ({"--best-frame": "99"}, "99"),
        ({"--best-frame": "first"}, "'first'"),
        ({"--motion": "absolute", "--adapt-scale": None}, "--motion relative"),
        ({"--fit": "training"}, "'face'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(
    files, tmp_path, monkeypatch, capsys, *, change, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TEXT").write_text("not what was asked for")
    (tmp_path / "EMPTY").mkdir()
    before = set(tmp_path.iterdir())
    assert call(files | change) == 2
    assert says in complaint(capsys)
    assert set(tmp_path.iterdir()) == before


def test_a_driving_video_that_breaks_off_leaves_nothing_behind(files, tmp_path, animator):
    clip = write_clip(tmp_path / "driving.mp4", 60)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    before = set(tmp_path.iterdir())
    assert call(files) == 2
    assert set(tmp_path.iterdir()) == before


def worker_threads() -> list[str]:
    """Besides them there is tqdm's."""
    return [thread.name for thread in threading.enumerate() if "Executor" in thread.name]


@pytest.mark.parametrize("output", ["result.mp4", "result/"])
@pytest.mark.parametrize("step", ["_add", "_finish"])
def test_an_output_that_cannot_be_written_leaves_nothing_behind(
    files, tmp_path, monkeypatch, capsys, *, output, step
):
    before = set(tmp_path.iterdir())
    kind = FolderWriter if output.endswith("/") else VideoWriter
    possible = getattr(kind, step)

    def full(writer, *args):
        if writer.num_frames >= 3:
            raise OSError(28, "No space left on device")
        return possible(writer, *args)

    monkeypatch.setattr(kind, step, full)
    assert call(files | {"--output": f"{tmp_path}/{output}"}) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before
    assert worker_threads() == []


def test_an_interruption_leaves_nothing_behind(files, tmp_path, monkeypatch):
    before = set(tmp_path.iterdir())

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Animator, "result", interrupted)
    assert call(files) == 130
    assert set(tmp_path.iterdir()) == before
    assert worker_threads() == []


@pytest.mark.parametrize("output", ["result.mp4", "result/"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_terminated_leaves_nothing_behind(files, tmp_path, monkeypatch, output, number):
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(Animator, "result", lambda *args: os.kill(os.getpid(), number))
    assert call(files | {"--output": f"{tmp_path}/{output}"}) == 128 + number
    assert set(tmp_path.iterdir()) == before
    assert worker_threads() == []


# Precision


@pytest.fixture
def hardware_multiplies_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)


def test_frames_that_overflow_in_half_precision_are_those_of_float32(model, caplog):
    (source,) = moving_square(1, seed=1)
    frames = list(moving_square(5))
    harsh = deepcopy(model)
    harsh.generator.decoder.final.weight.data *= 1e8
    half, full = (
        Animator(harsh, (SIZE, SIZE), device="cpu", precision=precision)
        for precision in ("fp16", "fp32")
    )
    found, expected = (
        np.stack(list(one.animate(source, frames, batch_size=2))) for one in (half, full)
    )
    assert np.abs(found.astype(int) - expected).mean() < 0.1
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    encoded, driving = half.encode(source), half.detect(frames)
    assert half.predict(encoded, driving).isfinite().all()


def test_an_automatic_precision_is_decided_by_the_first_pictures_alone(
    model, hardware_multiplies_bf16
):
    animator = Animator(model, (SIZE, SIZE), device="cpu")
    (source,) = moving_square(1, seed=1)
    pairs = iter([(source, frame) for frame in moving_square(3)])
    assert [animator.checked_precision(pairs) for _ in range(2)] == ["bf16", "bf16"]
    assert len(list(pairs)) == 2


# Values that are not finite


def test_values_that_are_not_finite_are_predicted_but_not_rendered():
    model = MCNet(MOVING)
    model.generator.decoder.final.bias.data[0] = torch.nan
    broken = Animator(model, (SIZE, SIZE), device="cpu", precision="fp32")
    (picture,) = moving_square(1)
    encoded, driving = broken.encode(picture), broken.detect([picture])
    prediction = broken.predict(encoded, driving)
    assert prediction.shape == (1, 3, SIZE, SIZE)
    assert not prediction.isfinite().all()
    with pytest.raises(InputError, match="not finite"):
        broken.render(encoded, driving)


def test_predictions_are_the_frames_before_rounding(animator):
    first, second = moving_square(2)
    encoded, driving = animator.encode(first), animator.detect([first, second])
    prediction = animator.predict(encoded, driving).permute(0, 2, 3, 1).numpy()
    assert prediction.min() >= 0
    assert np.abs(prediction * 255 - animator.render(encoded, driving)).max() <= 0.51


# Pairs


class Listed:
    """A list under a data root, and the command that animates it."""

    def __init__(self, files: dict[str, str], folder: Path) -> None:
        self.output, self.folder, self.files = folder / "results", folder, files
        test = folder / "root" / "test"
        for name, num_frames, seed in (("id1#a", 6, 0), ("id2#b", 5, 3), ("id2#c", 4, 2)):
            frames = moving_square(num_frames, seed=seed)
            (test / name).mkdir(parents=True)
            for number, frame in enumerate(frames):
                Image.fromarray(frame).save(test / name / f"{number:07d}.png")

    def animate(self, rows: str, header: str = "source,driving,best_frame", **more) -> int:
        (self.folder / "pairs.csv").write_text(f"{header}\n{rows}")
        options = {"pairs": f"{self.folder}/pairs.csv", "--root": f"{self.folder}/root"}
        options |= {name: self.files[name] for name in ("--checkpoint", "--device")}
        options |= {"--output": str(self.output), "--precision": "fp32"}
        return call(options | {f"--{name}": value for name, value in more.items()})

    def pictures(self, name: str) -> tuple[np.ndarray, ...]:
        kinds = ("source", "driving", "generated")
        return tuple(np.asarray(Image.open(self.output / kind / f"{name}.png")) for kind in kinds)

    def frame(self, clip: str, number: int) -> np.ndarray:
        path = self.folder / "root" / "test" / clip / f"{number:07d}.png"
        return np.asarray(Image.open(path))

    def record(self) -> dict:
        return json.loads((self.output / "pairs.json").read_text())


@pytest.fixture
def listed(files, tmp_path) -> Listed:
    return Listed(files, tmp_path)


STILLS = (
    "/x/test/id1#a/0000000.png,/x/test/id1#a/0000005.png\n"
    "/x/test/id1#a/0000000.png,/x/test/id2#b/0000004.png\n"
    "/x/test/id1#a/0000000.png,/x/test/id2#b/0000004.png,/x/test/id2#b/0000001.png\n"
    "/x/test/id2#c/0000001.png,/x/test/id2#b/0000003.png,2\n"
    "/x/test/id2#c/0000001.png,/x/test/id1#a/0000003.png\n"
)
NAMES = [
    "id1#a-0000000--id1#a-0000005",
    "id1#a-0000000--id2#b-0000004",
    "id1#a-0000000--id2#b-0000004-2",
    "id2#c-0000001--id2#b-0000003",
    "id2#c-0000001--id1#a-0000003",
]


def test_pictures_move_as_their_protocol_prescribes(listed, animator):
    """Absolute for one person; for two relative to the best frame where there is one."""
    assert listed.animate(STILLS, **{"batch-size": "3"}) == 0
    a0, c1 = listed.frame("id1#a", 0), listed.frame("id2#c", 1)
    expected = {
        NAMES[0]: (a0, listed.frame("id1#a", 5), None),
        NAMES[1]: (a0, listed.frame("id2#b", 4), None),
        NAMES[2]: (a0, listed.frame("id2#b", 4), listed.frame("id2#b", 1)),
        NAMES[3]: (c1, listed.frame("id2#b", 3), None),
        NAMES[4]: (c1, listed.frame("id1#a", 3), None),
    }
    results = {}
    for name, (source, driving, initial) in expected.items():
        written = listed.pictures(name)
        motion = "absolute" if initial is None else "relative"
        (result,) = animator.animate(source, [driving], motion=motion, initial=initial)
        np.testing.assert_array_equal(written[0], source)
        np.testing.assert_array_equal(written[1], driving)
        assert np.abs(written[2].astype(int) - result).max() <= 1  # batches round in other ways
        assert listed.record()["pairs"][name]["motion"] == motion
        results[name] = written[2]
    assert (results[NAMES[1]] != results[NAMES[2]]).any()


def test_a_clip_drives_relative_to_its_best_frame_or_its_first(listed, animator):
    rows = "id1#a,id2#b,2\nid1#a,id2#c,\nid2#c,id2#b,\n"
    assert listed.animate(rows, header="source,driving,frame") == 0
    for name, source, driving, motion, best in (
        ("id1#a--id2#b", "id1#a", "id2#b", "relative", 2),
        ("id1#a--id2#c", "id1#a", "id2#c", "relative", 0),
        ("id2#c--id2#b", "id2#c", "id2#b", "absolute", 0),
    ):
        picture = listed.frame(source, 0)
        frames = images(listed.folder / "root" / "test" / driving)
        results = animator.animate(picture, frames, motion=motion, initial=frames[best])
        np.testing.assert_array_equal(images(listed.output / "generated" / name), list(results))
        np.testing.assert_array_equal(images(listed.output / "driving" / name), frames)
        (source_picture,) = images(listed.output / "source" / f"{name}.png")
        np.testing.assert_array_equal(source_picture, picture)
        assert listed.record()["pairs"][name]["motion"] == motion


def test_the_motion_can_be_chosen_for_all_pairs(listed, capsys):
    rows = "id1#a,id2#b\nid1#a/0000000.png,id2#b/0000001.png\n"
    assert listed.animate(rows, motion="absolute") == 0
    assert {pair["motion"] for pair in listed.record()["pairs"].values()} == {"absolute"}
    listed.output = listed.folder / "relative"
    assert listed.animate(rows, motion="relative") == 1
    assert "needs a best_frame" in capsys.readouterr().err


def test_clips_can_be_written_for_watching(listed):
    assert listed.animate("id1#a,id2#b\n", format="mp4", panels=None) == 0
    sizes = {"driving": SIZE, "generated": SIZE, "panels": 3 * SIZE}
    for kind, width in sizes.items():
        video = probe(listed.output / kind / "id1#a--id2#b.mp4")
        assert (video.num_frames, video.size) == (5, (SIZE, width))


def test_driving_frames_are_written_as_the_network_saw_them(listed, animator):
    wide = listed.folder / "root" / "test" / "id3#w"
    wide.mkdir()
    write_picture(wide / "0000000.png", height=48, width=80)
    assert listed.animate("id1#a/0000000.png,id3#w/0000000.png\n") == 0
    _, driving, _ = listed.pictures("id1#a-0000000--id3#w-0000000")
    expected = animator.fit(np.asarray(Image.open(wide / "0000000.png")))
    np.testing.assert_array_equal(driving, expected)


def test_pairs_go_on_after_bad_ones_and_name_them(listed, capsys):
    (listed.folder / "root" / "test" / "id2#b" / "0000003.png").write_text("no picture")
    assert listed.animate(STILLS + "id1#a/0000009.png,id1#a/0000000.png\nid1#a,absent\n") == 1
    said = capsys.readouterr().err
    assert "3 pairs are missing or failed" in said
    assert "no frame 9" in said
    record = listed.record()
    assert record["finished"]
    assert (record["rows"], record["duplicates"]) == (7, 0)
    assert list(record["failed"]) == [NAMES[3]]
    assert "0000003.png is not a readable picture" in record["failed"][NAMES[3]]
    assert [row.split(":")[0] for row in record["missing"]] == ["line 7", "line 8"]
    results = sorted(path.stem for path in (listed.output / "generated").iterdir())
    assert results == sorted(set(NAMES) - {NAMES[3]})


def test_pairs_rendered_side_by_side_are_those_of_one_thread(listed):
    (listed.folder / "root" / "test" / "id2#b" / "0000003.png").write_text("no picture")
    rows = STILLS + "id1#a,id2#c\nid1#a/0000000.png,id1#a/0000002.png\n"
    pictures, failed = [], []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        listed.output = listed.folder / f"by {threads}"
        assert listed.animate(rows, **{"batch-size": "2"}) == 1
        paths = sorted(listed.output.rglob("*.png"))
        pictures.append({path.relative_to(listed.output): path.read_bytes() for path in paths})
        failed.append(listed.record()["failed"])
    assert len(pictures[0]) == 3 * 5 + 1 + 2 * 4
    assert pictures[0] == pictures[1]
    assert failed[0] == failed[1]


def test_a_strict_list_with_missing_files_renders_nothing(listed, capsys):
    assert listed.animate(STILLS + "id1#a,absent\nabsent,id1#a\n", strict=None) == 2
    said = capsys.readouterr().err
    assert "line 7: id1#a, absent" in said
    assert "line 8: absent, id1#a" in said
    assert not listed.output.exists()
    assert listed.animate(STILLS, strict=None) == 0


def test_an_interrupted_list_goes_on_where_it_stopped(listed, monkeypatch):
    assert listed.animate(STILLS + "id1#a,id2#b\n", **{"batch-size": "2"}) == 0
    whole = {path: path.read_bytes() for path in listed.output.rglob("*.png")}
    for path in listed.output.glob(f"generated/{NAMES[2]}.png"):
        path.unlink()
    rendered = []
    render = Animator.render
    monkeypatch.setattr(
        Animator, "render", lambda *args: rendered.append(len(args[2][0])) or render(*args)
    )
    assert listed.animate(STILLS + "id1#a,id2#b\n", **{"batch-size": "2"}) == 0
    assert rendered == [1]  # relative motion, by itself between absolute
    assert {path: path.read_bytes() for path in listed.output.rglob("*.png")} == whole


def test_generated_frames_appear_last(listed, monkeypatch):
    """A pair whose generated frames are there is whole."""
    order = []
    finish = FolderWriter._finish
    monkeypatch.setattr(
        FolderWriter, "_finish", lambda self: order.append(self.path.parent.name) or finish(self)
    )
    assert listed.animate("id1#a,id2#c\n", panels=None) == 0
    assert order == ["driving", "panels", "generated"]


def test_results_of_other_settings_are_not_mixed(listed, capsys):
    assert listed.animate(STILLS) == 0
    assert listed.animate(STILLS, fit="pad") == 2
    assert "holds results of another fit" in capsys.readouterr().err
    assert listed.animate(STILLS + "id1#a,id2#b\n") == 2
    assert "another pairs_sha256" in capsys.readouterr().err


def test_a_driving_clip_that_breaks_off_leaves_no_part_of_a_result(listed):
    (listed.folder / "root" / "test" / "id2#c" / "0000003.png").write_text("no picture")
    rows = "id1#a,id2#c\nid1#a,id2#b\n"
    assert listed.animate(rows, **{"batch-size": "2"}) == 1
    for kind in ("driving", "generated"):
        results = [path.name for path in (listed.output / kind).iterdir()]
        assert results == ["id1#a--id2#b"]


def test_options_of_lists_and_of_single_animations_are_not_mixed(files, listed, capsys):
    assert call(files | {"--strict": None}) == 2
    assert "No such option: --strict" in capsys.readouterr().err
    assert listed.animate(STILLS, frames="1:2") == 2
    assert "No such option: --frames" in capsys.readouterr().err
    assert call({"--motion": "relative", "pairs": "pairs.csv", "--output": "out"}) == 2
    assert "after the word pairs" in capsys.readouterr().err


def test_the_option_that_pairs_had_is_refused_with_the_command_that_they_have(capsys):
    assert main(["--pairs", "pairs.csv", "--root", "data", "--strict", "--output", "out"]) == 2
    assert "python animate.py pairs CSV --root DIR --output FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "precision"), [(255, "bf16"), (-1, "fp32")])
def test_the_precision_that_auto_came_to_is_recorded(
    listed, monkeypatch, hardware_multiplies_bf16, *, limit, precision
):
    monkeypatch.setattr("inference.precision.MAX_DIFFERENCE", limit)
    (listed.folder / "root" / "test" / "id1#a" / "0000000.png").write_text("no picture")
    for _ in range(2):  # and the second call goes on
        assert listed.animate(STILLS, precision="auto") == 1
        assert listed.record()["conditions"]["precision"] == precision
    assert listed.animate(STILLS, precision=precision) == 1


def test_pairs_can_be_animated_from_python(listed, animator, tmp_path):
    (tmp_path / "pairs.csv").write_text(f"source,driving,best_frame\n{STILLS}")
    pair_list = read_pair_list(tmp_path / "pairs.csv", tmp_path / "root")
    problems = animate_pairs(animator, pair_list, listed.output, AnimationOptions(adapt_scale=True))
    assert problems == {}
    assert len(list((listed.output / "generated").iterdir())) == len(STILLS.splitlines())


# The published path


@needs_golden
def test_published_weights_give_the_reference_frame_through_files(tmp_path):
    arrays = np.load(GOLDEN / "seed0.npz")
    torch.save(published(), tmp_path / "published.pth.tar")
    for name in ("source", "driving"):
        Image.fromarray(arrays[name]).save(tmp_path / f"{name}.png")
    options = {f"--{name}": f"{tmp_path}/{name}.png" for name in ("source", "driving")}
    options |= {"--checkpoint": f"{tmp_path}/published.pth.tar", "--output": f"{tmp_path}/result/"}
    assert call(options | {"--motion": "absolute", "--precision": "fp32", "--device": "cpu"}) == 0
    frame = np.asarray(Image.open(tmp_path / "result" / "0000000.png")) / 255
    expected = arrays["prediction"][0].transpose(1, 2, 0)
    assert np.abs(frame - expected).max() < 1 / 255
