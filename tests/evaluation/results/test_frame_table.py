import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from evaluation.results.frame_table import read_frame_table, write_frame_table
from tests.evaluation.tables import NAN, frame_table, random_table
from utils.errors import InputError

INF = float("inf")
AWKWARD = ['a,b "quoted"', "Zoë #1; Ελένη", "two\nlines", " spaces ", "=1+1", ""]


def test_a_table_reads_back_equal(tmp_path):
    values = {
        "psnr": [float("inf"), 0.1 + 0.2, NAN, 1e-300, -0.0, 1 / 3],
        "akd": [NAN, 1.0, NAN, 2.0, 3.0, NAN],
    }
    copied = {"akd": [NAN, 1 / 3, INF, 0.0, 1.0, NAN], "psnr": [INF, 1.0, 2.0, NAN, 3.0, 1e300]}
    reasons = {"akd": 'no "face", 顔'}, {}, {"psnr": "two\nlines", "akd": "x"}, {}, {}, {}
    table = frame_table(
        values,
        AWKWARD,
        missing=reasons,
        identities=AWKWARD[::-1],
        frames=AWKWARD,
        is_source=[True] + 5 * [False],
        copied=copied,
    )
    write_frame_table(tmp_path / "frames.csv", table)
    assert_frame_equal(read_frame_table(tmp_path / "frames.csv"), table, check_exact=True)
    assert np.signbit(read_frame_table(tmp_path / "frames.csv")["psnr"][4])
    assert [path.name for path in tmp_path.iterdir()] == ["frames.csv"]


@pytest.mark.parametrize("values", [{"l1": []}, {}])
def test_a_table_without_frames_or_columns_reads_back_equal(tmp_path, values):
    table = frame_table(values, [] if values else ["a", "a"])
    write_frame_table(tmp_path / "frames.csv", table)
    assert_frame_equal(read_frame_table(tmp_path / "frames.csv"), table)


def test_the_file_is_a_plain_csv_in_the_order_of_the_columns(tmp_path):
    values, copied = {"akd": [NAN, 2.0], "l1": [0.25, INF]}, {"l1": [0.5, 0.0]}
    table = frame_table(values, ["c", "c"], copied=copied)
    write_frame_table(tmp_path / "frames.csv", table)
    assert (tmp_path / "frames.csv").read_text().splitlines() == [
        "clip,identity,frame,is_source,l1,akd,copy_source_l1,missing",
        'c,c,0000000,0,0.25,,0.5,"{""akd"": ""no face""}"',
        "c,c,0000001,0,inf,2.0,0.0,",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clip,identity", "source,driving", "line 1: the header must be clip,identity,frame,is_s"),
        ("l1,", "l7,", "line 1: unknown column 'l7'"),
        ("psnr,", "l1,", "line 1: a column is there twice"),
        ("id0#0,id0,0000001,0,", "id0#0,id0,0000001,0,,", "line 3: 8 cells expected, found 9"),
        ("0000001,0,", "0000001,maybe,", "line 3: is_source must be 0 or 1, found 'maybe'"),
        ("0000001,0,", "0000001,0,x", "line 3: could not convert string to float: 'x0."),
        ("id0#0,id0,0000001", '"id0#0,id0,0000001', "line 3: "),
        ("id0#0,id0,0000001", "id0#0,id0,0000000", "frame '0000000' of clip 'id0#0' twice"),
        ("id0#0,id0,0000001", "id0#0\xff,id0,0000001", "line 3: 'utf-8' codec can't decode"),
        ("no face", 'no face""a', "line [0-9]+: Expecting"),
        ('""no face""', "1", "must give reasons as text"),
        ("{", "[{", "line [0-9]+: "),
        ('{""akd""', '{""aed""', "must name columns of this file"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path, old, new, message):
    path = tmp_path / "frames.csv"
    write_frame_table(path, random_table(8))
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode("latin-1"))
    with pytest.raises(InputError, match=message) as raised:
        read_frame_table(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("l1,copy_source_l1,copy_source_l1", "a column is there twice"),
        ("l1,copy_source_l7", "unknown column 'l7'"),
        ("copy_source_l1,l1", "the header must be"),
    ],
)
def test_columns_of_the_copied_source_are_known_and_come_last(tmp_path, columns, message):
    header = f"clip,identity,frame,is_source,{columns},missing\n"
    (tmp_path / "frames.csv").write_text(header)
    with pytest.raises(InputError, match=message):
        read_frame_table(tmp_path / "frames.csv")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\0\0"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "frames.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"not a frames\.csv of this evaluation"):
        read_frame_table(tmp_path / "frames.csv")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_frame_table(tmp_path / "frames.csv")


def test_columns_of_earlier_versions_are_translated(tmp_path):
    path = tmp_path / "frames.csv"
    values = {"ssim_published": [0.5, NAN], "akd_published": [1.0, 2.0]}
    table = frame_table(values, ["a", "b"], copied={"ssim_published": [0.25, 0.5]})
    write_frame_table(path, table)
    text = path.read_text()
    earlier = text.replace("_published", "_reference")
    assert text.count("_published") == earlier.count("_reference") == 4
    path.write_text(earlier)
    assert_frame_equal(read_frame_table(path), table)
