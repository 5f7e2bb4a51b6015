import time

import numpy as np
import torch
from PIL import Image

from datasets.clips import open_clip
from datasets.pair_list import read_pair_list
from evaluation.self_reenactment import Renderer, clip_unit, pair_units
from evaluation.work_units import UnitFrame
from inference.streams import Streams


def test_frames_have_names_of_their_own_within_a_clip(tmp_path):
    """Two rows may name the same frames and count relative motion from others."""
    folder = tmp_path / "p#a"
    folder.mkdir()
    for number in range(3):
        picture = np.full((8, 8, 3), number, np.uint8)
        Image.fromarray(picture).save(folder / f"{number:07d}.png")
    rows = ["p#a/0.png,p#a/1.png,0", "p#a/0.png,p#a/1.png,2", "p#a/0.png,p#a/2.png,0"]
    (tmp_path / "pairs.csv").write_text("source,driving,best_frame\n" + "\n".join(rows))
    pairs = read_pair_list(tmp_path / "pairs.csv", tmp_path).pairs
    (unit,) = pair_units(pairs, lambda picture: picture)
    items = list(unit.read())
    assert all(isinstance(item, UnitFrame) for item in items)
    assert [item.frame for item in items] == [
        "p#a-0--p#a-1",
        "p#a-0--p#a-1-2",
        "0000002 from 0000000",
    ]
    assert [int(item.real[0, 0, 0]) for item in items] == [1, 1, 2]


def test_landmarks_come_with_the_driving_frames_of_clips_and_of_pairs(tmp_path):
    """Landmarks of a pair are those of its driving frame, by its place in the clip."""
    folder = tmp_path / "p#a"
    for each in (folder, tmp_path / "p#b"):
        each.mkdir()
        for number in (5, 7, 9):
            Image.new("RGB", (16, 8)).save(each / f"{number:07d}.png")
    (tmp_path / "landmarks").mkdir()
    file = tmp_path / "landmarks" / "p#a.npy"
    found = np.random.default_rng(0).uniform(0, 8, (3, 68, 2)).astype(np.float16)
    np.save(file, found)

    def halved(picture: np.ndarray) -> np.ndarray:
        return picture[::2, ::2]

    clip = clip_unit(open_clip(folder), halved, file.parent)
    for number, row in enumerate(clip.read()):
        np.testing.assert_allclose(row.landmarks, found[number] / 2, rtol=1e-6)
    (tmp_path / "pairs.csv").write_text(
        "source,driving\np#b/5.png,p#a/9.png\np#a/9.png,p#a/7.png\n"
    )
    pairs = read_pair_list(tmp_path / "pairs.csv", tmp_path).pairs
    (unit,) = pair_units(pairs, halved, file.parent)
    for number, row in zip((2, 1), unit.read(), strict=True):
        np.testing.assert_allclose(row.landmarks, found[number] / 2, rtol=1e-6)
    for of in (clip, unit):
        assert file in of.files  # so that other landmarks are not taken for these
    assert all(row.landmarks is None for row in clip_unit(open_clip(folder), halved).read())


class CountingAnimator:
    """Stand-in for an animator that counts the sources, of one value each, and returns it."""

    num_encoded = 0

    def encode(self, *sources: np.ndarray) -> float:
        time.sleep(0.01)  # so that other threads come in between
        self.num_encoded += len(sources)
        return float(sources[0][0, 0, 0])

    def detect(self, frames: list[np.ndarray]) -> torch.Tensor:
        return torch.zeros(len(frames), 3, 2, 2)

    def predict(self, encoded: float, driving: torch.Tensor) -> torch.Tensor:
        result = driving + encoded / 255
        result[-1, 0, 0, 0] = np.nan
        return result


def test_a_source_is_encoded_once_for_all_batches_and_what_is_not_finite_is_told():
    animator = CountingAnimator()
    render = Renderer(animator)
    one, other, driving = (np.full((n, 2, 2, 3), n, np.uint8) for n in (1, 2, 2))
    for source, num_encoded in ((one, 1), (one.copy(), 1), (other, 3), (one, 4)):
        generated, finite = render(source, driving)
        assert (generated[0] == source[0]).all()
        assert finite.tolist() == [True, False]
        assert animator.num_encoded == num_encoded


def test_threads_share_a_source_and_never_take_that_of_another():
    torch.set_num_threads(4)
    streams, driving = Streams(torch.device("cpu")), np.zeros((2, 2, 2, 3), np.uint8)

    def results(render: Renderer, values: list[int]) -> list[int]:
        sources = (np.full((1, 2, 2, 3), value, np.uint8) for value in values)
        rendered = streams.map(lambda source: render(source, driving), sources)
        return [int(generated[0, 0, 0, 0]) for generated, _ in rendered]

    animator = CountingAnimator()
    assert results(Renderer(animator), [7] * 12) == [7] * 12
    assert animator.num_encoded == 1
    values = [3, 3, 5, 3, 9, 9, 9, 3, 5, 5, 9, 3]
    assert results(Renderer(animator), values) == values
