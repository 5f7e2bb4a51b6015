"""A motion in a file is the motion that was saved, and nothing else is taken for one."""

import itertools
import os
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from animation.motion_template import (
    VERSION,
    MotionTemplate,
    fingerprint,
    load_template,
    require_template_name,
    save_template,
)
from modules.landmark_detector import LandmarkDetectorConfig
from tests.tiny import TINY_LANDMARKS, random_keypoints, randomise_norms, tiny_model
from utils.errors import InputError

RATE = Fraction(30000, 1001)
TEMPLATE = MotionTemplate(random_keypoints(batch=120, num_kp=15), RATE, (32, 48), "a" * 32)


def arrays() -> dict[str, np.ndarray]:
    """Arrays of a valid file."""
    return {
        "version": np.array(VERSION),
        "positions": TEMPLATE.keypoints.positions.numpy(),
        "jacobians": TEMPLATE.keypoints.jacobians.numpy(),
        "rate": np.array([30000, 1001]),
        "size": np.array([32, 48]),
        "detector": np.array("a" * 32),
        "times": np.array([], np.int64),
        "initial": np.array(0),
    }


def test_what_is_saved_comes_back_exactly_in_kilobytes(tmp_path):
    path = tmp_path / "m.npz"
    save_template(path, TEMPLATE)
    loaded = load_template(path)
    for found, expected in zip(loaded.keypoints, TEMPLATE.keypoints, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert loaded[1:] == (RATE, (32, 48), "a" * 32, None, 0)
    assert path.stat().st_size < 50_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.npz"]


def test_the_documented_arrays_are_a_template(tmp_path):
    np.savez(tmp_path / "m.npz", **arrays())
    assert load_template(tmp_path / "m.npz")[1:] == TEMPLATE[1:]


def test_the_times_of_frames_come_back_exactly(tmp_path):
    """Exact are 90 kHz of MPEG, milliseconds of webm, and 30000/1001 of NTSC."""
    ticks = [Fraction(1, 90_000), Fraction(1, 1000), Fraction(1001, 30_000), Fraction(1, 12_800)]
    steps = [ticks[n % 4] * (n % 7 + 1) for n in range(119)]
    times = tuple(itertools.accumulate(steps, initial=Fraction(0)))
    save_template(tmp_path / "m.npz", TEMPLATE._replace(times=times, initial=7))
    loaded = load_template(tmp_path / "m.npz")
    assert (loaded.times, loaded.initial) == (times, 7)


def test_a_file_of_the_first_format_counts_from_its_first_frame_at_its_rate(tmp_path):
    first = {name: of for name, of in arrays().items() if name not in ("times", "initial")}
    np.savez(tmp_path / "m.npz", **first | {"version": np.array(1)})
    assert load_template(tmp_path / "m.npz")[1:] == (RATE, (32, 48), "a" * 32, None, 0)


def test_small_jacobians_can_be_inverted(tmp_path):
    """Their determinants are 0 in float32."""
    small = arrays()["jacobians"] * np.float32(1e-25)
    np.savez(tmp_path / "m.npz", **arrays() | {"jacobians": small})
    assert torch.equal(load_template(tmp_path / "m.npz").keypoints.jacobians, torch.tensor(small))


def test_landmarks_come_back_exactly_too(tmp_path):
    landmarks = torch.rand(120, 68, 2)
    template = TEMPLATE._replace(keypoints=TEMPLATE.keypoints._replace(landmarks=landmarks))
    save_template(tmp_path / "m.npz", template)
    assert torch.equal(load_template(tmp_path / "m.npz").keypoints.landmarks, landmarks)


def changed(name: str, value: object) -> dict[str, np.ndarray]:
    return arrays() | {name: np.array(value)}


def with_one(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    array = arrays()[name].copy()
    array[index] = value
    return arrays() | {name: array}


def singular() -> dict[str, np.ndarray]:
    jacobians = arrays()["jacobians"].copy()
    jacobians[0, 3] = [[0.1, 0.2], [0.2, 0.4]]
    return arrays() | {"jacobians": jacobians}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "it has no version and no positions"),
        ({k: v for k, v in arrays().items() if k != "rate"}, "it has no rate"),
        (changed("version", VERSION + 1), "update the project"),
        (changed("version", 0), f"its version is not {VERSION}"),
        (changed("version", "one"), f"its version is not {VERSION}"),
        (changed("positions", np.zeros((5, 2))), r"positions are of shape \(5, 2\)"),
        (changed("positions", np.zeros((5, 15, 2))), r"not \(5, 15, 2, 2\)"),
        (changed("positions", np.zeros((120, 15, 2), int)), "of type int64"),
        (
            arrays() | {"positions": np.zeros((0, 4, 2)), "jacobians": np.zeros((0, 4, 2, 2))},
            "0 frames",
        ),
        (with_one("positions", (7, 3, 1), np.nan), "positions are not all finite"),
        (with_one("jacobians", (7, 3, 1, 0), np.inf), "jacobians are not all finite"),
        (changed("landmarks", np.zeros((119, 68, 2))), r"landmarks are of shape \(119, 68, 2\)"),
        (changed("landmarks", np.zeros((120, 5, 2))), r"landmarks are of shape \(120, 5, 2\)"),
        (changed("landmarks", np.zeros((120, 68, 2), int)), "landmarks are of type int64"),
        (changed("landmarks", np.full((120, 68, 2), np.nan)), "landmarks are not all finite"),
        (singular(), "jacobians of frame 0 cannot be inverted"),
        (changed("rate", [25, 0]), "its rate is not"),
        (changed("rate", 25.0), "its rate is not"),
        (changed("size", [-32, 48]), "its size is not"),
        (changed("detector", 7), "its detector is not a text"),
        (changed("times", [0, 1, 2]), "one for each of 120 frames"),
        (changed("times", np.arange(120) / 25), "its times are not whole numbers"),
        (changed("times", np.arange(1, 121)), "its times do not increase from 0"),
        (changed("times", np.r_[0, np.arange(119)]), "its times do not increase from 0"),
        (changed("initial", 120), "its initial frame is out of range"),
    ],
)
def test_other_arrays_are_refused_in_a_sentence(tmp_path, content, says):
    path = tmp_path / "m.npz"
    np.savez(path, **content)
    with pytest.raises(InputError, match=says) as caught:
        load_template(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def write_single_array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


class Code:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def write_pickle(path: Path) -> None:
    detector = np.array([Code(path.with_name("ran"))], dtype=object)
    np.savez(path, **arrays() | {"detector": detector})


def write_damaged(path: Path) -> None:
    np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def write_other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("positions.npy", "text")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("text"),
        lambda path: path.write_bytes(b""),
        write_single_array,
        write_pickle,
        write_damaged,
        write_other_archive,
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, write):
    write(tmp_path / "m.npz")
    with pytest.raises(InputError, match=r"m\.npz is not a (readable )?motion template"):
        load_template(tmp_path / "m.npz")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match=r"m\.npz cannot be read: No such file"):
        load_template(tmp_path / "m.npz")


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    jacobians = torch.full((120, 15, 2, 2), torch.nan)
    broken = TEMPLATE._replace(keypoints=TEMPLATE.keypoints._replace(jacobians=jacobians))
    with pytest.raises(InputError, match="was not written: its jacobians are not all finite"):
        save_template(tmp_path / "m.npz", broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m.txt", r"written as NAME\.npz: found .*m\.txt"),
        (".npz", r"written as NAME\.npz"),
        ("absent/m.npz", "create the folder"),
        ("folder.npz", "it is a folder"),
    ],
)
def test_a_name_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, name, says):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=says):
        require_template_name(tmp_path / name)
    require_template_name(tmp_path / "M.NPZ")


