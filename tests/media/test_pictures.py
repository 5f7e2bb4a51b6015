import os
import struct
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from media.pictures import Box, picture_size, read_image, require_text, write_picture_whole
from media.video import read_frames
from tests.datasets.conftest import moving_bar
from utils.errors import InputError, OutputError

BOUNDS = 640, 480  # width and height of a picture


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


# Colour profiles

P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # (x, y) of red, green and blue


def profile_of(primaries: tuple[tuple[float, float], ...], description: str) -> bytes:
    """An ICC profile with the curve of sRGB, of version 2: a matrix and tables, written out."""
    xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    white_d65, white = np.array([0.9505, 1, 1.089]), np.array([0.9642, 1, 0.8249])
    matrix = xyz * np.linalg.solve(xyz, white_d65)
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    adapted = np.linalg.inv(cone) @ np.diag((cone @ white) / (cone @ white_d65)) @ cone @ matrix

    def s15(values: np.ndarray) -> bytes:
        return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)

    values = np.linspace(0, 1, 1024)
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    curve = struct.pack(">4s4xI", b"curv", 1024) + (light * 65535).round().astype(">u2").tobytes()
    text = description.encode() + b"\0"
    tags = {
        b"desc": struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + s15(white),
        **{
            name: b"XYZ \0\0\0\0" + s15(column)
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), adapted.T, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += padded
    kinds = (0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s", offset + len(body), *kinds)
    head += bytes(28) + s15(white)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


WIDE = (200, 100, 80)  # of Display P3: by the matrices of the CSS standard (215, 93, 73) in sRGB
NARROW = np.array([215, 93, 73])


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".tif"])
def test_a_wide_gamut_photograph_is_brought_to_srgb(tmp_path, kind):
    wide = Image.fromarray(np.full((16, 16, 3), WIDE, np.uint8))
    form = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(kind, {})
    wide.save(tmp_path / f"a{kind}", icc_profile=profile_of(P3, "Display P3"), **form)
    found = read_image(tmp_path / f"a{kind}")
    assert np.abs(found.astype(int) - NARROW).max() <= (3 if kind == ".jpg" else 1)


def test_transparency_and_palettes_have_their_profile_too(tmp_path):
    rgba = np.full((16, 16, 4), (*WIDE, 255), np.uint8)
    rgba[:8, :, 3] = 0
    profile = profile_of(P3, "Display P3")
    Image.fromarray(rgba).save(tmp_path / "a.png", icc_profile=profile)
    found = read_image(tmp_path / "a.png").astype(int)
    assert found[:8].min() == 255
    assert np.abs(found[8:] - NARROW).max() <= 1
    palette = Image.fromarray(rgba[..., :3]).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png", icc_profile=profile)
    assert np.abs(read_image(tmp_path / "p.png").astype(int) - NARROW).max() <= 1
    grey = Image.fromarray(np.full((16, 16), 90, np.uint8))
    grey.save(tmp_path / "g.png", icc_profile=profile)
    assert np.abs(read_image(tmp_path / "g.png").astype(int) - 90).max() <= 1


def test_an_srgb_photograph_stays_as_it_is_to_the_bit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise)


@pytest.mark.parametrize("profile", [b"no profile", b"", profile_of(P3, "P3")[:300]])
def test_a_profile_that_is_damaged_is_left_out_with_a_word(tmp_path, caplog, profile):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise)
    assert ("colour profile of a picture is left out" in caplog.text) == bool(profile)


def test_the_frames_of_an_animation_have_its_profile(tmp_path):
    wide = [Image.fromarray(np.full((16, 16, 3), WIDE, np.uint8)) for _ in range(3)]
    wide[1].putpixel((0, 0), (0, 0, 0))  # or the frames would be one
    profile = profile_of(P3, "Display P3")
    wide[0].save(tmp_path / "a.png", save_all=True, append_images=wide[1:], icc_profile=profile)
    frames = [frame.image.astype(int) for frame in read_frames(tmp_path / "a.png")]
    assert len(frames) == 3
    assert max(np.abs(frame[1:] - NARROW).max() for frame in frames) <= 1


def write_grey(path: Path, width: int, height: int) -> Path:
    Image.new("L", (width, height), 90).save(path, compress_level=1)
    return path


