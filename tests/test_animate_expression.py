"""``animate.py`` with a network that finds landmarks: heads and expressions, each by its strength.

Its landmark detector is told what it finds: the brightness of a picture is the number of a face.
"""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from animate import Animator
from animation.animate_file import initial_keypoints
from animation.driving import open_driving
from animation.head_motion import RIGID
from animation.motion_transfer import MotionStrength
from inference.precision import Inference
from modules.face_landmarks import measure_expressions
from modules.landmark_detector import LandmarkDetector
from modules.mcnet import ExpressionGain
from tests.animating import SIZE, call, complaint, write_checkpoint
from tests.drawn_landmarks import drawn_face, similarity
from tests.tiny import TINY_LANDMARKS, tiny_model
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("equal_pictures_are_searched_once")

STEP = 20  # of brightness, from face to face
SOURCE, OPEN, NEUTRAL, BLINK, TURNED = range(5)
FACES = torch.cat(
    [
        similarity(drawn_face(), 0.5, 0, 0, 0),
        similarity(drawn_face(mouth=0.3), 0.5, 0, 0, 0),
        similarity(drawn_face(), 0.5, 0, 0, 0),
        similarity(drawn_face(eyes=0.0), 0.5, 0, 0, 0),
        similarity(drawn_face(), 0.5, 0.3, 0, 0),
    ]
).float()


def picture(face: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), STEP * face, np.uint8)


@pytest.fixture(autouse=True)
def moved(monkeypatch) -> list[Tensor]:
    """Landmarks that the source is moved to, batch after batch."""
    submit, batches = Animator.submit, []

    def noted(self, encoded, driving):
        batches.append(driving.landmarks)
        return submit(self, encoded, driving)

    def find(self, image: Tensor) -> Tensor:
        return FACES[(image.mean(dim=(1, 2, 3)) * 255 / STEP).round().long()]

    monkeypatch.setattr(Animator, "submit", noted)
    monkeypatch.setattr(LandmarkDetector, "forward", find)
    return batches


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(tiny_model(TINY_LANDMARKS), (SIZE, SIZE), device="cpu", precision="fp32")


