import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from animation.animator import Animator
from evaluation.command_line import MeasureOptions
from evaluation.evaluator import NUM_EXAMPLES, Evaluation
from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.inputs import MetricInputs
from evaluation.metrics.interface import Frames, Measured
from evaluation.processes import Processes
from evaluation.results.frame_table import read_frame_table
from evaluation.results.result import read_result
from evaluation.self_reenactment import Renderer
from evaluation.unit_metrics import NOT_FINITE, of_copied_source
from evaluation.work_units import Dropped, UnitFrame
from tests.tiny import tiny_model
from utils.errors import InputError

STILL = (0, 3)  # frames that show the source again
BRIGHT = 230  # of the first pixel: what is rendered then is not finite
DARK = 80  # of the first pixel: such frames have no value
ALONE = Processes(rank=0, world_size=1)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)


class Clip(NamedTuple):
    """A clip whose frames are numbers from a seed."""

    seed: int
    num_frames: int = 3
    breaks_at: int | None = None
    error: Exception = InputError("It is damaged.")
    file: Path | None = None

    @property
    def name(self) -> str:
        return f"p{self.seed % 2}#{self.seed}"

    @property
    def files(self) -> list[Path]:
        return [] if self.file is None else [self.file]

    def read(self) -> Iterator[UnitFrame | Dropped]:
        source = noise(self.seed)
        for i in range(self.num_frames):
            if i == self.breaks_at:
                raise self.error
            real = source if i in STILL else noise(100 * self.seed + i)
            yield UnitFrame(self.name, self.name[:2], f"{i:07d}", source, real, None)


