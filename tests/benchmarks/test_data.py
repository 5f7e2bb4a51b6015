import time

import numpy as np
import pytest
import torch

from benchmarks import data
from benchmarks.data import frames_per_second, generate_clips, two_frames
from benchmarks.timing import FEWEST
from config import load_config
from datasets.clips import find_clips
from utils.errors import InputError


def test_a_rate_counts_both_frames_of_every_pair(config, monkeypatch):
    settings = load_config(config, ["train.batch_size=3"])
    now = [0.0]

    def batches():
        while True:
            now[0] += 2  # seconds for each batch
            yield None

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(data, "load_batches", lambda *_, **__: batches())
    rates = frames_per_second(range(12), settings, workers=2, seconds=0)
    assert rates.tolist() == [2 * 3 / 2] * FEWEST


def test_decoded_are_two_frames_of_a_clip(config):
    clips = find_clips(load_config(config).data, "train")
    frames = two_frames(clips, np.random.default_rng(0))
    assert [frame.shape for frame in frames] == [(32, 32, 3)] * 2


def test_clips_are_generated_in_the_size_of_the_frames(config, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "PEOPLE", 1)
    monkeypatch.setattr(data, "CLIP_FRAMES", 2)
    settings = load_config(config, [f"data.root={tmp_path / 'heads'}", "data.size=48"])
    generate_clips(settings.data.root, settings)
    clips = find_clips(settings.data, "train")
    assert [clip.num_frames for clip in clips] == [2]
    (first, _) = two_frames(clips, np.random.default_rng(0))
    assert first.shape == (48, 48, 3)


def test_frames_that_are_not_square_need_clips(config, tmp_path):
    settings = load_config(config, ["data.size=[32,64]"])
    with pytest.raises(InputError, match="frames 64 x 32: name clips with --root"):
        generate_clips(tmp_path / "heads", settings)


def test_the_threads_of_the_process_are_given_back(config, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "usable_cores", lambda: 1)
    settings = load_config(config)
    before = torch.get_num_threads()
    monkeypatch.setattr(data, "loader_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        data.benchmark(settings, seconds=0)
    assert torch.get_num_threads() == before
