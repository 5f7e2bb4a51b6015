"""Faces are cropped as the training frames were, and the crop is undone."""

import json
import logging
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from animate import AnimationOptions, Animator, CropPolicy, animate_file, animate_frames
from animation import best_frame
from datasets.preprocessing.cutting import ClipFormat, Cut, Output, cut_clips
from datasets.preprocessing.measure_face_crop import write_face_crop
from faces.crop import PUBLISHED, FaceCrop, FaceCropConfig
from faces.main_face import FacesOfVideo, main_face
from media.pictures import Box
from media.video import VideoWriter, probe, read_image
from tests.animating import Words, call, complaint, images, without, write_checkpoint
from tests.tiny import TINY, tiny_model

SIZE = 160  # of the network's frames: about that of the cut, so that little is lost
FLATTENED = FaceCropConfig(aspect=1.25, face_x=0.5, face_y=0.48, face_width=0.6)


def astronaut(left: int = 0, top: int = 0) -> np.ndarray:
    """Her picture, moved to the right and down: (512, 512, 3)."""
    return np.roll(data.astronaut(), (top, left), axis=(0, 1))


pytestmark = pytest.mark.usefixtures("equal_pictures_are_searched_once")


@pytest.fixture
def files(tmp_path) -> Words:
    """The options of a command that works: she moves to the right and back."""
    crop = FLATTENED.model_dump(mode="json")
    write_checkpoint(tmp_path / "weights.safetensors", TINY, size=SIZE, face_crop=crop)
    Image.fromarray(astronaut(left=40)).save(tmp_path / "source.png")
    with VideoWriter(tmp_path / "driving.mp4", Fraction(25)) as writer:
        for left in (-6, 0, 6, 0):
            writer.write(astronaut(left, top=30))
    return {
        "--checkpoint": str(tmp_path),
        "--source": str(tmp_path / "source.png"),
        "--driving": str(tmp_path / "driving.mp4"),
        "--output": str(tmp_path / "result.mp4"),
        "--device": "cpu",
        "--precision": "fp32",
        "--fit": "face",
    }


def crop_of(path: str | None) -> FaceCrop:
    face = main_face(read_image(str(path)))
    assert face is not None
    return FaceCrop.around(face, FLATTENED, (SIZE, SIZE))


@pytest.fixture
def copying(monkeypatch) -> list[np.ndarray]:
    """A network that gives back its source; it notes the driving frames that it is given."""
    given = []
    detect = Animator.detect

    def copies(animator, source, driving, **options):
        for keypoints in driving:
            yield from [source] * len(keypoints.positions)

    monkeypatch.setattr(Animator, "animate_keypoints", copies)
    monkeypatch.setattr(
        Animator,
        "detect",
        lambda animator, frames: given.extend(frames) or detect(animator, frames),
    )
    return given


# What comes out


def test_the_result_has_the_proportions_of_the_cut(files):
    assert call(files) == 0
    result = probe(str(files["--output"]))
    assert (result.size, result.num_frames) == ((200, SIZE), 4)


def test_a_network_that_copies_its_source_gives_back_the_part_that_was_cut_out(files, copying):
    assert call(files | {"--output": f"{files['--checkpoint']}/frames/"}) == 0
    box = crop_of(files["--source"]).box
    source = Image.fromarray(read_image(str(files["--source"])))
    part = source.resize((SIZE, 200), Image.Resampling.BICUBIC, box=box)
    for result in images(Path(str(files["--checkpoint"])) / "frames"):
        assert np.abs(result.astype(int) - np.asarray(part)).mean() < 2


def test_a_network_that_copies_its_source_is_pasted_back_to_the_source_picture(files, copying):
    output = Path(str(files["--checkpoint"])) / "frames"
    assert call(files | {"--output": f"{output}/", "--paste": None}) == 0
    source = read_image(str(files["--source"]))
    results = images(output)
    assert len(results) == 4
    for result in results:
        assert result.shape == source.shape
        difference = np.abs(result.astype(int) - source)
        assert difference.mean() < 0.3
        left, top, right, bottom = map(int, crop_of(files["--source"]).box)
        assert difference[top:bottom, left:right].mean() < 2.5
        difference[top : bottom + 1, left : right + 1] = 0
        assert (difference == 0).all()


