import pytest

from utils.wording import counted, time_left


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(75.4, ", 0:01:15 left"), (3 * 86400, ", 3 days, 0:00:00 left"), (4e8, ""), (1e30, "")],
)
def test_the_time_left_is_told_unless_nobody_would_wait_for_it(seconds, text):
    assert time_left(seconds) == text
