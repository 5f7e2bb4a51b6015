"""Load batches of pairs in the order of a sampler, in other processes."""

from collections.abc import Iterator

from torch.utils.data import DataLoader, Dataset

from datasets.frame_pairs import Batch, Key, PairDataset, PairSampler, collate
from utils.errors import InputError
from utils.malloc import keep_freed_memory
from utils.signals import end_with_parent, ignore_signals


def load_batches(
    dataset: PairDataset, sampler: PairSampler, workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Yield the batches of a sampler, without end; without workers this process loads them.

    Raises the InputError of a worker.
    """
    loader = DataLoader(
        _Batches(dataset),
        batch_size=None,  # the sampler gives the keys of whole batches
        sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_begin_worker,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


class _Batches(Dataset[Batch | InputError]):
    """Batches by lists of keys.

    An error is returned as a value: raised in a worker, it would arrive as the text of a traceback.
    """

    def __init__(self, pairs: PairDataset) -> None:
        self.pairs = pairs

    def __getitem__(self, keys: list[Key]) -> Batch | InputError:
        try:
            return collate([self.pairs[key] for key in keys])
        except InputError as error:
            return error


def _begin_worker(worker: int) -> None:
    end_with_parent()
    ignore_signals(worker)
    keep_freed_memory()