def test_a_pasted_video_has_the_size_of_the_picture_with_even_sides(files, tmp_path):
    Image.fromarray(astronaut()[:401, :331]).save(tmp_path / "source.png")
    assert call(files | {"--paste": None}) == 0
    assert probe(str(files["--output"])).size == (400, 330)


def test_all_driving_frames_have_one_cut(files, copying):
    """She moves in the frames as she does in the video."""
    assert call(files) == 0
    shrink = SIZE / crop_of_video(files).width
    frames = [frame.astype(int) for frame in copying]
    moved = round(6 * shrink)
    for one, other in ((0, 1), (1, 2)):
        kept = np.abs(frames[one][:, 20:-20] - frames[other][:, 20:-20]).mean()
        followed = frames[one][:, 20:-20] - frames[other][:, 20 + moved : SIZE - 20 + moved]
        assert np.abs(followed).mean() < kept / 2


def crop_of_video(files: Words) -> Box:
    face = main_face(images(Path(str(files["--driving"])))[1])
    assert face is not None
    return FLATTENED.crop_around(face)


def test_the_face_is_at_the_same_place_in_source_and_driving_frames(files, copying, tmp_path):
    assert call(files | {"--output": f"{tmp_path}/frames/", "--panels": None}) == 0
    panels = images(tmp_path / "frames")[1]
    assert panels.shape == (200, 3 * SIZE, 3)
    source, driving, result = np.split(panels, 3, axis=1)
    np.testing.assert_array_equal(source, result)
    for part in (source, driving):
        face = main_face(np.ascontiguousarray(part))
        assert face is not None
        x, y = face.centre
        assert abs(x / SIZE - FLATTENED.face_x) < 0.05
        assert abs(y / 200 - FLATTENED.face_y) < 0.05
        assert abs(face.width / SIZE - FLATTENED.face_width) < 0.08


def test_a_gif_has_the_cut_too(files, tmp_path):
    assert call(files | {"--output": str(tmp_path / "result.gif")}) == 0
    assert [image.shape for image in images(tmp_path / "result.gif")] == [(200, SIZE, 3)] * 4


def test_a_picture_may_drive_itself(files):
    assert call(files | {"--driving": files["--source"]}) == 0
    assert probe(str(files["--output"])).num_frames == 1


def test_the_best_frame_is_looked_for_in_the_cut_frames(files, monkeypatch):
    seen = []

    def landmarks(frames):
        seen.extend(frames)
        shape = np.random.default_rng(0).normal(size=(68, 2))
        return np.stack([shape * [1, 1 + frame.mean() / 255] for frame in frames])

    monkeypatch.setattr(best_frame, "landmark_detector", lambda device: landmarks)
    assert call(files | {"--best-frame": "auto"}) == 0
    driving = Path(str(files["--driving"]))
    face = FacesOfVideo(driving).main()
    assert face is not None
    crop = FaceCrop.around(face, FLATTENED, (SIZE, SIZE))
    np.testing.assert_array_equal(seen[1:], [crop.frame(image) for image in images(driving)])


def test_relative_motion_starts_from_a_frame_that_is_cropped_like_the_others(files, copying):
    assert call(files | {"--best-frame": "2", "--batch-size": "2"}) == 0
    initial, frames = copying[:2], copying[2:]  # the former in its batch
    assert len(frames) == 4
    np.testing.assert_array_equal(initial, frames[2:])


@pytest.mark.parametrize(
    "fit", [{}, {"--fit": "face"}, {"--fit": "crop"}, {"--paste": None}], ids=str
)
def test_a_list_of_ordinary_pictures_is_animated_as_each_is_alone(files, tmp_path, fit):
    del files["--fit"]
    alone = files | fit | {"--output": str(tmp_path / "alone") + "/"}
    assert call(alone) == 0
    (tmp_path / "pairs.csv").write_text(
        "source,driving\nsource.png,driving.mp4\nsource.png,source.png\n"
    )
    of_list = {"pairs": str(tmp_path / "pairs.csv")} | without(alone, "--source", "--driving")
    of_list |= {"--output": str(tmp_path / "list")}
    assert call(of_list) == 0
    expected = images(tmp_path / "alone")
    found = images(tmp_path / "list" / "generated" / "source--driving")
    np.testing.assert_array_equal(found, expected)
    still = read_image(tmp_path / "list" / "generated" / "source--source.png")
    assert still.shape == expected[0].shape
    for kind in ("source", "driving"):
        shown = read_image(tmp_path / "list" / kind / "source--source.png")
        assert shown.shape == ((SIZE, SIZE, 3) if "crop" in fit.values() else (200, SIZE, 3))


