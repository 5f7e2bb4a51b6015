import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.pictures import read_image, require_text
from modules.errors import InputError
from tests.datasets.conftest import moving_bar


@pytest.mark.parametrize("name", ["image.png", "image.bmp", "image.webp", "image.tif"])
def test_a_lossless_picture_comes_back_exactly(tmp_path, name):
    Image.fromarray(moving_bar(9)).save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / name), moving_bar(9))


def test_grey_of_any_depth_becomes_three_equal_channels(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    expected = np.stack([ramp] * 3, axis=-1)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    Image.fromarray(ramp > 127).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "grey16.png"), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png"), 255 * (expected > 127))


def test_transparent_parts_are_white(tmp_path):
    image = np.full((4, 4, 4), (255, 0, 0, 255), np.uint8)
    image[0] = (0, 0, 255, 0)
    image[1] = (0, 0, 0, 128)
    Image.fromarray(image).save(tmp_path / "alpha.png")
    Image.fromarray(image).quantize().save(tmp_path / "palette.png")
    expected = [[255, 255, 255], [127, 127, 127], [255, 0, 0], [255, 0, 0]]
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png")[:, 0], expected)
    np.testing.assert_allclose(read_image(tmp_path / "palette.png")[:, 0], expected, atol=8)


def test_a_palette_is_looked_up(tmp_path):
    Image.fromarray(moving_bar(0)).quantize(colors=16).save(tmp_path / "palette.png")
    np.testing.assert_allclose(read_image(tmp_path / "palette.png"), moving_bar(0), atol=2)


def test_a_photograph_is_turned_upright_by_its_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(moving_bar(9)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), np.rot90(moving_bar(9), -1))


def test_a_broken_picture_is_one_sentence_that_names_it(tmp_path):
    path = tmp_path / "face.png"
    with pytest.raises(InputError, match=r"^[^\n]*face\.png does not exist[^\n]*\.$"):
        read_image(path)
    Image.effect_noise((64, 64), 50).save(path)
    for content in (path.read_bytes()[:2000], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"^[^\n]*face\.png is not a readable[^\n]*\.$"):
            read_image(path)


@pytest.mark.parametrize("name", [b"a\xff.mp4", b"a\nb.mp4", b"a\rb.mp4", "a\u2028b".encode()])
def test_names_that_are_no_text_are_told(name):
    with pytest.raises(InputError, match=r"^The name of '/data/a\\.* is not one line of UTF-8"):
        require_text(Path("/data") / os.fsdecode(name))


def test_names_in_any_writing_are_text():
    for name in ("id1#\u017barna 'x' \"y\".mp4", "\u5c71\u3000\u7530#a", "a\tb"):
        require_text(Path("/data") / name)