def render(source: np.ndarray, driving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Render half-way from source to driving frame; the first pixel says if it is finite."""
    generated = ((source.astype(int) + driving) // 2).astype(np.uint8)
    return generated, driving[:, 0, 0, 0] < BRIGHT


class Difference:
    """Metric that has no value for frames whose first pixel is dark."""

    def __call__(self, frames: Frames) -> Measured:
        difference = np.abs(frames.real.astype(float) - frames.generated).mean(axis=(1, 2, 3)) / 255
        dark = frames.real[:, 0, 0, 1] < DARK
        values = np.where(dark, np.nan, difference)
        unwanted = np.zeros(len(values))
        return Measured(
            {"l1": values, "psnr": unwanted}, ["too dark" if is_dark else "" for is_dark in dark]
        )


class Brightening:
    """Metric of clips: brightness of the last result less that of the first."""

    def observe(self, frames: Frames) -> np.ndarray:
        return frames.generated.astype(float).mean(axis=(1, 2, 3))

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        if len(observations) < 2:
            return {"motion": (np.nan, "too short")}
        unwanted = 0.0, ""
        return {"motion": (float(observations[-1] - observations[0]), ""), "eyes_gain": unwanted}


def features(frames: np.ndarray) -> np.ndarray:
    return frames[:, :2, 0].reshape(len(frames), -1).astype(np.float32)


def evaluation(
    units: list[Clip],
    output: Path,
    processes: Processes = ALONE,
    precision: str = "fp32",
    metrics: AvailableMetrics | None = None,
) -> Evaluation:
    metric = Difference()
    if metrics is None:
        metrics = AvailableMetrics(
            frame_metrics=[metric],
            clip_metrics=[Brightening()],
            columns=["l1", "motion"],
            features=features,
            unavailable={"akd": "no weights"},
            copied=[metric],
        )
    made = Evaluation(
        units=units,
        coverage={"clips": {"listed": len(units), "used": 0, "dropped": {}}, "pairs": None},
        inputs=MetricInputs(torch.device("cpu"), MeasureOptions(metrics="l1", batch_size=2)),
        protocol="video",
        conditions={"precision": precision},
        output=output,
        processes=processes,
        render=render,
    )
    made.metrics = metrics
    return made


def result_of(output: Path) -> dict[str, object]:
    result = dict(read_result(output / "result.json"))
    del result["duration_seconds"]
    return result


CLIPS = [Clip(seed, num_frames=2 + seed % 4) for seed in range(1, 9)]


def test_the_numbers_are_those_of_a_plain_loop(tmp_path):
    result = evaluation(CLIPS, tmp_path).run()
    expected, real, generated = [], [], []
    not_finite, dark = 0, 0
    for clip in CLIPS:
        for row in clip.read():
            if row.real[0, 0, 0] >= BRIGHT:
                not_finite += 1
                continue
            middle = (row.source.astype(int) + row.real) // 2
            real.append(row.real)
            generated.append(middle)
            if row.real[0, 0, 1] < DARK:
                dark += 1
            else:
                expected.append(np.abs(row.real - middle.astype(float)).mean() / 255)
    assert not_finite
    assert dark
    assert result["metrics"]["l1"]["mean"] == pytest.approx(np.mean(expected), rel=1e-12)
    dropped = result["metrics"]["l1"]["dropped"]
    assert {reason: len(names) for reason, names in dropped.items()} == {
        NOT_FINITE: not_finite,
        "too dark": dark,
    }
    assert result["metrics"]["fid"]["frames"] == len(real)
    means = [np.mean([features(np.stack([x])) for x in side], axis=0) for side in (real, generated)]
    assert result["metrics"]["fid"]["mean"] > np.square(means[0] - means[1]).sum()
    assert result["metrics"]["akd"] == {"unavailable": "no weights"}
    assert list(result["metrics"]) == ["l1", "akd", "motion", "fid"]  # the wanted ones
    assert result["counts"] == {
        "frames": sum(clip.num_frames for clip in CLIPS),
        "clips": len(CLIPS),
        "identities": 2,
    }


def test_what_copying_the_source_gives_is_measured_beside(tmp_path):
    evaluation(CLIPS, tmp_path).run()
    table = read_frame_table(tmp_path / "frames.csv")
    rows = [row for clip in CLIPS for row in clip.read()]
    expected = [np.abs(row.source / 255 - row.real / 255).mean() for row in rows]
    unmeasured = np.isnan(table["l1"])
    np.testing.assert_array_equal(np.isnan(table["copy_source_l1"]), unmeasured)
    np.testing.assert_allclose(
        table["copy_source_l1"][~unmeasured], np.array(expected)[~unmeasured]
    )
    assert [name for name in table if name.startswith("copy_")] == ["copy_source_l1"]


def test_a_source_of_another_size_or_none_is_not_compared():
    source, real, generated = np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8, 3), np.uint8)
    metrics = [Difference()]
    assert of_copied_source(metrics, Frames(source, real, generated)).keys() == {"l1", "psnr"}
    assert of_copied_source(metrics, Frames(source[:, :4], real, generated)) == {}
    assert of_copied_source(metrics, Frames(None, real, generated)) == {}


def test_examples_are_ranked_by_a_metric_of_frames_alone(tmp_path):
    metrics = AvailableMetrics(columns=["motion"], clip_metrics=[Brightening()])
    measured = evaluation(CLIPS[:2], tmp_path, metrics=metrics)
    assert measured.ranked_by is None
    assert measured.run() is not None
    assert "Best frames" not in (tmp_path / "report.html").read_text()


def test_the_value_of_a_clip_stands_at_each_of_its_frames(tmp_path):
    """Frames that could not be rendered are left out."""
    clips = [*CLIPS, Clip(20, num_frames=1)]
    result = evaluation(clips, tmp_path).run()
    table = read_frame_table(tmp_path / "frames.csv")
    for clip in clips:
        rows = table["clip"] == clip.name
        frames = [((row.source.astype(int) + row.real) // 2, row.real) for row in clip.read()]
        made = [half.mean() for half, real in frames if real[0, 0, 0] < BRIGHT]
        finite = [real[0, 0, 0] < BRIGHT for _, real in frames]
        found = table["motion"][rows]
        assert np.isnan(found[~np.array(finite)]).all()
        if len(made) > 1:
            np.testing.assert_allclose(found[finite], made[-1] - made[0])
        else:
            assert np.isnan(found).all()
    assert "too short" in result["metrics"]["motion"]["dropped"]


class Given:
    """Metric of clips: mean of the landmarks that come with the frames."""

    def observe(self, frames: Frames) -> np.ndarray:
        assert len(frames.landmarks) == len(frames.real)
        return frames.landmarks.mean(axis=(1, 2))

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        return {"mouth_gain": (float(observations.mean()), "")}


class ClipWithLandmarks(Clip):
    """A clip whose landmarks are the numbers of its frames."""

    def read(self) -> Iterator[UnitFrame]:
        for number, row in enumerate(super().read()):
            yield row._replace(landmarks=np.full((68, 2), float(number)))


def test_landmarks_stay_with_their_frames_where_some_are_not_finite(tmp_path):
    clips = [ClipWithLandmarks(*clip) for clip in CLIPS]
    metrics = AvailableMetrics(columns=["mouth_gain"], clip_metrics=[Given()])
    result = evaluation(clips, tmp_path, metrics=metrics).run()
    num_finite = 0
    for clip in clips:
        finite = [i for i, row in enumerate(clip.read()) if row.real[0, 0, 0] < BRIGHT]
        num_finite += len(finite)
        assert result["by_clip"][clip.name]["metrics"]["mouth_gain"] == np.mean(finite)
    assert num_finite < sum(clip.num_frames for clip in clips)


def test_driving_frames_that_show_the_source_are_marked(tmp_path):
    evaluation(CLIPS, tmp_path).run()
    table = read_frame_table(tmp_path / "frames.csv")
    numbers = [i for clip in CLIPS for i in range(clip.num_frames)]
    assert table["is_source"].tolist() == [i in STILL for i in numbers]


def test_every_file_of_the_result_is_written(tmp_path):
    evaluation(CLIPS, tmp_path).run()
    for name in ("result.json", "frames.csv", "table.md", "table.tex", "report.html"):
        assert (tmp_path / name).stat().st_size > 100
    table = read_frame_table(tmp_path / "frames.csv")
    assert table["clip"].tolist() == [clip.name for clip in CLIPS for _ in range(clip.num_frames)]
    page = (tmp_path / "report.html").read_text()
    worst = max((v, i) for i, v in enumerate(table["l1"]) if not np.isnan(v))[1]
    assert f"{table['frame'][worst]}" in page


def test_the_frames_that_are_shown_are_the_best_and_worst_of_all(tmp_path):
    clips = [Clip(seed, num_frames=10) for seed in (2, 5, 7, 9, 4)]
    measured = evaluation(clips, tmp_path)
    measured.run()
    table = read_frame_table(tmp_path / "frames.csv")
    rows = zip(table["clip"].tolist(), table["frame"].tolist(), table["l1"].tolist(), strict=True)
    rows = [row for row in rows if not np.isnan(row[2])]
    table = pd.concat(dict(enumerate(measured.partial_results.tables())), names=["unit"])
    worst, best = measured.examples(table).values()
    assert [each[:3] for each in best] == sorted(rows, key=lambda row: row[2])[:NUM_EXAMPLES]
    assert [each[:3] for each in worst] == sorted(rows, key=lambda row: -row[2])[:NUM_EXAMPLES]
    frames = {(row.clip, row.frame): row for clip in clips for row in clip.read()}
    for shown in [*best, *worst]:
        row = frames[shown.clip, shown.frame]
        np.testing.assert_array_equal(shown.source, row.source)
        np.testing.assert_array_equal(shown.real, row.real)
        np.testing.assert_array_equal(shown.generated, (row.source.astype(int) + row.real) // 2)


def test_an_interrupted_evaluation_goes_on_to_the_same_result(tmp_path):
    evaluation(CLIPS, tmp_path / "whole").run()
    broken = CLIPS.copy()
    broken[5] = CLIPS[5]._replace(breaks_at=2, error=OSError("the disk is gone"))
    with pytest.raises(OSError, match="the disk is gone"):
        evaluation(broken, tmp_path / "cut").run()
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cut/parts/0*")}
    assert len(parts) == 5
    evaluation(CLIPS, tmp_path / "cut").run()
    assert all(path.stat().st_mtime_ns == time for path, time in parts.items())
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")
    whole, cut = (tmp_path / name / "frames.csv" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_rendering_leaves_the_units_before_it(tmp_path, threads):
    torch.set_num_threads(threads)

    def fail(source: np.ndarray, driving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (source[0] == noise(CLIPS[4].seed)).all():
            raise InputError("This network takes other sizes.")
        return render(source, driving)

    measured = evaluation(CLIPS, tmp_path)
    measured.render = fail
    before = set(threading.enumerate())
    with pytest.raises(InputError, match="other sizes") as error:
        measured.run()
    assert sorted(path.name for path in tmp_path.glob("parts/0*")) == [f"{i:06d}" for i in range(4)]
    # Reading has ended, while the error still holds its frames: left to the garbage collector, the
    # end would wait for a thread in the middle of anything, such as the start of another thread.
    assert error.tb is not None
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("ThreadPoolExecutor")]


def test_batches_rendered_side_by_side_come_to_the_same_result(tmp_path):
    """A network renders on three threads what it renders on one, and nothing is mixed up."""
    animator = Animator(tiny_model(), (16, 16), device="cpu", precision="fp32")
    clips = [*CLIPS, CLIPS[2]._replace(seed=12, breaks_at=3), Clip(13, num_frames=9)]
    for threads in (1, 3):
        torch.set_num_threads(threads)
        measured = evaluation(clips, tmp_path / str(threads))
        measured.render = Renderer(animator)
        measured.run()
    assert result_of(tmp_path / "3") == result_of(tmp_path / "1")
    one, three = (tmp_path / name / "frames.csv" for name in ("1", "3"))
    assert one.read_bytes() == three.read_bytes()
    assert "It is damaged." in (tmp_path / "3" / "result.json").read_text()


def test_several_processes_come_to_the_same_result(tmp_path):
    evaluation(CLIPS, tmp_path / "one").run()
    for rank in (2, 1):
        evaluation(CLIPS, tmp_path / "three", Processes(rank, 3)).measure_units()
    assert len(list(tmp_path.glob("three/parts/0*"))) == 5
    first = evaluation(CLIPS, tmp_path / "three", Processes(0, 3))
    first.measure_units()
    first.merge()
    assert result_of(tmp_path / "three") == result_of(tmp_path / "one")


def test_a_damaged_clip_is_dropped_whole_and_named(tmp_path):
    clips = [CLIPS[0], CLIPS[1]._replace(breaks_at=2), CLIPS[2]]
    result = evaluation(clips, tmp_path).run()
    assert result["coverage"]["clips"] == {
        "listed": 3,
        "used": 2,
        "dropped": {CLIPS[1].name: "It is damaged."},
    }
    assert list(result["by_clip"]) == [CLIPS[0].name, CLIPS[2].name]


def test_nothing_measured_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"No frame could be measured.*It is damaged"):
        evaluation([CLIPS[0]._replace(breaks_at=0)], tmp_path).run()


def test_another_evaluation_in_the_folder_is_left_alone(tmp_path):
    evaluation(CLIPS[:2], tmp_path).run()
    before = result_of(tmp_path)
    with pytest.raises(InputError, match="another precision"):
        evaluation(CLIPS[:2], tmp_path, precision="bf16").run()
    with pytest.raises(InputError, match="another list of names"):
        evaluation(CLIPS[:3], tmp_path).run()
    without_copies = evaluation(CLIPS[:2], tmp_path)
    without_copies.metrics.copied.clear()
    with pytest.raises(InputError, match="another list of metrics of the copied source"):
        without_copies.run()
    assert result_of(tmp_path) == before


def test_numbers_of_files_that_have_changed_are_not_taken_over(tmp_path):
    file = tmp_path / "clip"
    file.write_text("before")
    clips = [CLIPS[0]._replace(file=file), CLIPS[1]]
    evaluation(clips, tmp_path / "out").run()
    evaluation(clips, tmp_path / "out").run()
    file.write_text("changed")
    with pytest.raises(InputError, match="another state of the files: name another --output"):
        evaluation(clips, tmp_path / "out").run()
