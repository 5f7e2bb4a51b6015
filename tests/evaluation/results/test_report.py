import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.results.report import Example, error_map, html
from tests.evaluation.tables import NAN, frame_table, random_table, result_of

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
AWKWARD = '<script src="http://example.org/x.js"></script>&"\''
VOID = {"meta", "img", "rect", "line"}
SOURCE, REAL, GENERATED = (12, 200, 90), (230, 60, 160), (230, 190, 160)  # the made-up frames


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (48, 48)) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (*size, 3))


def example(**changes) -> Example:
    made = Example("id0#0", "0000002", 0.125, plain(SOURCE), plain(REAL), plain(GENERATED))
    return made._replace(**changes)


class Page(HTMLParser):
    """Elements and text of a page, which must be well-formed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def report(**changes) -> str:
    table = random_table(6)
    best = [example(), example(source=None)]
    examples = {"Worst frames": best[:1], "Best frames": best}
    return html(result_of(table, **changes), table, examples, "l1")


def test_the_page_needs_nothing_but_itself():
    page = report()
    assert not re.findall(r"https?:|//\w", page)
    assert all(value.startswith("data:") for value in re.findall(r'src="(.*?)"', page))
    assert not re.search(r"<script|<link|<iframe|@import|url\(|href|onclick", page)
    policy = next(meta for meta in Page(page).all("meta") if "http-equiv" in meta)
    assert policy["content"].startswith("default-src 'none'")


def test_the_page_holds_tables_plots_pictures_and_conditions():
    page = Page(report())
    assert len(page.all("table")) == 2
    assert len(page.all("svg")) == 3  # l1, psnr, akd
    assert len(page.all("img")) == 4 + 3 + 4
    for text in (
        "L1 ↓",
        "unavailable: no weights file was named",
        "FID ↓ 17.25",
        "MCNet 0.0331 82.5",
        "only orders of magnitude",
        "id0#0 / 0000002: L1 0.1250",
        "not given",
        "2 of 3 clips were used. 1 It cannot be decoded. id9#9",
        "no face (AKD (px at 256))",
        "checkpoint runs/vox/best",
        "versions torch 2.9",
        "duration 12.5 s",
    ):
        assert text in page.text


def test_the_page_says_what_copying_the_source_would_give():
    table = random_table(6)
    table = table.assign(copy_source_l1=table["l1"] + 0.5)
    page = Page(html(result_of(table), table, {}, None))
    assert len(page.all("table")) == 4
    assert "Compared with a copy of the source" in page.text
    assert "-0.5000 -0.5000 to -0.5000" in page.text
    assert "Compared with a copy" not in Page(report()).text


def test_pictures_are_those_given_in_their_order():
    page = Page(report())
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
        for image in page.all("img")[:4]
    ]
    for picture, colour in zip(pictures, (SOURCE, REAL, GENERATED), strict=False):
        assert picture.shape == (48, 48, 3)
        assert (picture == colour).all()
    assert (pictures[3] == error_map(plain(REAL), plain(GENERATED))).all()
    captions = [image["alt"] for image in page.all("img")[:4]]
    assert captions == ["source", "driving", "result", "error"]


def test_large_pictures_are_made_smaller_and_keep_their_shape():
    table = random_table(2)
    large = example(**dict.fromkeys(("source", "real", "generated"), plain(REAL, (600, 1200))))
    page = Page(html(result_of(table), table, {"Best frames": [large]}, "l1"))
    uri = page.all("img")[0]["src"]
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (512, 256)


def test_names_and_reasons_are_text_whatever_they_contain():
    table = frame_table(
        {"l1": [0.1, NAN], "akd": [1.0, 2.0]}, ["a", AWKWARD], frames=[AWKWARD, AWKWARD]
    )
    table["missing"] = [{}, {"l1": "<i>why</i>"}]
    result = result_of(
        table,
        conditions={AWKWARD: AWKWARD, "weights": {AWKWARD: None}},
        coverage={
            "clips": {"listed": 2, "used": 1, "dropped": {AWKWARD: AWKWARD}},
            "pairs": {"rows": 2, "duplicates": 0, "used": 1, "missing": {AWKWARD: AWKWARD}},
        },
    )
    result["metrics"]["aed"] = {"unavailable": AWKWARD}
    examples = {"Best frames": [example(clip=AWKWARD, frame=AWKWARD)]}
    page = Page(html(result, table, examples, "l1"))
    assert not page.all("script")
    assert not page.all("i")
    assert page.text.count(AWKWARD) == 12
    assert "1 <i>why</i> (L1)" in page.text


def test_long_lists_are_folded_and_equal_ones_shown_once():
    values = [NAN] * 6 + [1.0] * 3
    table = frame_table(
        {"akd": values, "akd_published": values, "lpips_vgg": [NAN] * 2 + [1.0] * 7},
        list("abcdefghi"),
    )
    lists = Page(html(result_of(table), table, {}, "akd")).all("details")
    assert [("open" in attributes) for attributes in lists] == [True, True, False]


@pytest.mark.parametrize("values", [[float("inf")] * 3, [NAN] * 3, []])
def test_a_column_without_a_finite_value_is_said_to_have_none(values):
    table = frame_table({"psnr": values}, ["a", "b", "c"][: len(values)])
    page = Page(html(result_of(table), table, {}, None))
    assert "PSNR (dB): no finite value" in page.text
    assert not page.all("svg")


def test_an_error_map_goes_from_black_over_red_and_yellow_to_white():
    real = np.zeros((1, 5, 3), np.uint8)
    generated = np.zeros((1, 5, 3), np.uint8)
    generated[0, :, :] = np.array([0, 42.5, 85, 127.5, 255])[:, None].round()
    generated[0, 1] = (0, 0, 127)  # a sixth of the scale, in one channel
    assert error_map(real, generated)[0].tolist() == [
        [0, 0, 0],
        [254, 0, 0],
        [255, 255, 0],
        [255, 255, 255],
        [255, 255, 255],
    ]
    assert (error_map(real, generated) == error_map(generated, real)).all()


def screenshot(page: Path, profile: Path, width: int, height: int, *flags: str) -> np.ndarray:
    """Show a page in a real browser: (height, width, 3) uint8."""
    picture = profile.with_suffix(".png")
    fixed = (
        "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic "
        "--no-first-run --hide-scrollbars --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    given = [f"--user-data-dir={profile}", f"--screenshot={picture}"]
    given += [f"--window-size={width},{height}", *flags, page.as_uri()]
    command = [str(BROWSER), *fixed.split(), *given]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(picture).convert("RGB"))


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The share of pixels of about this colour."""
    return float((np.abs(picture.astype(int) - colour).max(axis=2) <= 3).mean())


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed (Chromium or Chrome)")
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_a_browser_shows_the_page(tmp_path, width, dark):
    page = tmp_path / "report.html"
    page.write_text(report(), encoding="utf-8")
    error = tuple(error_map(plain(REAL), plain(GENERATED))[0, 0].tolist())
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    shown = screenshot(page, tmp_path / "profile", width, 5000, *flags)
    assert shown.shape == (5000, width, 3)
    assert shown.std() > 10
    # Three rows of pictures: as many pixels of each colour, the sources but two.
    assert 0.01 < share(shown, REAL) < 0.2
    assert share(shown, GENERATED) == pytest.approx(share(shown, REAL), rel=0.05)
    assert share(shown, error) == pytest.approx(share(shown, REAL), rel=0.05)
    assert share(shown, SOURCE) == pytest.approx(share(shown, REAL) * 2 / 3, rel=0.05)
    assert (np.median(shown) < 60) == dark
