"""The predictions beside a record: of each example its id, its label and the logits.

Nothing here imports pandas, which would take longer than most tables.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from hfbench.errors import DamagedRecordError, RecordError
from hfbench.records.record_file import WHAT_TO_DO, refuse_link
from hfbench.records.schema import Compared
from hfbench.records.store import ResultsFolder

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq


def load_predictions(record: Compared, results: Path, split: str) -> "dict[str, np.ndarray]":
    """``id`` (n,), ``label`` and ``logits`` (n, outputs) of one split, in the data's order.

    A label is a class number, int64 of shape (n,); 0 or 1 for each, int64 of shape (n, labels); or
    the number that is to be predicted, float64 of shape (n,).

    Raises:
        RecordError: if they are missing, or not as `ComparedRecord.predictions` says.
    """
    return load_all_predictions([record], results, split)[0]


def load_all_predictions(
    records: Sequence[Compared], results: Path, split: str
) -> "list[dict[str, np.ndarray]]":
    """As `load_predictions` of each record; runs on the same examples share their arrays."""
    import pyarrow as pa

    found: dict[int, dict[str, np.ndarray]] = {}
    examples: _Examples | None = None
    folder = ResultsFolder(results)
    packed = folder.packed
    for number in packed.reading_order(records) if packed else range(len(records)):
        record = records[number]
        path = packed.predictions_path if packed else folder.predictions_path(record)
        source = _PackedTable(packed.predictions(record)) if packed else _File.of(record, path)
        try:
            _refuse_other_rows(source, record)
            if examples is None or not source.begins_as(examples.beginning):
                examples = _Examples.of(source, split)
            found[number] = examples.with_logits(source.columns("logits"))
        # columns that are missing or of another type, no rows, rows of unequal length
        except (OSError, KeyError, IndexError, TypeError, ValueError, pa.ArrowException) as error:
            raise RecordError(f"{path}: not valid predictions: {error}; {WHAT_TO_DO}") from None
    return [found[number] for number in range(len(records))]


def read_predictions_table(record: Compared, folder: ResultsFolder) -> "pa.Table":
    """All of a record's predictions, as they stand in their file.

    Raises:
        RecordError: if they are missing, or not those that were written.
    """
    import pyarrow as pa

    packed = folder.packed
    path = packed.predictions_path if packed else folder.predictions_path(record)
    try:
        source = _PackedTable(packed.predictions(record)) if packed else _File.of(record, path)
        _refuse_other_rows(source, record)
        return source.all_columns()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RecordError(f"{path}: not valid predictions: {error}; {WHAT_TO_DO}") from None


def refuse_other_predictions(record: Compared, folder: ResultsFolder) -> None:
    """Refuse predictions that are not those of their record.

    Raises:
        DamagedRecordError: if they are not the file that was written.
        RecordError: if they are missing or cannot be read.
    """
    if packed := folder.packed:
        packed.predictions(record)
    else:
        _read(record, folder.predictions_path(record))


def _read(record: Compared, path: Path) -> "pa.Buffer":
    """A file at once, for it is small: threads would take longer to start."""
    import pyarrow as pa

    if not path.is_file():
        raise RecordError(f"{path}: the predictions of {record.stem} are missing")
    refuse_link(path)
    try:
        with pa.OSFile(str(path)) as file:
            content = file.read_buffer()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from None
    if record.predictions_hash not in (None, hashlib.sha256(content).hexdigest()):
        raise DamagedRecordError(
            f"{path}: these are not the predictions that were written: their SHA-256 is not that "
            f"of the record; {WHAT_TO_DO}"
        )
    return content


def _refuse_other_rows(source: "_File | _PackedTable", record: Compared) -> None:
    """Of what anybody gives, no more is unpacked than the record says that there is.

    Raises:
        ValueError: if it has other rows.
    """
    splits = record.task.splits
    if strange := record.metrics.keys() - (splits.keys() - {"train"}):
        raise ValueError(f"metrics of {sorted(strange)[0]!r}, which has no predictions")
    expected = sum(splits[name].examples for name in record.metrics)
    if source.rows != expected:
        raise ValueError(f"{source.rows:,} rows, not {expected:,} as the record says")
    outputs = len(record.task.labels)
    is_multi_label = record.task.problem_type == "multi_label_classification"
    wanted = {"logits": outputs * expected, "label": (outputs if is_multi_label else 1) * expected}
    for name, most in wanted.items():
        found = source.count_values(name)
        if found != most:
            raise ValueError(f"{found:,} values in column {name!r}, not {most:,}")


def label_column(labels: "np.ndarray") -> "pa.Array":
    """The column ``label`` of a file of predictions: of whole numbers, lists of these, or numbers.

    Args:
        labels: as `load_predictions` gives them back.
    """
    import pyarrow as pa

    if labels.ndim == 1:
        return pa.array(labels)
    flat = pa.array(labels.reshape(-1), pa.int8())
    starts = list(range(0, labels.size + 1, labels.shape[1]))
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), flat)


def _labels(column: "pa.Array") -> "np.ndarray":
    """The reverse of `label_column`."""
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        found = np.from_dlpack(column)
        return found if found.dtype.kind == "f" else found.astype(np.int64, copy=False)
    return np.from_dlpack(_flat(column)).astype(np.int64).reshape(len(column), -1)


def _flat(column: "pa.Array") -> "pa.Array":
    """The values within lists, or those of a column without any; not copied, as `flatten` does."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return column
    if column.null_count:
        return column.flatten()
    ends = column.offsets
    start = ends[0].as_py()
    return column.values.slice(start, ends[-1].as_py() - start)