def test_frames_of_a_protocol_are_not_cut(files, tmp_path, capsys):
    del files["--fit"]
    for name in ("id1#a.png", "id2#b.png"):
        Image.fromarray(astronaut()).save(tmp_path / name)
    (tmp_path / "pairs.csv").write_text("source,driving\nid1#a.png,id2#b.png\n")
    of_list = {"pairs": str(tmp_path / "pairs.csv")} | without(files, "--source", "--driving")
    of_list |= {"--output": str(tmp_path / "list")}
    for fit in ({"--fit": "face"}, {"--paste": None}):
        assert call(of_list | fit) == 2
        assert "as their protocol prescribes: leave out --fit face" in capsys.readouterr().err
    assert call(of_list) == 0
    driving = read_image(next((tmp_path / "list" / "driving").iterdir()))
    whole = Image.fromarray(astronaut()).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    assert np.abs(driving.astype(int) - np.asarray(whole)).mean() < 1


def faded_in(path: Path, size: int) -> Path:
    """Three black frames, one that is hardly to be seen, and four with her."""
    with VideoWriter(path, Fraction(25)) as writer:
        for left, light in zip((0, 0, 0, 0, -6, 0, 6, 0), (0, 0, 0, 0.2, 1, 1, 1, 1), strict=True):
            face = (astronaut(left, top=30)[40:296, 110:366] * light).astype(np.uint8)
            writer.write(np.asarray(Image.fromarray(face).resize((size, size))))
    return path


@pytest.mark.parametrize(("size", "fit"), [(256, "face"), (SIZE, None), (256, "crop")])
def test_motion_is_relative_to_the_first_frame_that_shows_the_face(
    files, tmp_path, caplog, size, fit
):
    files["--driving"] = str(faded_in(tmp_path / "faded.mp4", size))
    del files["--fit"]
    files |= {"--fit": fit} if fit else {}
    with caplog.at_level(logging.INFO):
        assert call(files | {"--output": str(tmp_path / "by-itself") + "/"}) == 0
    assert "Motion is relative to frame 4, the first that shows the face" in caplog.text
    assert call(files | {"--output": str(tmp_path / "named") + "/", "--best-frame": "4"}) == 0
    motion = without(files, "--source", "--output")
    assert call(motion | {"--save-motion": str(tmp_path / "m.npz")}) == 0
    by_motion = {"--driving": str(tmp_path / "m.npz"), "--output": str(tmp_path / "motion") + "/"}
    assert call(files | by_motion) == 0
    for other in ("named", "motion"):
        np.testing.assert_array_equal(images(tmp_path / other), images(tmp_path / "by-itself"))


def test_motion_is_relative_to_the_first_frame_where_that_shows_the_face(files, caplog):
    with caplog.at_level(logging.INFO):
        assert call(files) == 0
    assert "Motion is relative" not in caplog.text


# Where no fit is chosen


@pytest.fixture
def unfitted(files) -> Words:
    return without(files, "--fit")


def test_faces_are_cut_by_themselves(files, unfitted, tmp_path):
    for name, options in (("chosen", files), ("by-itself", unfitted)):
        assert call(options | {"--output": f"{tmp_path}/{name}/"}) == 0
    np.testing.assert_array_equal(images(tmp_path / "by-itself"), images(tmp_path / "chosen"))


def test_pictures_of_the_networks_size_stay_as_they_are(unfitted, copying, tmp_path):
    small = Image.fromarray(astronaut()).resize((SIZE, SIZE))
    small.save(tmp_path / "small.png")
    output = tmp_path / "out"
    same = unfitted | {"--output": f"{output}/", "--source": f"{tmp_path}/small.png"}
    assert call(same | {"--driving": f"{tmp_path}/small.png"}) == 0
    np.testing.assert_array_equal(images(output), [np.asarray(small)])
    np.testing.assert_array_equal(copying, [np.asarray(small)])
    copying.clear()
    assert call(same) == 0  # each by itself: the driving frames are larger
    np.testing.assert_array_equal(images(output), [np.asarray(small)] * 4)
    driving = Path(str(unfitted["--driving"]))
    face = FacesOfVideo(driving).main()
    assert face is not None
    crop = FaceCrop.around(face, FLATTENED, (SIZE, SIZE))
    np.testing.assert_array_equal(copying, [crop.frame(image) for image in images(driving)])


