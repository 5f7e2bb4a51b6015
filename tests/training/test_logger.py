import json
import math

import pytest

from training.logger import RunLogger, ThroughputMeter


def test_a_resumed_log_repeats_no_step_and_drops_half_a_line(tmp_path):
    logger = RunLogger(tmp_path, step=0)
    for step in (1, 2, 3):
        logger.scalars(step, {"loss/total": 1 / step})
    logger.close()
    with logger.metrics.open("a") as file:
        file.write('{"step": 4, "loss/to')  # killed while writing

    resumed = RunLogger(tmp_path, step=2)
    resumed.scalars(3, {"loss/total": 7.0})
    resumed.close()
    lines = [json.loads(line) for line in logger.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss/total"] == 7.0


def test_what_is_not_finite_is_null_in_valid_json(tmp_path):
    logger = RunLogger(tmp_path, step=0)
    logger.scalars(1, {"validation/psnr": math.nan, "loss": math.inf, "validation/l1": 0.5})
    logger.close()
    line = json.loads(logger.metrics.read_text(), parse_constant=pytest.fail)
    assert line == {"step": 1, "validation/psnr": None, "loss": None, "validation/l1": 0.5}


def test_a_meter_reads_speed_and_waiting_in_seconds_and_begins_anew(monkeypatch):
    meter = ThroughputMeter(samples_per_step=6)
    times = iter([0.0, 1.0, 1.0, 4.0])
    monkeypatch.setattr("training.logger.time.perf_counter", lambda: next(times))
    with meter.timed("data"):
        pass
    with meter.timed("step"):
        pass
    meter.steps += 2
    assert meter.read() == {
        "seconds_per_step": 2.0,
        "seconds_waiting": 0.5,
        "samples_per_second": 3.0,
        "data_wait": 0.25,
    }
    assert meter.steps == 0
