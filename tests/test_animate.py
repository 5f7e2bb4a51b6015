import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import animate
from animate import Animator, main
from datasets.video import VideoWriter, probe, read_frames
from modules.checkpoints import save_weights
from modules.compensation import MemoryConfig
from modules.dense_motion import DenseMotionConfig
from modules.errors import InputError
from modules.generator import GeneratorConfig
from modules.keypoint_detector import KeypointDetectorConfig
from modules.mcnet import MCNet, ModelConfig
from tests.golden import GOLDEN, needs_golden, published

SIZE = 32
TINY = ModelConfig(
    num_kp=4,
    # A random detector has flat heatmaps: the low temperature lets its keypoints move.
    keypoint_detector=KeypointDetectorConfig(width=4, depth=2, downsample=2, temperature=1e-3),
    dense_motion=DenseMotionConfig(width=4, depth=2, downsample=2),
    generator=GeneratorConfig(width=4, depth=2, residual_blocks=1),
    memory=MemoryConfig(channels=8, size=4, identity_hidden=4),
)


def moving_square(
    num_frames: int, height: int = SIZE, width: int = SIZE, seed: int = 0
) -> Iterator[np.ndarray]:
    """Frames of a bright square that walks over a coloured ground."""
    ground = np.random.default_rng(seed).integers(0, 128, (height // 8, width // 8, 3), np.uint8)
    ground = ground.repeat(8, axis=0).repeat(8, axis=1)
    for i in range(num_frames):
        frame = ground.copy()
        x = i % (width - 8)
        frame[x // 2 : x // 2 + 8, x : x + 8] = 255
        yield frame


def write_clip(path: Path, num_frames: int, rate: Fraction = Fraction(25), **size: int) -> Path:
    with VideoWriter(path, rate) as writer:
        for frame in moving_square(num_frames, **size):
            writer.write(frame)
    return path


def write_picture(path: Path, **shape: int) -> Path:
    (frame,) = moving_square(1, **shape)
    Image.fromarray(frame).save(path)
    return path


def images(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(path)]


@pytest.fixture(scope="module")
def animator() -> Animator:
    torch.manual_seed(0)
    return Animator(MCNet(TINY), (SIZE, SIZE), device="cpu", precision="fp32")


@pytest.fixture
def files(animator, tmp_path) -> dict[str, str]:
    """The options of a command that works."""
    save_weights(
        tmp_path / "weights.safetensors",
        animator.model,
        config={"model": TINY.model_dump(mode="json"), "data": {"size": SIZE}},
    )
    return {
        "--checkpoint": str(tmp_path),
        "--source": str(write_picture(tmp_path / "source.png", seed=1)),
        "--driving": str(write_clip(tmp_path / "driving.mp4", 5, Fraction(30000, 1001))),
        "--output": str(tmp_path / "result.mp4"),
        "--device": "cpu",
    }


def call(options: dict[str, str | None]) -> int:
    return main([word for pair in options.items() for word in pair if word is not None])


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
    write_clip_with_sound(tmp_path / "driving.mp4")
    assert probe(tmp_path / "driving.mp4").has_audio
    assert call(files) == 0
    assert probe(files["--output"]).has_audio


def write_clip_with_sound(path: Path) -> None:
    """One second of video and of a 440 Hz tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for frame in moving_square(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(video.encode())
        tone = np.sin(2 * np.pi * 440 / 16000 * np.arange(16000, dtype=np.float32))
        for i in range(0, 16000, 1000):
            sound = av.AudioFrame.from_ndarray(tone[None, i : i + 1000], "fltp", "mono")
            sound.sample_rate, sound.pts = 16000, i
            container.mux(audio.encode(sound))
        container.mux(audio.encode())


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
    assert len(read) == 4
    for _ in range(4):
        next(results)
    assert len(read) == 8


# Sizes


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_what_is_done_to_a_picture_of_another_shape_is_said(files, tmp_path, caplog, fit):
    write_picture(tmp_path / "source.png", height=48, width=80)
    with caplog.at_level(logging.INFO):
        assert call(files | {"--fit": fit}) == 0
    assert any("Pictures of 80 x 48 pixels are" in m and fit in m for m in caplog.messages)


def test_a_wide_picture_is_cropped_to_its_centre_and_padded_with_black(animator):
    picture = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
    picture[:, SIZE : 2 * SIZE] = 200
    assert (animator.fit(picture) == 200).all()
    padded = Animator(animator.model, (SIZE, SIZE), fit="pad", device="cpu").fit(picture + 50)
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
    monkeypatch.setattr(animate, "landmark_detector", lambda device: landmarks)
    with caplog.at_level(logging.INFO):
        assert call(files | {"--best-frame": "auto"}) == 0
    return caplog.messages


def test_the_best_frame_has_the_landmarks_most_like_the_source(monkeypatch, files, caplog):
    frames = images(Path(files["--driving"]))
    messages = best_frame_by(monkeypatch, files, FacesIn(frames, 3, without=(0, 4)), caplog)
    assert "Best frame by facial landmarks: 3." in messages


@pytest.mark.parametrize("faces", ["no detector", "no face in any driving frame"])
def test_without_landmarks_the_keypoints_of_the_network_choose(monkeypatch, files, caplog, faces):
    frames = images(Path(files["--driving"]))
    none = None if faces == "no detector" else FacesIn(frames, 0, without=tuple(range(5)))
    messages = best_frame_by(monkeypatch, files, none, caplog)
    assert any("Best frame by the network's own keypoints" in message for message in messages)


def test_landmark_weights_that_cannot_be_had_are_said(monkeypatch, caplog):
    def unavailable(device: str) -> None:
        raise animate.Unavailable("URLError: name resolution fails")

    monkeypatch.setattr(animate, "FaceAlignmentLandmarks", unavailable)
    animate.landmark_detector.cache_clear()
    assert animate.landmark_detector("cpu") is None
    assert "name resolution fails" in caplog.text
    animate.landmark_detector.cache_clear()


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
        ({"--pairs": "pairs.csv"}, "--pairs"),
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
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in complaint
    assert "Traceback" not in complaint
    assert set(tmp_path.iterdir()) == before


def test_a_driving_video_that_breaks_off_leaves_nothing_behind(files, tmp_path, animator):
    clip = write_clip(tmp_path / "driving.mp4", 60)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    before = set(tmp_path.iterdir())
    assert call(files) == 2
    assert set(tmp_path.iterdir()) == before


# Pairs


def test_pairs_go_on_after_a_bad_one_and_list_it(files, tmp_path, capsys):
    write_picture(tmp_path / "still.png")
    (tmp_path / "pairs.csv").write_text(
        "source,driving,best_frame\n"  # three names over rows of two
        "source.png,driving.mp4\n"
        "source.png,driving.mp4\n"  # a repeated row
        "source.png,absent.mp4\n"
        "source.png,driving.mp4,2\n"
        "source.png,driving.mp4,x\n"
        "source.png,still.png\n"
    )
    assert call(pair_options(files)) == 1
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "source--driving-2.mp4",
        "source--driving.mp4",
        "source--still",
    ]
    complaint = capsys.readouterr().err
    assert "2 pairs failed" in complaint
    assert "absent.mp4" in complaint
    assert "'x'" in complaint


def test_pairs_that_all_work_end_well(files, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\nsource.png,driving.mp4\n")
    assert call(pair_options(files)) == 0


def pair_options(files: dict[str, str]) -> dict[str, str]:
    folder = Path(files["--checkpoint"])
    options = {name: files[name] for name in ("--checkpoint", "--device")}
    return options | {"--pairs": str(folder / "pairs.csv"), "--output": str(folder / "results")}


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
