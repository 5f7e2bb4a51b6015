import re

import pytest

from evaluation.results.frame_table import COPIED
from evaluation.results.published import NUM_PAIRS, PUBLISHED_COLUMNS, PUBLISHED_ROWS
from evaluation.results.tables import (
    NOTHING,
    SHOWN,
    comparability,
    dropped_sentences,
    escape_latex,
    escape_markdown,
    latex,
    markdown,
    metrics_table,
)
from tests.evaluation.tables import NAN, frame_table, random_table, result_of

AWKWARD = r"100 % of $HOME\net_1.pth & <b>#2</b> | {a}~^" + "\nnext line"


def result_of_published_columns(**changes):
    columns = {column.column: [0.5, 1.0] for column in PUBLISHED_COLUMNS}
    return result_of(frame_table(columns, ["a", "b"]), **changes)


def pairs_result(used: int, cross_identity: bool = False):
    coverage = {
        "clips": {"listed": 2, "used": 2, "dropped": {}},
        "pairs": {"rows": used, "duplicates": 0, "used": used, "missing": {}},
    }
    return result_of_published_columns(
        protocol="pairs", cross_identity=cross_identity, coverage=coverage
    )


def markdown_rows(text: str) -> dict[str, list[str]]:
    """The cells of all tables, by the first cell of their row."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: row[1:] for row in rows}


def test_the_result_stands_below_the_published_rows_in_their_columns_and_units():
    rows = markdown_rows(markdown(result_of_published_columns()))
    assert rows["MCNet"] == ["0.0331", "82.5", "31.942", "0.174", "1.203", "0.1065"]
    own = "**0.7500** **75.0** **0.750** **0.750** **0.750** **0.7500**"
    assert rows["**this result**"] == own.split()
    assert all(len(of) == len(PUBLISHED_COLUMNS) for of in PUBLISHED_ROWS.values())


def test_frames_that_the_source_drives_itself_do_not_flatter_the_result():
    table = frame_table({"l1": [0.0, 0.5, 0.7]}, ["a"] * 3, is_source=[True, False, False])
    text = markdown(result_of(table))
    assert markdown_rows(text)["**this result**"][0] == "**0.6000**"
    assert "left out of its row" in text


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (result_of_published_columns(), "only orders of magnitude"),
        (pairs_result(used=NUM_PAIRS), "is fair if this is the published list, on VoxCeleb1"),
        (pairs_result(used=2000), "2,000 pairs, not the published 2,083"),
        (pairs_result(used=NUM_PAIRS, cross_identity=True), "cannot be compared"),
    ],
)
def test_a_sentence_says_when_the_comparison_is_fair(result, verdict):
    assert verdict in comparability(result)
    assert comparability(result) in markdown(result).replace("\\", "")
    assert comparability(result) in latex(result)


def test_every_metric_has_a_row_with_its_digits():
    table = frame_table(
        {"psnr": [float("inf"), 30.0, 31.0], "akd": [NAN, 1.23456, NAN]},
        ["a", "b", "b"],
        is_source=[True, False, False],
    )
    text = markdown(result_of(table))
    rows = markdown_rows(text)
    assert rows["PSNR (dB) ↑"] == ["30.50", NOTHING, "30.50", "2 + 1 identical", "2", "0 + 1 clip"]
    assert rows["AKD (px at 256) ↓"] == ["1.235", NOTHING, "1.235", "1", "1", "2 + 1 clip"]
    assert rows["FID ↓"] == ["17.25", NOTHING, NOTHING, "40", NOTHING, "0 + 1 clip"]
    assert rows["AED ↓"] == ["unavailable", "", "", "", "", ""]
    assert "Unavailable: AED: no weights file was named" in text


def test_metrics_stand_beside_those_of_copying_the_source():
    table = frame_table(
        {"l1": [0.1, 0.2, 0.3, 0.1], "psnr": [30.0, 20.0, 26.0, 22.0], "mkr": [0.0] * 4},
        ["a", "a", "b", "b"],
        copied={"l1": [0.05, 0.25, 0.4, 0.15], "psnr": [33.0, 19.0, 21.0, 22.0]},
    )
    result = result_of(table)
    _, beside = markdown(result).split("## Compared with a copy of the source")
    everything, far = beside.split("Frames that moved")
    expected = "24.50, 23.75, 0.75, -1.00 to 2.50, 4"
    assert markdown_rows(everything)["PSNR (dB) ↑"] == expected.split(", ")
    assert markdown_rows(far)["PSNR (dB) ↑"] == ["23.00", "20.00", "3.00", "1.00 to 5.00", "2"]
    assert "an L1 of 0.2000" in far
    assert "MKR ↓" not in markdown_rows(beside)
    assert "Compared with a copy of the source: Frames that moved" in latex(result)
    assert "Compared with a copy" not in markdown(result_of(random_table(4)))


def test_numbers_that_do_not_exist_are_not_invented():
    result = result_of(frame_table({"akd": [NAN]}, ["a"]))
    assert metrics_table(result).rows[0][1] == NOTHING
    assert markdown_rows(markdown(result))["**this result**"] == [f"**{NOTHING}**"] * 6


def test_text_stands_for_itself_in_markdown():
    assert escape_markdown("a|b\n*c* `d` <e> [f](g) h_i \\") == (
        r"a\|b \*c\* \`d\` \<e\> \[f\](g) h\_i " + r"\\"
    )


def test_text_stands_for_itself_in_latex():
    assert escape_latex(AWKWARD) == (
        r"100 \% of \$HOME\textbackslash{}net\_1.pth \& \textless{}b\textgreater{}\#2"
        r"\textless{}/b\textgreater{} \textbar{} \{a\}\textasciitilde{}\textasciicircum{} next line"
    )


def test_awkward_reasons_break_no_table():
    result = result_of(random_table(4))
    result["metrics"]["aed"] = {"unavailable": AWKWARD}
    for text, escaped in [
        (markdown(result), escape_markdown(AWKWARD)),
        (latex(result), escape_latex(AWKWARD)),
    ]:
        (line,) = [line for line in text.splitlines() if line.startswith("Unavailable")]
        assert line == f"Unavailable: AED: {escaped}"


@pytest.mark.parametrize(("copied", "num_tables"), [([], 2), (["akd"], 3), (["l1", "akd"], 4)])
def test_the_rows_of_a_latex_table_are_as_wide_as_it_says(copied, num_tables):
    table, other = random_table(4), random_table(4, seed=1)
    table = table.assign(**{COPIED + column: other[column] for column in copied})
    text = latex(result_of(table))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == num_tables
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end", text, re.DOTALL):
        for line in body.splitlines():
            if line == r"\hline":
                continue
            assert line.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", line)) + 1 == len(columns)
    bare = re.sub(r"\\[%&#_$\\{}]", "", text)
    assert not set("%#_~^") & set(bare)
    assert bare.isascii()


def result_with_gaps(count: int, reason: str = "It is not in G."):
    """Two frames of a clip, and clips that were dropped, for one reason or for one of each."""
    table = frame_table({"l1": [0.5, NAN]}, ["a"] * 2)
    clips = {f"c{number}": reason.format(number) for number in range(count)}
    clip_coverage = {"listed": 1 + count, "used": 1, "dropped": clips}
    return result_of(table, coverage={"clips": clip_coverage, "pairs": None})


def test_what_was_dropped_and_why_stands_above_every_table():
    result = result_with_gaps(6)
    lines = [
        "Dropped, and in no number below: 6 of 7 clips.",
        "c0, c1, c2, c3, c4, c5: It is not in G.",
        "Without a value of L1: 1 frame (no face).",
    ]
    assert dropped_sentences(result) == lines
    text, source = markdown(result), latex(result)
    for line in lines:
        assert 0 < text.index(escape_markdown(line)) < text.index("|")
        assert -1 < source.index(escape_latex(line)) < source.index("tabular")
    assert markdown_rows(text)["L1 ↓"][-1] == "1 + 6 clips"


def test_of_many_that_were_dropped_the_first_are_named_and_all_are_counted():
    told = dropped_sentences(result_with_gaps(25))
    assert told[0] == "Dropped, and in no number below: 25 of 26 clips."
    assert told[1] == f"{', '.join(f'c{n}' for n in range(10))} and 15 more: It is not in G."
    told = dropped_sentences(result_with_gaps(25, "It is damaged at {}."))
    assert len(told) == 1 + SHOWN + 1 + 1
    assert told[SHOWN + 1] == "And 15 more: result.json names them all."


def test_pairs_that_were_dropped_are_told_and_where_there_are_none_nothing_is():
    assert dropped_sentences(pairs_result(used=2)) == []
    result = pairs_result(used=2)
    result["coverage"]["pairs"].update(rows=3, missing={"line 2: a, b": "There is no a."})
    assert dropped_sentences(result) == [
        "Dropped, and in no number below: 1 of 3 pairs.",
        "line 2: a, b: There is no a.",
    ]
    assert metrics_table(result).rows[0][-1] == "0 + 1 pair"
