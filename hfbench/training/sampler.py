"""Which rows a step trains on, the same for every model and every number of processes."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable
from torch.utils.data import Sampler

from hfbench.data.batches import IGNORED


class EpochSampler(Sampler[int]):
    """Row numbers of an epoch: each example once, then as many ignored rows as fill the last step.

    The permutation is drawn from the pair (seed, epoch) alone, so that no two pairs share one and
    every model sees the same. Row ``num_examples`` is the ignored row. It makes every optimizer
    step hold ``batch`` rows, so that the last step of an epoch is the same step however the batch
    is cut; accelerate would otherwise fill the last step of several processes with examples of the
    epoch's beginning.
    """

    def __init__(self, num_examples: int, batch: int, seed: int) -> None:
        self.num_examples, self.batch, self.seed = num_examples, batch, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer's data loader as each epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.num_examples / self.batch) * self.batch

    def __iter__(self) -> Iterator[int]:
        yield from self.order(self.epoch).tolist()
        yield from [self.num_examples] * (len(self) - self.num_examples)

    def order(self, epoch: int) -> np.ndarray:
        """The examples of ``epoch`` in their order, shape (num_examples,)."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_examples)

    def rows_seen(self, steps: int) -> np.ndarray:
        """The examples of the first ``steps`` optimizer steps, in order, repetitions included."""
        epochs, rest = divmod(steps, len(self) // self.batch)
        orders = [self.order(epoch) for epoch in range(epochs)]
        return np.concatenate([*orders, self.order(epochs)[: rest * self.batch]])


def with_ignored_row(dataset: Dataset) -> Dataset:
    """``dataset`` and one more row that no loss counts, with which `EpochSampler` fills steps."""
    table = dataset.with_format("arrow")[:]
    row = table.slice(0, 1).to_pylist()[0]
    labels = row["labels"]
    ignored: Any = [IGNORED] * len(labels) if isinstance(labels, list) else IGNORED
    if isinstance(labels, float):
        ignored = math.nan  # -100 is a number as others, in a regression
    last = pa.Table.from_pylist([{**row, "labels": ignored}], schema=table.schema)
    # `concatenate_datasets`, or a fingerprint of the table, takes as long as many steps may take
    both = InMemoryTable(pa.concat_tables([table, last]))
    return Dataset(both, fingerprint="never looked up")