@dataclass(frozen=True, eq=False)
class _File:
    """The predictions of one record in a file."""

    file: "pq.ParquetFile"
    content: "pa.Buffer"

    @classmethod
    def of(cls, record: Compared, path: Path) -> "_File":
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = _read(record, path)
        try:
            return cls(pq.ParquetFile(pa.BufferReader(content)), content)
        except (OSError, pa.ArrowException) as error:
            raise RecordError(f"{path}: not valid predictions: {error}; {WHAT_TO_DO}") from None

    @property
    def rows(self) -> int:
        return self.file.metadata.num_rows

    @property
    def beginning(self) -> "pa.Buffer":
        """The file up to its logits, or all of it where they are not the last of what it holds.

        Where another file begins so, its examples are the same.
        """
        if self.file.metadata.num_row_groups != 1:
            return self.content
        group = self.file.metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        starts = {
            column.path_in_schema.partition(".")[0]: column.dictionary_page_offset
            or column.data_page_offset
            for column in columns
        }
        is_last = starts["logits"] == max(starts.values())
        return self.content.slice(0, starts["logits"]) if is_last else self.content

    def begins_as(self, beginning: "pa.Buffer") -> bool:
        size = beginning.size
        return size <= self.content.size and self.content.slice(0, size).equals(beginning)

    def columns(self, *names: str) -> "pa.Table":
        """Of one chunk each.

        `pyarrow.parquet.read_table` with a filter, and `to_numpy`, would import pandas: a quarter
        of a second.
        """
        return self.file.read(columns=list(names), use_threads=False).combine_chunks()

    def all_columns(self) -> "pa.Table":
        return self.file.read()

    @property
    def names(self) -> list[str]:
        return self.file.schema_arrow.names

    def count_values(self, name: str) -> int:
        """Of a column, those within its lists; not unpacked."""
        return sum(
            group.column(number).num_values
            for group in map(self.file.metadata.row_group, range(self.file.num_row_groups))
            for number in range(group.num_columns)
            if group.column(number).path_in_schema.partition(".")[0] == name
        )


@dataclass(frozen=True, eq=False)
class _PackedTable:
    """The predictions of one record among packed ones; see `_File`."""

    table: "pa.Table"

    @property
    def rows(self) -> int:
        return self.table.num_rows

    @property
    def beginning(self) -> "pa.Table":
        return self.table.drop_columns("logits")

    def begins_as(self, beginning: "pa.Table") -> bool:
        return self.beginning.equals(beginning)

    def columns(self, *names: str) -> "pa.Table":
        return self.table.select(names)

    def all_columns(self) -> "pa.Table":
        return self.table

    @property
    def names(self) -> list[str]:
        return self.table.column_names

    def count_values(self, name: str) -> int:
        column = self.table[name].chunk(0)
        return len(_flat(column))


@dataclass(frozen=True, eq=False)
class _Examples:
    """The examples of predictions, of which those of one split are chosen."""

    beginning: "pa.Buffer | pa.Table"
    """By which those of others are known to be the same."""
    places: "np.ndarray"
    """Of the rows of the split, shape (n,)."""
    ids: "np.ndarray"
    labels: "np.ndarray"
    more: "dict[str, np.ndarray]"
    """Columns ``group`` and ``slice.<name>``, where there are any."""

    @classmethod
    def of(cls, source: _File | _PackedTable, split: str) -> "_Examples":
        import numpy as np

        table = source.columns("split", "id", "label")
        rows = np.array(table["split"].to_pylist()) == split
        ids = list(compress(table["id"].to_pylist(), rows))
        if len(set(ids)) < len(ids):  # here: once for all runs that have the same
            raise ValueError("an example more than once")
        labels = _labels(table["label"].chunk(0))[rows]
        names = [n for n in source.names if n == "group" or n.startswith("slice.")]
        columns = source.columns(*names) if names else {}
        more = {name: np.array(columns[name].to_pylist())[rows] for name in names}
        return cls(source.beginning, np.flatnonzero(rows), np.array(ids), labels, more)

    def with_logits(self, table: "pa.Table") -> "dict[str, np.ndarray]":
        import numpy as np

        values = np.from_dlpack(_flat(table["logits"].chunk(0))).reshape(table.num_rows, -1)
        found = {"id": self.ids, "label": self.labels, "logits": values.take(self.places, 0)}
        return {**found, **self.more}