def test_without_a_face_a_picture_is_taken_as_a_whole(unfitted, copying, tmp_path, caplog):
    blank = np.full((300, 200, 3), 90, np.uint8)
    Image.fromarray(blank).save(tmp_path / "blank.png")
    with caplog.at_level("INFO"):
        assert (
            call(unfitted | {"--source": f"{tmp_path}/blank.png", "--output": f"{tmp_path}/a/"})
            == 0
        )
    assert f"No face was found in {tmp_path}/blank.png: " in caplog.text
    assert "Pictures of 200 x 300 pixels are cropped to their centre" in caplog.text
    assert [image.shape for image in images(tmp_path / "a")] == [(SIZE, SIZE, 3)] * 4


def test_where_it_is_not_known_how_to_cut_the_centre_is_taken(unfitted, tmp_path, copying):
    write_checkpoint(tmp_path / "weights.safetensors", TINY, size=SIZE)
    assert call(unfitted) == 0
    assert probe(str(unfitted["--output"])).size == (SIZE, SIZE)
    whole = Image.fromarray(images(Path(str(unfitted["--driving"])))[0]).resize((SIZE, SIZE), 3)
    np.testing.assert_array_equal(copying[0], np.asarray(whole))


@pytest.mark.parametrize("fit", [{}, {"--fit": "face"}])
def test_a_config_may_say_how_to_cut(files, unfitted, tmp_path, fit):
    assert call(files | {"--output": f"{tmp_path}/stated/"}) == 0
    write_checkpoint(tmp_path / "weights.safetensors", TINY, size=SIZE)
    config = {"model": TINY.model_dump(mode="json"), "data": {"size": SIZE}}
    config["data"] |= {"face_crop": FLATTENED.model_dump(mode="json"), "root": "data"}
    settings = {"name": "tiny", "loss": {}, "train": {}, **config}
    (tmp_path / "config.yaml").write_text(json.dumps(settings))  # YAML too
    named = {"--config": f"{tmp_path}/config.yaml", "--output": f"{tmp_path}/named/"}
    assert call(unfitted | fit | named) == 0
    np.testing.assert_array_equal(images(tmp_path / "named"), images(tmp_path / "stated"))


def test_to_paste_is_to_cut(files, unfitted, tmp_path):
    for name, options in (("chosen", files), ("by-itself", unfitted)):
        assert call(options | {"--output": f"{tmp_path}/{name}/", "--paste": None}) == 0
    np.testing.assert_array_equal(images(tmp_path / "by-itself"), images(tmp_path / "chosen"))
    assert images(tmp_path / "chosen")[0].shape == (512, 512, 3)


def test_only_the_part_of_the_video_that_drives_decides_where_its_face_is(files, copying, tmp_path):
    """Before, there was another place; she comes late."""
    with VideoWriter(tmp_path / "driving.mp4", Fraction(25)) as writer:
        for left in (-100, -100, -100, 60):
            writer.write(astronaut(left))
    assert call(files | {"--frames": "3:"}) == 0
    face = main_face(images(tmp_path / "driving.mp4")[3])
    assert face is not None
    crop = FaceCrop.around(face, FLATTENED, (SIZE, SIZE))
    np.testing.assert_array_equal(copying, [crop.frame(images(tmp_path / "driving.mp4")[3])])


# Frames in memory


@pytest.mark.parametrize("paste", [False, True])
def test_frames_in_memory_are_cut_as_those_of_files(unfitted, tmp_path, paste):
    more = {"--paste": None} if paste else {}
    assert call(unfitted | more | {"--output": f"{tmp_path}/files/"}) == 0
    animator = Animator.from_checkpoint(tmp_path, device="cpu", precision="fp32")
    source, frames = read_image(str(unfitted["--source"])), images(tmp_path / "driving.mp4")
    expected = images(tmp_path / "files")
    for given in (frames, np.stack(frames), iter(frames)):
        found = list(animate_frames(animator, source, given, paste=paste))
        assert len(found) == len(frames)
        np.testing.assert_array_equal(found, expected)
    assert expected[0].shape == ((512, 512, 3) if paste else (200, SIZE, 3))


