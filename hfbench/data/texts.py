"""The texts of a corpus, which stay on the disk and are read piece by piece."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import pyarrow as pa

from hfbench.data.arrow_file import StoredTable, store

_BATCH_TEXTS = 1000
_BATCH_CHARACTERS = 1 << 20


class StoredTexts(Sequence[str]):
    """A list of texts, but for its memory."""

    def __init__(self, stored: StoredTable, start: int = 0, stop: int | None = None) -> None:
        """The rows from ``start`` to ``stop`` of a table with a column ``text``."""
        self._stored = stored
        stop = stored.table.num_rows if stop is None else stop
        self._column = stored.table["text"].slice(start, stop - start)

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = self._column[index]
        return found.to_pylist() if isinstance(index, slice) else found.as_py()

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.chunks:
            yield from chunk.to_pylist()
            self._stored.release()

    def split(self, size: int) -> tuple["StoredTexts", "StoredTexts"]:
        """The first ``size`` texts, and the others."""
        return StoredTexts(self._stored, 0, size), StoredTexts(self._stored, size)


def store_texts(texts: Iterable[str]) -> StoredTexts:
    """Texts, written as they come.

    Raises:
        StorageError: if they cannot be written.
    """

    def tables() -> Iterator[pa.Table]:
        yield _table([])  # where there are no texts there is a column, too
        yield from map(_table, in_batches(texts))

    return StoredTexts(store(tables()))


def in_batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """So many texts at a time as are quickly dealt with and need little memory."""
    batch, characters = [], 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == _BATCH_TEXTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _table(texts: list[str]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.string())})
