import numpy as np
import pytest
from PIL import Image

from faces.crop import FEATHER, PUBLISHED, FaceCrop, FaceCropConfig
from media.pictures import Box

SIZE = (64, 48)  # height and width of the frames


def smooth_picture(height: int = 150, width: int = 131) -> np.ndarray:
    """Colours that change slowly, so that resampling loses little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 11 + y / 17), np.cos(x / 13 - y / 9), np.sin(y / 15)]
    return (127.5 + 90 * np.stack(waves, axis=-1)).round().astype(np.uint8)


def cut_at(left: int, top: int, width: int = 48, aspect: float = 1.5) -> FaceCrop:
    return FaceCrop(Box(left, top, left + width, top + aspect * width), SIZE)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).max())


PLACES = {
    "inside": (40, 31),
    "over the left and upper border": (-20, -9),
    "over the right and lower border": (110, 120),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize(("aspect", "size"), [(1.5, (72, 48)), (4 / 3, (64, 48)), (0.75, (64, 86))])
def test_a_region_is_what_was_cut_out_in_its_own_proportions(place, aspect, size):
    picture, (left, top) = smooth_picture(), place
    crop = cut_at(left, top, size[1], size[0] / size[1])
    assert crop.region_size == size
    around = np.pad(picture, ((200, 200), (200, 200), (0, 0)), mode="edge")
    expected = around[200 + top :, 200 + left :][: size[0], : size[1]]
    assert difference(crop.region(crop.frame(picture)), expected) <= 8


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("width", [30.7, 48, 80.3])
@pytest.mark.parametrize("aspect", [1, 1.22])
def test_a_frame_is_pasted_where_it_was_cut_out(place, width, aspect):
    picture = smooth_picture()
    crop = cut_at(*place, width, aspect)
    pasted = crop.paste(crop.frame(picture), picture)
    assert difference(pasted, picture[:, :130]) <= 8


def test_a_cut_is_resized_as_the_clips_of_a_data_set_are():
    picture = np.random.default_rng(0).integers(0, 256, (150, 131, 3), np.uint8)
    box = Box(21.3, 30.8, 103.1, 122.4)
    whole = Image.fromarray(picture).resize((48, 64), Image.Resampling.BICUBIC, box=box)
    assert difference(FaceCrop(box, SIZE).frame(picture), np.asarray(whole)) <= 1


def test_the_face_comes_to_where_the_face_crop_has_it():
    face_crop = FaceCropConfig(aspect=1.25, face_x=0.4, face_y=0.45, face_width=0.5)
    crop = FaceCrop.around(Box(60, 50, 80, 70), face_crop, (100, 100))
    assert tuple(crop.box) == pytest.approx((54, 37.5, 94, 87.5))
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[50:70, 60:80] = 255
    rows, columns = (crop.frame(picture)[..., 0] > 127).nonzero()
    assert (columns.min(), columns.max() + 1) == (15, 65)  # 0.5 wide around 0.4
    assert (rows.min(), rows.max() + 1) == (25, 65)  # 0.5 / 1.25 high around 0.45


def test_a_pasted_cut_fades_in_from_its_edges_and_leaves_the_rest_alone():
    picture = np.zeros((150, 130, 3), np.uint8)
    crop = cut_at(40, 30)
    pasted = crop.paste(np.full((*SIZE, 3), 200, np.uint8), picture)[..., 0].astype(int)
    across, down = pasted[66], pasted[:, 64]
    assert (across[:40] == 0).all()
    assert (across[88:] == 0).all()
    fading = round(FEATHER * 48)
    assert (across[40 + fading : 88 - fading] == 200).all()
    assert np.abs(np.diff(across)).max() < 200 / 3
    assert np.abs(np.diff(down)).max() < 200 / 4
    assert 0 < across[40] < 10


def test_at_the_border_of_the_picture_nothing_fades():
    picture = np.zeros((100, 100, 3), np.uint8)
    crop = cut_at(-1, 29)  # a pixel over the left and lower border
    pasted = crop.paste(np.full((*SIZE, 3), 200, np.uint8), picture)
    assert (pasted[50:, :30] == 200).all()
    assert (pasted[:29] == 0).all()
    turned = cut_at(53, -1).paste(np.full((*SIZE, 3), 200, np.uint8), picture)
    assert (turned[:50, 70:] == 200).all()


def test_odd_sides_lose_a_row_or_a_column():
    picture = smooth_picture(91, 77)
    pasted = cut_at(20, 10).paste(np.zeros((*SIZE, 3), np.uint8), picture)
    assert pasted.shape == (90, 76, 3)
    np.testing.assert_array_equal(pasted[-5:], picture[85:90, :76])


def test_a_cut_beside_the_picture_changes_nothing():
    picture = smooth_picture(40, 40)
    np.testing.assert_array_equal(
        cut_at(60, 10).paste(np.zeros((*SIZE, 3), np.uint8), picture), picture
    )


def test_regions_have_even_sides_and_keep_every_pixel():
    crop = FaceCrop.around(Box(10.2, 11.7, 60.1, 61.6), PUBLISHED, (256, 256))
    assert crop.region_size == (312, 256)
    assert all(side % 2 == 0 for side in cut_at(0, 0, 57, 0.83).region_size)


@pytest.mark.parametrize("aspect", [1, 1.22])
def test_a_crop_puts_the_face_where_the_face_crop_says(aspect):
    face_crop = FaceCropConfig(aspect=aspect, face_x=0.48, face_y=0.55, face_width=0.6)
    face = Box(200, 150, 300, 250)
    crop = face_crop.crop_around(face)
    assert crop.height == pytest.approx(aspect * crop.width)
    x, y = face.centre
    assert (x - crop.left) / crop.width == pytest.approx(0.48)
    assert (y - crop.top) / crop.height == pytest.approx(0.55)
    assert face.width / crop.width == pytest.approx(0.6)
