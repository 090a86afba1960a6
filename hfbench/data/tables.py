"""Splits that stay in Arrow: as Python objects they would take several times their size."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetInfo, Features, List, Value
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

from hfbench.data.texts import in_batches

_BATCH_ROWS = 10_000
_PIECES = 16  # in which rows are gathered, to have little beside them in memory


def in_memory(table: pa.Table, features: Features | None = None) -> Dataset:
    """A data set of these rows.

    Its fingerprint is random: that of the content would take long.
    """
    info = DatasetInfo(features=features)
    return Dataset(InMemoryTable(table), info=info, fingerprint=generate_random_fingerprint())


def take(split: Dataset, rows: np.ndarray) -> Dataset:
    """These rows of a split, in this order.

    `Dataset.select` would keep a list of rows, and gather them one by one whenever a column is
    read: 500,000 in three seconds and 300 MB. Arrow's `take` would join the chunks of a column
    before: as much memory again, and no text column beyond 2 GB.
    """
    table = _table(split)
    columns = {name: _take(table[name], rows) for name in table.column_names}
    return in_memory(pa.table(columns), split.features)


def _take(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    starts = np.cumsum([0, *map(len, column.chunks)])
    pieces = []
    for part in np.array_split(rows, _PIECES):
        order = np.argsort(part)
        ordered = part[order]
        bounds = np.searchsorted(ordered, starts)
        found = [
            chunk.take(pa.array(ordered[bounds[number] : bounds[number + 1]] - starts[number]))
            for number, chunk in enumerate(column.chunks)
            if bounds[number] < bounds[number + 1]
        ]
        if found:
            places = np.empty_like(order)
            places[order] = np.arange(len(order))
            pieces.append(pa.concat_arrays(found).take(pa.array(places)))
    return pa.chunked_array(pieces, column.type)


def with_labels(split: Dataset, numbers: Sequence[int] | np.ndarray, names: list[str]) -> Dataset:
    """The split with these class numbers, shape (rows,), as its column ``label``.

    Or with rows of 0 and 1, shape (rows, labels), where a row may have any number of labels.
    """
    table, feature = _table(split), ClassLabel(names=names)
    place, column = table.column_names.index("label"), np.asarray(numbers)
    if column.ndim == 2:
        feature = List(Value("int8"), length=len(names))
        flat = pa.array(column.reshape(-1), pa.int8())
        table = table.set_column(
            place, "label", pa.FixedSizeListArray.from_arrays(flat, len(names))
        )
    else:
        table = table.set_column(place, "label", pa.array(numbers, pa.int64()))
    return in_memory(table, Features({**split.features, "label": feature}))


def labels_of(split: Dataset) -> np.ndarray:
    """The column ``label`` of a split as `load_task` gives it.

    Class numbers, int64 of shape (rows,); rows of 0 and 1, int64 of shape (rows, labels); or the
    numbers that a regression is to predict, float64 of shape (rows,).
    """
    column = _table(split)["label"]
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.astype(np.int64).reshape(len(split), column.type.list_size)


def first_rows(rows: Sequence[int]) -> str:
    """The numbers of the first few rows, for a message."""
    return f"rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}"


def values(column: pa.ChunkedArray) -> Iterator[str | None]:
    """The values of a column, of which a few thousand at a time are Python objects."""
    for start in range(0, len(column), _BATCH_ROWS):
        yield from column.slice(start, _BATCH_ROWS).to_pylist()


class Texts(Sequence[str]):
    """The texts of a column: a list, but for its memory."""

    def __init__(self, split: Dataset, column: str) -> None:
        """Of a split with standard columns."""
        self._column = _table(split.select_columns(column))[column]

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return self._column[index].as_py()

    def __iter__(self) -> Iterator[str]:
        return values(self._column)  # type: ignore[return-value]


def texts_of(split: Dataset) -> Iterator[tuple[str, ...]]:
    """Of each row of a split with standard columns its text, or both of its texts."""
    names = [name for name in ("text", "text_pair") if name in split.column_names]
    return zip(*(Texts(split, name) for name in names), strict=True)


def text_array(texts: Iterable[str]) -> pa.ChunkedArray:
    """A column of texts, which need not be there all at once."""
    return pa.chunked_array([pa.array(batch, pa.string()) for batch in in_batches(texts)])


def _table(split: Dataset) -> pa.Table:
    """All rows; without a copy, unless they were selected."""
    found: Any = split.with_format("arrow")[:]
    return found
