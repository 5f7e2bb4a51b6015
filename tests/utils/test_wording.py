import pytest

from utils.wording import counted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, "frame"), "0 frames"),
        ((1, "frame"), "1 frame"),
        ((1200, "frame"), "1,200 frames"),
        ((1, "person", "people"), "1 person"),
        ((2, "person", "people"), "2 people"),
    ],
)
def test_a_number_has_its_noun(words, text):
    assert counted(*words) == text
