import pytest

from benchmarks import preparation
from benchmarks.preparation import benchmark
from media.video import probe


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "CLIP_SECONDS", 1)
    monkeypatch.setattr(preparation, "CLIPS", 2)
    monkeypatch.setattr(preparation, "FEWEST", 1)
    monkeypatch.setattr(preparation, "usable_cores", lambda: 2)


@pytest.mark.usefixtures("small")
def test_every_clip_is_cut_and_counted(tmp_path):
    result = benchmark(tmp_path, seconds=0)
    (table,) = result.tables
    assert [row["processes"] for row in table.rows] == [1, 2]
    assert result.settings["clips"] == 4
    for row in table.rows:
        assert row["clips/s of a core"] == pytest.approx(row["clips/s"].median / row["processes"])
    clips = sorted((tmp_path / "root-2-0" / "train").glob("*.mp4"))
    assert [probe(clip).num_frames for clip in clips] == [25] * 4
    assert probe(tmp_path / "videos" / "video1.mp4").size == (720, 1280)