def test_a_read_only_folder_is_told_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write
    with pytest.raises(InputError, match="its folder is read-only"):
        require_template_name(tmp_path / "m.npz")


def test_a_template_is_refused_for_another_detector_or_shape_of_frames():
    TEMPLATE.require_maker("a" * 32, (32, 48), Path("m.npz"))
    TEMPLATE.require_maker("a" * 32, (64, 96), Path("m.npz"))
    with pytest.raises(InputError, match="keypoint detector of another network"):
        TEMPLATE.require_maker("b" * 32, (32, 48), Path("m.npz"))
    with pytest.raises(InputError, match="48 x 32 pixels, and the network's of 32 x 32"):
        TEMPLATE.require_maker("a" * 32, (32, 32), Path("m.npz"))


# The fingerprint of a detector


def test_weights_rounded_to_half_precision_are_the_same_detector():
    detector = randomise_norms(tiny_model()).detector
    rounded = randomise_norms(tiny_model()).detector
    rounded.load_state_dict(
        {name: tensor.half().to(tensor.dtype) for name, tensor in detector.state_dict().items()}
    )
    rounded.hourglass.down[0].norm.num_batches_tracked += 1
    assert not torch.equal(rounded.heatmaps.weight, detector.heatmaps.weight)
    assert fingerprint(rounded) == fingerprint(detector)


@pytest.mark.parametrize("name", ["heatmaps.weight", "jacobians.bias"])
def test_other_weights_are_another_detector(name):
    detector = tiny_model().detector
    before = fingerprint(detector)
    detector.get_parameter(name).data.flatten()[-1] += 0.01
    assert fingerprint(detector) != before


def test_what_is_not_weights_counts_too():
    detector = tiny_model().detector
    found = [fingerprint(detector)]
    detector.temperature *= 2
    found.append(fingerprint(detector))
    detector.downsample.factor *= 2
    found.append(fingerprint(detector))
    assert len(set(found)) == 3


def test_a_network_without_landmarks_keeps_its_fingerprint():
    model = tiny_model()
    assert fingerprint(model.detector, model.landmark_detector) == fingerprint(model.detector)


def test_the_landmark_detector_is_part_of_the_fingerprint():
    model = tiny_model(TINY_LANDMARKS)
    assert model.landmark_detector is not None
    found = [fingerprint(model.detector), fingerprint(model.detector, model.landmark_detector)]
    model.landmark_detector.heatmaps.bias.data[-1] += 0.01
    found.append(fingerprint(model.detector, model.landmark_detector))
    model.landmark_detector.config = LandmarkDetectorConfig(height=64, width=4, depth=2)
    found.append(fingerprint(model.detector, model.landmark_detector))
    assert len(set(found)) == 4
