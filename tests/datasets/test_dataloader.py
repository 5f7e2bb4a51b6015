from itertools import islice
from pathlib import Path

import pytest
import torch

from datasets.clips import find_clips
from datasets.dataloader import load_batches
from datasets.frame_pairs import Batch, DataConfig, PairDataset, PairSampler, collate
from tests.datasets.conftest import assert_equal, write_clip
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def dataset(tmp_path: Path) -> PairDataset:
    for number in range(3):
        write_clip(tmp_path / "train" / f"id{number}.mp4", num_frames=10 + number)
    config = DataConfig(root=tmp_path, size=(24, 32), repeats=4)
    return PairDataset(find_clips(config, "train"), config, seed=3)


def load(dataset: PairDataset, workers: int, count: int, start_batch: int = 0) -> list[Batch]:
    sampler = PairSampler(len(dataset), batch_size=4, seed=0, start_batch=start_batch)
    return list(islice(load_batches(dataset, sampler, workers, pin_memory=False), count))


@pytest.fixture
def start_method(request: pytest.FixtureRequest):
    """Start method of worker processes; the default of the platform differs."""
    before = torch.multiprocessing.get_start_method()
    torch.multiprocessing.set_start_method(request.param, force=True)
    yield
    torch.multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
@pytest.mark.parametrize(
    ("start_method", "workers"),
    [("fork", 0), ("fork", 1), ("fork", 2), ("spawn", 1)],
    indirect=["start_method"],
)
def test_batches_come_in_the_order_of_the_sampler_for_any_number_of_workers(dataset, workers):
    torch.manual_seed(workers)  # of no effect
    batches = load(dataset, workers, count=7)
    keys = islice(PairSampler(len(dataset), batch_size=4, seed=0), 7)
    for batch, own in zip(batches, keys, strict=True):
        assert_equal(batch, collate([dataset[key] for key in own]))
    assert all(isinstance(batch, Batch) and batch.source.dtype == torch.uint8 for batch in batches)


def test_loading_goes_on_from_any_batch_with_the_same_ones(dataset):
    later = load(dataset, 2, count=3, start_batch=4)
    for batch, other in zip(later, load(dataset, 0, count=7)[4:], strict=True):
        assert_equal(batch, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_arrives_in_its_own_words(dataset, workers):
    for clip in dataset.clips:
        clip.path.unlink()
    with pytest.raises(InputError, match=r"^10 clips in a row are unreadable, the last id\d\.\Z"):
        load(dataset, workers, count=1)
