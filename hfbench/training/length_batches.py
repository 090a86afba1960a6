"""Batches for an evaluation: rows of like length, as many as are worth a launch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

MOST_TOKENS = 32_768
"""Of a batch, padding included; a GPU is busy with fewer, and the memory of one holds as many."""


class LengthBatches(Sampler[list[int]]):
    """All rows from short to long, in batches of so many rows, or of more that are short."""

    def __init__(self, lengths: np.ndarray, rows: int, tokens: int) -> None:
        """Of rows with these ``lengths``: ``rows`` a batch, or more of at most ``tokens``."""
        self.order: np.ndarray = np.argsort(lengths, kind="stable")
        """The rows as they come."""
        self._batches: list[list[int]] = []
        batch: list[int] = []
        for row in self.order.tolist():
            if len(batch) >= rows and (len(batch) + 1) * lengths[row] > tokens:
                self._batches.append(batch)
                batch = []
            batch.append(row)
        self._batches += [batch] if batch else []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)