def test_frames_in_memory_of_the_networks_size_are_not_cut(unfitted, tmp_path):
    animator = Animator.from_checkpoint(tmp_path, device="cpu", precision="fp32")
    small = np.asarray(Image.fromarray(astronaut()).resize((SIZE, SIZE)))
    frames = [np.roll(small, shift, axis=1) for shift in (0, 3)]
    found = list(animate_frames(animator, small, frames))
    np.testing.assert_array_equal(found, list(animator.animate(small, frames)))
    assert list(animate_frames(animator, small, [])) == []


# The crop of training data


@pytest.mark.parametrize("box", [Box(155, 30, 297, 203), Box(150, 20, 300, 180)])
def test_pictures_are_cut_as_the_frames_of_a_prepared_data_set_were(tmp_path, box):
    """Published boxes around a place, cut out and flattened, against the cut of the whole picture.

    Several, because what the cascade finds in a single frame is a tenth too large or too small.
    """
    with VideoWriter(tmp_path / "raw.mp4", Fraction(25)) as writer:
        writer.write(data.astronaut())
    for folder in ("work", "root"):
        (tmp_path / folder).mkdir()
    cuts = [
        Cut(f"id1#{x}#{y}", "train", 0, 1, box.shifted(x, y).scaled(1 / 512, 1 / 512))
        for x, y in product((-8, -4, 0, 4, 8), repeat=2)
    ]
    output = Output(tmp_path / "root", tmp_path / "work")
    outcomes = cut_clips(tmp_path / "raw.mp4", cuts, ClipFormat("published", SIZE, "png"), output)
    assert [outcome.reason for outcome in outcomes] == [None] * len(cuts)
    face_crop, face = write_face_crop(tmp_path / "root"), main_face(data.astronaut())
    assert face_crop is not None
    assert face is not None
    found = face_crop.crop_around(face)
    assert found.height / found.width == pytest.approx(box.height / box.width, rel=0.01)
    assert np.abs(np.subtract(found, box)).max() < 0.05 * box.height


# Errors


@pytest.mark.parametrize("which", ["source", "driving"])
def test_without_a_face_another_fit_is_named(files, tmp_path, capsys, *, which):
    Image.fromarray(np.full((300, 200, 3), 90, np.uint8)).save(tmp_path / "blank.png")
    before = set(tmp_path.iterdir())
    assert call(files | {f"--{which}": f"{tmp_path}/blank.png"}) == 2
    found = complaint(capsys)
    assert "No face was found in" in found
    assert "blank.png" in found
    assert "use --fit crop, pad or squash" in found
    assert set(tmp_path.iterdir()) == before


def test_to_paste_without_a_face_is_refused_without_advice_that_is_refused_too(
    files, tmp_path, capsys
):
    Image.fromarray(np.full((300, 200, 3), 90, np.uint8)).save(tmp_path / "blank.png")
    assert call(files | {"--paste": None, "--source": f"{tmp_path}/blank.png"}) == 2
    assert complaint(capsys).endswith("blank.png, which --paste needs: leave it out.")


def test_a_checkpoint_that_does_not_state_the_crop_is_refused(files, tmp_path, capsys):
    write_checkpoint(tmp_path / "weights.safetensors", TINY, size=SIZE)
    assert call(files) == 2
    assert "does not state how its training frames were cropped" in complaint(capsys)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"--fit": "crop"}, "leave out --fit crop"), ({"--panels": None}, "without --panels")],
)
def test_what_does_not_go_with_paste_is_refused(files, capsys, change, says):
    assert call(files | {"--paste": None} | change) == 2
    assert says in complaint(capsys)


def test_from_python_a_policy_is_given(files, copying, tmp_path):
    animator = Animator(tiny_model(), (SIZE, SIZE), device="cpu", precision="fp32")
    source, driving = Path(str(files["--source"])), Path(str(files["--driving"]))
    policy = CropPolicy(PUBLISHED)
    animate_file(animator, source, driving, f"{tmp_path}/a/", AnimationOptions(), policy=policy)
    assert images(tmp_path / "a")[0].shape == (196, SIZE, 3)
