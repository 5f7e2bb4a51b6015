"""Files that come with the project are found from anywhere, and told when it is missing."""

import socket

import numpy as np
import pytest

from animation import bundled
from animation.bundled import bundled_source, bundled_weights, driving_path, motion_names
from utils.errors import InputError


@pytest.fixture
def motions(tmp_path, monkeypatch):
    folder = tmp_path / "motions"
    folder.mkdir()
    for name in ("talking.npz", "nodding.npz", "notes.md"):
        (folder / name).touch()
    monkeypatch.setattr(bundled, "MOTIONS", folder)
    return folder


def test_weights_lie_beside_the_code():
    assert bundled.WEIGHTS.is_absolute()
    assert (bundled.WEIGHTS.parent.parent / "animate.py").is_file()
    assert bundled.WEIGHTS.parent == bundled.MOTIONS.parent


def test_missing_weights_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "WEIGHTS", tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match=r"missing \(.*absent\.safetensors\): give a --checkpoint"):
        bundled_weights()


def test_a_name_is_a_motion_unless_it_is_a_file(motions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert motion_names() == ["nodding", "talking"]
    assert driving_path("talking") == motions / "talking.npz"
    (tmp_path / "talking").mkdir()
    assert driving_path("talking").resolve() == tmp_path / "talking"


@pytest.mark.parametrize("text", ["dancing", "notes", "../motions/talking", "talking.npz", ""])
def test_another_name_lists_the_motions(motions, text):
    with pytest.raises(InputError, match=f"no file {text!r}, .*: nodding, talking"):
        driving_path(text)


def test_without_motions_none_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "MOTIONS", tmp_path / "absent")
    with pytest.raises(InputError, match="none is here"):
        driving_path("talking")


def test_the_bundled_source_needs_no_network(monkeypatch, tmp_path):
    def refused(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setenv("SKIMAGE_DATADIR", str(tmp_path))
    picture = bundled_source()
    assert (picture.shape, picture.dtype) == ((512, 512, 3), np.uint8)