def test_a_picture_of_a_phone_is_read_without_a_warning(tmp_path):
    """Pillow warns beyond 89 million pixels, and refuses twice as many."""
    limit = Image.MAX_IMAGE_PIXELS
    for width, height in ((11000, 9500), (16320, 12240)):
        path = write_grey(tmp_path / "photo.png", width, height)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert picture_size(path) == (height, width)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pixels_beyond_the_old_limit_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(moving_bar(3)).save(tmp_path / "photo.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), moving_bar(3))


def test_a_picture_beyond_our_limit_is_one_sentence(tmp_path):
    path = write_grey(tmp_path / "map.png", 20000, 15001)
    for read in (read_image, picture_size):
        with pytest.raises(InputError, match=rf"^{path} is 20000 x 15001 pixels: .*300 million"):
            read(path)


def heic(path: Path, brand: bytes = b"heic") -> Path:
    """File with the first bytes of a HEIC picture, and a PNG for the stand-in."""
    Image.fromarray(moving_bar(5)).save(path, "png")
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + path.read_bytes())
    return path


@pytest.fixture
def pillow_heif(monkeypatch):
    """A stand-in for the package, which knows files of ``heic``."""
    module = types.ModuleType("pillow_heif")

    class Plugin(PngImagePlugin.PngImageFile):
        format = "STAND-IN"

        def _open(self) -> None:
            self.fp.read(12)
            super()._open()

    def register_heif_opener() -> None:
        Image.register_open("STAND-IN", Plugin, lambda prefix: prefix[4:8] == b"ftyp")

    module.register_heif_opener = register_heif_opener
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    yield
    Image.OPEN.pop("STAND-IN", None)
    Image.ID[:] = [name for name in Image.ID if name != "STAND-IN"]


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "photo.hif", "misnamed.jpg"])
def test_a_heic_picture_is_read_where_its_package_is_installed(tmp_path, pillow_heif, name):
    path = heic(tmp_path / name)
    np.testing.assert_array_equal(read_image(path), moving_bar(5))
    assert picture_size(path) == (48, 64)
    (frame,) = read_frames(path)
    np.testing.assert_array_equal(frame.image, moving_bar(5))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"heix"])
def test_without_it_a_heic_picture_is_one_sentence_that_says_what_to_do(
    tmp_path, monkeypatch, brand
):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not to be imported
    path = heic(tmp_path / "photo.heic", brand)
    with pytest.raises(
        InputError, match=rf"^{path} is a HEIC picture: pip install pillow-heif, or"
    ):
        read_image(path)


def test_a_box_knows_its_sides_and_centre():
    box = Box(10, 20, 40, 80)
    assert (box.width, box.height, box.centre) == (30, 60, (25, 50))
    assert box.scaled(2, 0.5) == Box(20, 10, 80, 40)


@pytest.mark.parametrize(
    ("box", "square"),
    [
        (Box(100, 100, 150, 200), Box(75, 100, 175, 200)),  # grows on both sides
        (Box(0, 100, 50, 200), Box(0, 100, 100, 200)),  # shifted from the border
        (Box(590, 380, 640, 480), Box(540, 380, 640, 480)),
        (Box(20, 0, 620, 470), Box(80, 0, 560, 480)),  # the picture is too small for it
        (Box(30, 40, 70, 80), Box(30, 40, 70, 80)),
    ],
)
def test_a_box_is_widened_to_a_square_within_the_picture(box, square):
    assert box.squared(*BOUNDS) == square


def test_a_square_holds_its_box_wherever_the_picture_allows_it():
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, right = sorted(rng.uniform(0, 640, 2))
        top, bottom = sorted(rng.uniform(0, 480, 2))
        square = Box(left, top, right, bottom).squared(*BOUNDS)
        assert square.width == pytest.approx(square.height)
        assert 0 <= square.left <= square.right <= 640.001
        assert 0 <= square.top <= square.bottom <= 480.001
        if right - left <= 480:
            assert square.left <= left + 1e-9
            assert square.right >= right - 1e-9
            assert square.top <= top + 1e-9
            assert square.bottom >= bottom - 1e-9


def test_a_box_too_large_for_the_picture_is_cut_off():
    assert Box(-10, -10, 700, 100).within(*BOUNDS) == Box(0, 0, 640, 110)


def test_a_picture_that_its_format_cannot_hold_is_one_sentence_and_leaves_nothing(tmp_path):
    wide = np.zeros((1, 70_000, 3), np.uint8)  # a JPEG has 65,535 columns at most
    with pytest.raises(OutputError, match=r"wide\.jpg cannot be written: broken data stream"):
        write_picture_whole(tmp_path / "wide.jpg", wide)
    assert list(tmp_path.iterdir()) == []
