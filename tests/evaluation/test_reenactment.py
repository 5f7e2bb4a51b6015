import numpy as np
from PIL import Image

from datasets.pair_list import read_pair_list
from evaluation.reenactment import pair_units
from evaluation.units import Row


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
    assert all(isinstance(item, Row) for item in items)
    assert [item.frame for item in items] == [
        "p#a-0--p#a-1",
        "p#a-0--p#a-1-2",
        "0000002 from 0000000",
    ]
    assert [int(item.real[0, 0, 0]) for item in items] == [1, 1, 2]