@pytest.fixture
def files(tmp_path, monkeypatch) -> dict[str, str]:
    """The options of a command that works, with a video that begins with an open mouth."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "weights.safetensors", TINY_LANDMARKS)
    Image.fromarray(picture(SOURCE)).save("source.png")
    Path("driving").mkdir()
    for number, face in enumerate((OPEN, BLINK, NEUTRAL, TURNED, OPEN)):
        Image.fromarray(picture(face)).save(f"driving/{number:07d}.png")
    return {
        "--checkpoint": "weights.safetensors",
        "--source": "source.png",
        "--driving": "driving",
        "--output": "out/",
        "--device": "cpu",
        "--precision": "fp32",
        "--batch-size": "2",
    }


def openings(moved: list[Tensor]) -> tuple[list[float], list[float]]:
    """Openings of mouth and eyes, frame by frame."""
    found = measure_expressions(torch.cat(moved))
    return tuple([round(value, 3) + 0.0 for value in each.tolist()] for each in found[::2])


FOLLOWED = [0.3, 0, 0, 0, 0.3], [0.09, 0, 0.09, 0.09, 0.09]


def test_a_video_that_begins_with_an_open_mouth_is_relative_to_its_neutral_face(
    files, moved, caplog
):
    with caplog.at_level(logging.INFO):
        assert call(files) == 0
    assert "Motion is relative to frame 2, whose face is the most neutral." in caplog.messages
    assert openings(moved) == FOLLOWED
    assert len(list(Path("out").iterdir())) == 5
    eyes = torch.cat(moved)[:, 45] - torch.cat(moved)[:, 36]
    angles = torch.atan2(eyes[:, 1], eyes[:, 0])
    torch.testing.assert_close(angles, torch.tensor([0, 0, 0, 0.3, 0]), rtol=0, atol=1e-4)


def test_a_frame_that_is_named_is_counted_from(files, caplog, animator):
    with caplog.at_level(logging.INFO):
        assert call(files | {"--best-frame": "0"}) == 0
    assert not any("most neutral" in message for message in caplog.messages)
    driving = open_driving(animator, Path("driving"))
    initial = initial_keypoints(animator, picture(SOURCE), driving, best_frame=1, batch_size=2)
    assert torch.equal(initial.landmarks[0], FACES[BLINK])


def test_a_motion_in_a_file_moves_as_its_video_does(files, moved):
    assert call(files | {"--save-motion": "m.npz"}) == 0
    expected = torch.cat(moved)
    moved.clear()
    assert call(files | {"--driving": "m.npz", "--output": "again/"}) == 0
    torch.testing.assert_close(torch.cat(moved), expected)


def test_faces_are_detected_once_though_the_video_is_gone_through_twice(files, monkeypatch):
    detect, seen = Animator.detect, []

    def counted(self, frames):
        seen.append(len(frames))
        return detect(self, frames)

    monkeypatch.setattr(Animator, "detect", counted)
    assert call(files | {"--panels": None}) == 0
    assert sum(seen) == 5 + 1  # the driving frames and the source
    with Image.open("out/0000003.png") as panels:
        np.testing.assert_array_equal(np.asarray(panels)[:, SIZE : 2 * SIZE], picture(TURNED))


@pytest.mark.parametrize(
    ("options", "mouth", "eyes"),
    [
        ({"--expression": "2"}, [0.6, 0, 0, 0, 0.6], FOLLOWED[1]),
        ({"--expression": "0"}, [0] * 5, [0.09] * 5),
        ({"--only": "mouth"}, FOLLOWED[0], [0.09] * 5),
        ({"--only": "eyes, brows"}, [0] * 5, FOLLOWED[1]),
        ({"--head": "0"}, *FOLLOWED),
    ],
)
def test_strengths_and_parts_can_be_chosen(files, moved, options, mouth, eyes):
    assert call(files | options) == 0
    assert openings(moved) == (mouth, eyes)
    turned = torch.cat(moved)[3, 45, 1] - torch.cat(moved)[3, 36, 1]
    assert (turned.abs() > 0.1) == ("--head" not in options)


def test_a_list_of_pairs_takes_the_same_options(files, moved):
    for clip, faces in (("id1#a", (SOURCE,)), ("id2#b", (OPEN, BLINK, NEUTRAL))):
        folder = Path("root/test") / clip
        folder.mkdir(parents=True)
        for number, face in enumerate(faces):
            Image.fromarray(picture(face)).save(folder / f"{number:07d}.png")
    Path("pairs.csv").write_text("source,driving\nid1#a,id2#b\n")
    shared = {"pairs": "pairs.csv", "--root": "root", "--output": "pairs"}
    shared |= {name: files[name] for name in ("--checkpoint", "--device", "--precision")}
    assert call(shared | {"--expression": "0.5", "--only": "mouth"}) == 0
    assert openings(moved) == ([0.15, 0, 0], [0.09] * 3)
    assert call(shared) == 2  # the folder holds results of another expression
    moved.clear()
    Path("pairs.csv").write_text(
        "source,driving,best_frame\n"
        "id1#a/0000000.png,id2#b/0000000.png,2\nid1#a/0000000.png,id2#b/0000001.png,2\n"
    )
    assert call(shared | {"--output": "stills", "--expression": "2"}) == 0
    assert openings(moved) == ([0.6, 0], [0.09, 0])


def test_strengths_are_refused_where_a_protocol_prescribes_absolute_motion(files, capsys):
    folder = Path("root/test/id1#a")
    folder.mkdir(parents=True)
    Image.fromarray(picture(SOURCE)).save(folder / "0000000.png")
    Path("pairs.csv").write_text("source,driving\nid1#a,id1#a\n")
    shared = {"pairs": "pairs.csv", "--root": "root", "--output": "pairs", "--head": "2"}
    shared |= {name: files[name] for name in ("--checkpoint", "--device", "--precision")}
    assert call(shared) == 2
    assert "absolute motion for 1 of the pairs" in capsys.readouterr().err
    assert not Path("pairs").exists()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_stream_takes_the_neutral_face_so_far_and_its_head_does_not_jump(
    animator, moved, batch_size
):
    frames = [picture(face) for face in (BLINK, TURNED, NEUTRAL, BLINK, OPEN)]
    results = animator.animate(picture(SOURCE), iter(frames), batch_size=batch_size)
    assert len(list(results)) == 5
    assert openings(moved) == ([0, 0, 0, 0, 0.3], [0, 0.09, 0.09, 0, 0.09])
    head = torch.cat(moved)[:, RIGID]
    torch.testing.assert_close(head[0], FACES[SOURCE, RIGID], rtol=0, atol=1e-4)
    torch.testing.assert_close(head[2:], head[:1].expand(3, -1, -1), rtol=0, atol=1e-4)


def test_a_stream_can_be_given_strengths(animator, moved):
    frames = [picture(face) for face in (NEUTRAL, OPEN)]
    list(animator.animate(picture(SOURCE), frames, strength=MotionStrength(0, 2, ("mouth",))))
    assert openings(moved)[0] == [0, 0.6]
    with pytest.raises(InputError, match="--head is a strength"):
        next(animator.animate(picture(SOURCE), frames, strength=MotionStrength(head=3)))


def test_absolute_motion_takes_landmarks_as_they_are(files, moved):
    assert call(files | {"--motion": "absolute"}) == 0
    expected = FACES[[OPEN, BLINK, NEUTRAL, TURNED, OPEN]]
    torch.testing.assert_close(torch.cat(moved), expected)


@pytest.mark.parametrize("motion", ["absolute", "relative"])
def test_a_network_that_falls_short_is_given_more(monkeypatch, motion):
    """As its configuration says, whether it renders pictures or tensors."""
    config = TINY_LANDMARKS.model_copy(
        update={"expression_gain": ExpressionGain(mouth=1.5, eyes=2.0)}
    )
    animator = Animator(tiny_model(config), (SIZE, SIZE), device="cpu", precision="fp32")
    render, given = Inference.render, []

    def noted(self, encoded, driving):
        given.append(driving.landmarks)
        return render(self, encoded, driving)

    monkeypatch.setattr(Inference, "render", noted)
    frames = [picture(face) for face in (NEUTRAL, OPEN, BLINK)]
    list(animator.animate(picture(SOURCE), frames, motion=motion))
    assert openings(given) == ([0, 0.45, 0], [0.09, 0.09, 0])
    given.clear()
    encoded = animator.encode(picture(SOURCE))
    animator.predict(encoded, animator.detect([picture(OPEN)]))
    assert openings(given) == ([0.45], [0.09])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--only": "teeth"}, "found 'teeth'"),
        ({"--only": ""}, "found ''"),
        ({"--head": "2.5"}, "--head is a strength from 0 to 2: found 2.5"),
        ({"--expression": "-1"}, "--expression is a strength from 0 to 2: found -1"),
        ({"--motion": "absolute", "--head": "0.5"}, "need relative motion"),
        ({"--motion": "absolute", "--only": "mouth"}, "need relative motion"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(files, capsys, *, change, says):
    assert call(files | change) == 2
    assert says in complaint(capsys)
    assert not Path("out").exists()


def test_a_network_without_landmarks_moves_heads_alone(files, capsys):
    write_checkpoint(Path("plain.safetensors"))
    plain = files | {"--checkpoint": "plain.safetensors"}
    assert call(plain | {"--head": "0.5"}) == 0
    for options in ({"--expression": "0.5"}, {"--only": "mouth"}):
        assert call(plain | options | {"--output": "other/"}) == 2
        assert "finds facial landmarks" in capsys.readouterr().err
        assert not Path("other").exists()
