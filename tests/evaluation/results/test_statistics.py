import warnings

import numpy as np
import pytest

from evaluation.results.statistics import (
    LEVEL,
    RESAMPLES,
    bootstrap_interval,
    differences,
    estimate,
    mean,
)

NAN, INF = float("nan"), float("inf")


def slow_interval(values: list[float], clips: list[str], seed: int) -> tuple[float, float]:
    """Bootstrap in plain steps: draw clips, pool their frames, take the mean."""
    generator = np.random.default_rng(seed)
    names = sorted(set(clips))
    means = []
    for _ in range(RESAMPLES):
        pool: list[float] = []
        for name in generator.choice(names, size=len(names)):
            pool += [value for value, clip in zip(values, clips, strict=True) if clip == name]
        means.append(sum(pool) / len(pool))
    low, high = np.percentile(means, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return low, high


def test_the_interval_is_that_of_a_slow_bootstrap():
    generator = np.random.default_rng(1)
    clips = [f"clip{i}" for i in range(6) for _ in range(1 + 3 * i)]
    values = np.array([generator.normal(loc=int(clip[-1])) for clip in clips])
    found = bootstrap_interval(values, np.array(clips), seed=0)
    assert found == pytest.approx(slow_interval(values.tolist(), clips, seed=5), abs=0.08)
    assert found[1] - found[0] > 1  # frames of a clip are alike: over frames it were 0.9


@pytest.mark.parametrize("num_clips", [40])
def test_about_95_of_100_intervals_hold_the_truth(num_clips):
    generator = np.random.default_rng(2)
    clips = np.repeat(np.arange(num_clips), 5)
    held = 0
    for seed in range(200):
        values = generator.normal(size=num_clips)[clips] + generator.normal(size=clips.size)
        low, high = bootstrap_interval(values, clips, seed)
        held += low <= 0 <= high
    assert 0.89 <= held / 200 <= 0.985


def test_a_seed_gives_one_interval_whatever_is_drawn_at_once(monkeypatch):
    values, clips = np.random.default_rng(3).normal(size=60), np.arange(60) // 6
    first = bootstrap_interval(values, clips, seed=7)
    monkeypatch.setattr("evaluation.results.statistics.DRAWN_AT_ONCE", 35)
    assert bootstrap_interval(values, clips, seed=7) == first
    assert bootstrap_interval(values, clips, seed=8) != first


def test_frames_without_a_value_count_for_nothing():
    values, clips = np.array([1.0, NAN, 3.0, NAN, 8.0]), np.array([0, 0, 1, 2, 3])
    assert estimate(values, clips, seed=0) == estimate(
        np.array([1.0, 3.0, 8.0]), np.array([0, 1, 3]), seed=0
    )
    assert estimate(values, clips, seed=0).frames == 3
    assert estimate(values[[1, 3]], clips[[1, 3]], seed=0) == (None, None, 0, 0)


def test_one_clip_has_no_interval():
    assert estimate(np.array([1.0, 2.0, 6.0]), np.zeros(3, int), seed=0) == (3, None, 3, 0)


def test_infinite_values_are_counted_beside_the_mean_of_the_others():
    clips, others = np.arange(5), np.array([0, 2, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        some = estimate(np.array([1.0, INF, 2.0, 3.0, NAN]), clips, seed=0)
        all_of_them = estimate(np.full(5, INF), clips, seed=0)
        both = estimate(np.array([1.0, INF, -INF, 3.0, 2.0]), clips, seed=0)
    assert some == estimate(np.array([1.0, 2.0, 3.0]), others, seed=0)._replace(identical=1)
    assert some.interval is not None
    assert (some.mean, some.frames) == (2, 3)
    assert all_of_them == (None, None, 0, 5)
    assert (both.mean, both.frames, both.identical) == (2, 3, 2)


def test_the_mean_of_nothing_is_none():
    assert mean(np.array([])) is None


def test_equal_infinities_do_not_differ_and_what_is_not_there_has_no_difference():
    a = np.array([1.0, INF, INF, -INF, NAN, 2.0, INF])
    b = np.array([3.0, INF, 1.0, -INF, 1.0, NAN, -INF])
    found = differences(a, b)
    np.testing.assert_array_equal(found, [2.0, 0.0, -INF, 0.0, NAN, NAN, -INF])
